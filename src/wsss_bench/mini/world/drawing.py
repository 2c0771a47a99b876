"""Draws many images, over processes, and tells how many are done."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")
OnProgress = Callable[[int, int], None]
"""Called with the number of images that are done and the number of all."""


class Drawing:
    """Draws images, and counts them.

    Args:
        processes: Worker processes.
        total: Number of images in all.
        on_progress: Called after each image.
    """

    def __init__(self, processes: int, total: int, on_progress: OnProgress | None = None) -> None:
        self._processes, self._total, self._on_progress = processes, total, on_progress
        self._done = 0

    def draw(self, function: Callable[[Item], Result], images: Sequence[Item]) -> list[Result]:
        """The results of a function that writes one image, in the order of the images."""
        results = []
        for result in self._map(function, images):
            results.append(result)
            self._done += 1
            if self._on_progress is not None:
                self._on_progress(self._done, self._total)
        return results

    def _map(self, function: Callable[[Item], Result], images: Sequence[Item]) -> Iterator[Result]:
        if self._processes == 1:
            yield from map(function, images)
            return
        # A new interpreter per worker: forking a process that runs threads (torch) can hang.
        spawn = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(self._processes, mp_context=spawn) as pool:
            yield from pool.map(function, images, chunksize=32)
