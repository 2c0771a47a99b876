"""Reads images, labels and masks of a data set once, in parallel, and says what they show."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field

import numpy as np

from wsss_bench.artifacts.images import UPRIGHT, check_decodes
from wsss_bench.data.sources.base import Source, values_in
from wsss_bench.processes import end_with_parent

CHUNK = 64
"""Images that a process reads at a time."""
_job: tuple[Source, Wanted]  # of a process


@dataclass(frozen=True)
class Wanted:
    """What is read besides the images.

    Args:
        labels: Whether the data set has image labels.
        masks: Ids of the images whose masks are read.
    """

    labels: bool
    masks: Collection[str]


@dataclass
class Reading:
    """What was found in one image.

    Attributes:
        label: `(C,)` labels; None where there are none.
        shown: `(C,)` bool, whether its mask shows the class; None where no mask was read.
        turned: Whether the image is turned by the EXIF orientation in its header.
        problems: What is wrong, by part: `images`, `labels` or `masks`.
    """

    label: np.ndarray | None = None
    shown: np.ndarray | None = None
    turned: bool = False
    problems: dict[str, str] = field(default_factory=dict)

    @property
    def disagrees(self) -> bool:
        """Whether the mask shows a class that the label does not have."""
        return (
            self.label is not None and self.shown is not None and bool((self.shown & (self.label == 0)).any())
        )


def read_all(source: Source, ids: Sequence[str], wanted: Wanted) -> Iterator[Reading]:
    """Read `ids` in their order: by a process on each core, which decoding and parsing keep busy.

    A few images are read without further processes, which take as long to start.
    """
    chunks = [ids[start : start + CHUNK] for start in range(0, len(ids), CHUNK)]
    processes = min(len(os.sched_getaffinity(0)), len(chunks))
    if processes < 2:
        yield from (read(source, image_id, wanted) for image_id in ids)
        return
    # forked, so that annotations that were read already are not read again by each
    with ProcessPoolExecutor(
        processes, multiprocessing.get_context("fork"), _start, (source, wanted)
    ) as pool:
        for readings in pool.map(_read_chunk, chunks):
            yield from readings


def read(source: Source, image_id: str, wanted: Wanted) -> Reading:
    """Read one image, and its labels and mask where they are wanted. A mask is not read after a problem."""
    reading = Reading()

    def attempt(part: str, get: Callable[[], np.ndarray]) -> np.ndarray | None:
        try:
            return get()
        except (ValueError, OSError) as error:
            reading.problems[part] = str(error)
            return None

    def image() -> np.ndarray:
        file = source.image_file(image_id)
        if file is None:
            return source.image(image_id)
        reading.turned = check_decodes(file) != UPRIGHT
        return np.empty(0)

    attempt("images", image)
    if wanted.labels:
        reading.label = attempt("labels", lambda: source.labels(image_id))
    if image_id in wanted.masks and not reading.problems:
        mask = attempt("masks", lambda: source.mask(image_id))
        if mask is not None:
            reading.shown = values_in(mask)[1 : len(source.class_names) + 1]
    return reading


def _start(source: Source, wanted: Wanted) -> None:
    global _job
    end_with_parent()
    _job = (source, wanted)


def _read_chunk(ids: Sequence[str]) -> list[Reading]:
    source, wanted = _job
    return [read(source, image_id, wanted) for image_id in ids]
