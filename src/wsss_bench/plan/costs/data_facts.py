"""What the costs of a stage depend on in its data: how many images, how large, how many classes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from wsss_bench import vocabulary
from wsss_bench.plan.config import DataFile

SIZES = {
    "ade20k": (512, 683),
    "camvid": (360, 480),
    "cityscapes": (1024, 2048),
    "coco": (480, 640),
    "coco_stuff": (480, 640),
    "mini": (96, 96),
}
"""Usual height and width of the images of a data set, by name of its vocabulary."""
USUAL_SIZE = (375, 500)
"""That of PASCAL VOC, and of data whose size is not known."""
USUAL_CLASSES = 20


@dataclass(frozen=True)
class DataFacts:
    """A data set.

    Args:
        counts: Number of images by split. Extra images of a method are not counted.
        size: Usual height and width of its images.
        classes: Number of foreground classes.
    """

    counts: Mapping[str, int]
    size: tuple[int, int]
    classes: int

    @property
    def megapixels(self) -> float:
        return self.size[0] * self.size[1] / 1e6


def facts_of(config: Mapping[str, Any], datasets: Iterable[DataFile]) -> DataFacts | None:
    """The data that a stage reads; None if it is none of `datasets`."""
    source = config.get("source") or config.get("data", {}).get("source") or {}
    source = source.get("init_args", {}).get("main", source)  # with extra images
    for data in datasets:
        if data.source == source:
            protocol, given = data.protocol, data.source.get("init_args") or {}
            names = [str(name) for name in (given.get("vocabulary"), protocol.overlay, protocol.dataset)]
            classes = next((number for name in names if (number := _classes(name))), USUAL_CLASSES)
            size = next((SIZES[name] for name in names if name in SIZES), USUAL_SIZE)
            return DataFacts(protocol.counts, size, classes)
    return None


def _classes(name: str) -> int:
    """Number of classes of a vocabulary; 0 if there is none of this name."""
    try:
        return len(vocabulary.load(name))
    except ValueError:
        return 0
