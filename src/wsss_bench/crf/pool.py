"""Pools for functions that compute one image and write the result to a file.

`ImagePool` has processes, for work that keeps a core busy. Workers are started with the method "spawn", which
is safe in a process that has loaded torch and runs its threads. A worker imports only the module of the
function that it runs. `WriterThread` is one thread, for files that are written while the next image is
computed.
"""

from __future__ import annotations

import multiprocessing
import sys
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from types import TracebackType
from typing import TYPE_CHECKING, Any

from wsss_bench.processes import end_with_parent, share_of_cores

if TYPE_CHECKING:
    from typing_extensions import Self


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
        start: Called once in each worker, before its first image; not called if there are no workers.

    Raises:
        ValueError: `workers` is negative.
    """

    def __init__(self, workers: int | None = None, start: Callable[[], None] | None = None) -> None:
        workers = available_workers() if workers is None else workers
        if workers < 0:
            raise ValueError(f"workers is 0 (this process) or a number of processes, got {workers}")
        self._limit = 2 * workers
        self._pending: deque[tuple[str, Future[None]]] = deque()
        self._executor: Executor | None = None
        if workers:
            context = multiprocessing.get_context("spawn")
            self._executor = ProcessPoolExecutor(
                workers, mp_context=context, initializer=_start_worker, initargs=(start,)
            )

    def __enter__(self) -> Self:
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
            raise self._reported(image_id, error) from error

    def _reported(self, image_id: str, error: Exception) -> Exception:
        """The error that is raised for the error of an image."""
        return _named(image_id, error)


class WriterThread(ImagePool):
    """Runs a function for each image in one thread, in the order of the calls.

    Compressing and writing files leaves the interpreter to other threads, so that a GPU goes on meanwhile. At
    most four images wait or are being written. Errors are raised as they are.
    """

    def __init__(self) -> None:
        super().__init__(0)
        self._limit = 4
        self._executor = ThreadPoolExecutor(1, "writer")

    def _reported(self, image_id: str, error: Exception) -> Exception:
        return error


def _start_worker(start: Callable[[], None] | None) -> None:
    """Set up a worker: it ends with its parent and, where it has torch, computes in one thread."""
    end_with_parent()
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(1)
    if start is not None:
        start()


def _named(image_id: str, error: Exception) -> ValueError:
    return ValueError(f"image {image_id!r}: {type(error).__name__}: {error}")
