"""A pool of processes for work on single images that ends in a file.

Processes are spawned, so that the pool is safe in a process that has torch and its threads loaded; the
workers import only the module of the function that they run.
"""

from __future__ import annotations

import multiprocessing
import os
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from types import TracebackType
from typing import Any

WORKERS_VARIABLE = "WSSS_WORKERS"


def available_workers() -> int:
    """Processes that work on images may use: `WSSS_WORKERS`, which a bench sets to a stage's share of the cores, or all cores.

    A single one is not worth a process of its own and gives 0.
    """
    given = os.environ.get(WORKERS_VARIABLE, "")
    if given and not given.isdigit():
        raise ValueError(f"{WORKERS_VARIABLE} is a number of processes, got {given!r}")
    workers = int(given) if given else len(os.sched_getaffinity(0))
    return workers if workers > 1 else 0


class ImagePool:
    """Runs functions of one image each; results are files that the functions write.

    At most two images a worker are under way, so that memory does not grow when the pool is slower than the
    caller.

    Args:
        workers: Processes; 0 runs everything in this process, at once; None takes what is available.
    """

    def __init__(self, workers: int | None = None) -> None:
        workers = available_workers() if workers is None else workers
        if workers < 0:
            raise ValueError(f"workers is 0 (this process) or a number of processes, got {workers}")
        self._limit = 2 * workers
        self._pending: deque[tuple[str, Future[None]]] = deque()
        context = multiprocessing.get_context("spawn")
        self._executor = ProcessPoolExecutor(workers, mp_context=context) if workers else None

    def __enter__(self) -> ImagePool:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            while error is None and self._pending:
                self._finish_oldest()
        finally:
            if self._executor is not None:
                self._executor.shutdown(wait=True, cancel_futures=True)

    def run(self, image_id: str, function: Callable[..., None], *arguments: Any) -> None:
        """Call `function(*arguments)`, here or in a worker.

        An error of the function is raised by this call, by a later one, or at the end of the `with` block,
        and names the image.
        """
        if self._executor is None:
            try:
                function(*arguments)
            except Exception as error:
                raise _named(image_id, error) from error
            return
        while len(self._pending) >= self._limit:
            self._finish_oldest()
        try:
            self._pending.append((image_id, self._executor.submit(function, *arguments)))
        except BrokenProcessPool:
            self._finish_oldest()  # says which image was under way
            raise

    def _finish_oldest(self) -> None:
        image_id, future = self._pending.popleft()
        try:
            future.result()
        except BrokenProcessPool as error:
            names = ", ".join([image_id, *(name for name, _ in self._pending)])
            raise ValueError(
                f"a worker process died while the images {names} were under way (out of memory?); "
                "use fewer workers and run the stage again"
            ) from error
        except Exception as error:
            raise _named(image_id, error) from error


def _named(image_id: str, error: Exception) -> ValueError:
    return ValueError(f"image {image_id!r}: {type(error).__name__}: {error}")
