"""A process pool for functions that compute one image and write the result to a file.

Workers are started with the method "spawn", which is safe in a process that has loaded torch and runs its
threads. A worker imports only the module of the function that it runs.
"""

from __future__ import annotations

import multiprocessing
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from types import TracebackType
from typing import Any

from wsss_bench.processes import end_with_parent, share_of_cores


def available_workers() -> int:
    """Number of worker processes: `WSSS_WORKERS` if it is set, else the number of cores.

    The bench sets `WSSS_WORKERS` to the stage's share of the cores. A single worker would be no faster than
    this process, so 1 gives 0.

    Raises:
        ValueError: `WSSS_WORKERS` is not a number.
    """
    workers = share_of_cores()
    return workers if workers > 1 else 0


class ImagePool:
    """Runs a function for each image in worker processes; the functions write their results to files.

    At most two images per worker are queued or running, so that memory does not grow if the workers are
    slower than the caller. To be used in a `with` block, which waits for all images at its end.

    Args:
        workers: Number of processes; 0 runs each function at once in this process; None takes
            `available_workers()`.

    Raises:
        ValueError: `workers` is negative.
    """

    def __init__(self, workers: int | None = None) -> None:
        workers = available_workers() if workers is None else workers
        if workers < 0:
            raise ValueError(f"workers is 0 (this process) or a number of processes, got {workers}")
        self._limit = 2 * workers
        self._pending: deque[tuple[str, Future[None]]] = deque()
        context = multiprocessing.get_context("spawn")
        self._executor = (
            ProcessPoolExecutor(workers, mp_context=context, initializer=end_with_parent) if workers else None
        )

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
        """Call `function(*arguments)`, in this process or in a worker.

        Raises:
            ValueError: the function failed for this or an earlier image, which is named; raised by this call,
                by a later one, or at the end of the `with` block.
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
            # raises an error that names the images under way
            self._finish_oldest()
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
