"""The pictures of a gallery, read from images, masks and seeds, and made small at once."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace

import cv2
import numpy as np
from PIL import Image

from wsss_bench.artifacts.files import mask_path, read_mask
from wsss_bench.artifacts.layout import MASKS, SEEDS, mask_folders, seed_folder
from wsss_bench.artifacts.pruning import pruned_folders
from wsss_bench.artifacts.seeds import read_seed
from wsss_bench.data.sources.base import Source
from wsss_bench.readout import threshold_mask
from wsss_bench.report.html.choice import Chosen
from wsss_bench.report.html.gallery import Gallery, Place, Result
from wsss_bench.types import IGNORE

PRUNED = "pruned"
UNREADABLE = "file missing or damaged"


@dataclass
class Thumbnails:
    """The small pictures of one image; masks are `(h, w)` uint8.

    Attributes:
        chosen: The image.
        photo: `(h, w, 3)` uint8.
        truth: Its ground truth.
        full_size: Height and width of the image itself.
        shown_class: The class whose score maps are shown, the largest one of the truth; None if it has none.
        maps: Score maps of the class, `(h, w)` uint8 with 255 for the score 1, by method.
        masks: Masks by method and column.
        missing: Why there is no picture.
    """

    chosen: Chosen
    photo: np.ndarray
    truth: np.ndarray
    full_size: tuple[int, int]
    shown_class: int | None
    maps: dict[str, np.ndarray] = field(default_factory=dict)
    masks: dict[Place, np.ndarray] = field(default_factory=dict)
    missing: dict[Place, str] = field(default_factory=dict)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the pictures."""
        return self.truth.shape[0], self.truth.shape[1]

    def smaller(self, share: float) -> Thumbnails:
        """The same with sides of a share of the length."""
        size = max(1, round(self.size[0] * share)), max(1, round(self.size[1] * share))
        return replace(
            self,
            photo=_photo(self.photo, size),
            truth=nearest(self.truth, size),
            maps={key: nearest(plane, size) for key, plane in self.maps.items()},
            masks={key: nearest(plane, size) for key, plane in self.masks.items()},
        )


def read_thumbnails(gallery: Gallery, source: Source, side: int) -> tuple[list[Thumbnails], str]:
    """The pictures of a gallery.

    Args:
        gallery: What to show.
        source: Images and ground truth.
        side: Longest side of a picture.

    Returns:
        The pictures, without the images that cannot be read; and what was wrong with the first of these.
    """
    found: list[Thumbnails] = []
    problem = ""
    for chosen in gallery.chosen:
        try:
            found.append(_image(source, chosen, side))
        except Exception as error:  # noqa: PERF203 (whatever the code of a source raises)
            problem = problem or f"{type(error).__name__}: {error}"
    # decompression, most of the time, runs beside other threads
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        list(pool.map(lambda place: _add(found, place, gallery.results[place]), gallery.results))
    return found, problem


def _image(source: Source, chosen: Chosen, side: int) -> Thumbnails:
    image, truth = source.image(chosen.image_id), source.mask(chosen.image_id)
    height, width = truth.shape
    share = min(1.0, side / max(height, width))
    size = max(1, round(height * share)), max(1, round(width * share))
    pixels = np.bincount(truth.ravel(), minlength=IGNORE + 1)[1:IGNORE]
    largest = int(pixels.argmax()) + 1 if pixels.any() else None
    return Thumbnails(chosen, _photo(image, size), nearest(truth, size), (height, width), largest)


def _photo(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    return np.asarray(Image.fromarray(image).resize(size[::-1], Image.Resampling.BOX))


def _add(found: list[Thumbnails], place: Place, result: Result) -> None:
    """Read the masks of one stage for all images; where it cannot be done, say why."""
    if (MASKS if result.threshold is None else SEEDS) in pruned_folders(result.stage):
        for image in found:
            image.missing[place] = PRUNED
        return
    read = _read_masks if result.threshold is None else _read_seeds
    for image in found:
        try:
            read(image, place, result)
        except (OSError, ValueError):  # noqa: PERF203 (a file is read each time)
            image.missing[place] = UNREADABLE


def _read_masks(image: Thumbnails, place: Place, result: Result) -> None:
    folder = mask_folders(result.stage, result.readout).get(result.readout, result.stage)
    mask = read_mask(mask_path(folder, image.chosen.image_id))
    _require_size(image, mask.shape)
    image.masks[place] = nearest(mask, image.size)


def _read_seeds(image: Thumbnails, place: Place, result: Result) -> None:
    assert result.threshold is not None
    maps = read_seed(seed_folder(result.stage), image.chosen.image_id, ["scores"])
    _require_size(image, maps.size)
    if maps.scores.shape[1:] == maps.size:  # made small before the threshold: the same mask, and much faster
        small = maps._replace(scores=nearest(maps.scores, image.size), size=image.size)
        image.masks[place] = threshold_mask(small, result.threshold)
    else:
        image.masks[place] = nearest(threshold_mask(maps, result.threshold), image.size)
    for position in np.flatnonzero(maps.classes == image.shown_class):
        image.maps[place[0]] = _levels(maps.scores[position], image.size)


def _require_size(image: Thumbnails, size: tuple[int, ...]) -> None:
    if size != image.full_size:
        raise ValueError(f"it is {size}, its image {image.full_size} (height, width): the data have changed")


def nearest(planes: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Arrays `(..., H, W)` at another size `(h, w)`, each pixel the nearest one."""
    rows, columns = (_positions(old, new) for old, new in zip(planes.shape[-2:], size, strict=True))
    return planes[..., rows[:, None], columns]


def _positions(old: int, new: int) -> np.ndarray:
    return ((np.arange(new) + 0.5) * old / new).astype(np.int64)


def _levels(scores: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A score map `(H, W)` at the size of a picture, 255 for the score 1."""
    how = cv2.INTER_AREA if scores.shape[0] > size[0] else cv2.INTER_LINEAR
    small = cv2.resize(scores.astype(np.float32), size[::-1], interpolation=how)
    return np.clip(np.rint(255 * small), 0, 255).astype(np.uint8)
