"""Views of a source: PyTorch data sets that yield the items of one type of batch.

An item is indexed by a key `(epoch, index)` and depends on the key and the random seed only. A view has no
state that changes between epochs, so worker processes can be kept for a whole training, and a resumed run
gets the same items as an uninterrupted one. Of these views, only `MaskView` reads masks.

A view of your own derives from `View` or from another one here (docs/recipes.md). `view_names` says which of
them `data.view` names; images are predicted from `inference_view`.
"""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Sequence
from multiprocessing import Value
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from wsss_bench.artifacts.files import file_names, mask_path, read_mask
from wsss_bench.artifacts.images import Unreadable
from wsss_bench.data.references import members
from wsss_bench.data.sources.base import Source, unknown_values
from wsss_bench.data.transforms import Transform
from wsss_bench.types import (
    Batch,
    CaptionBatch,
    GroupBatch,
    ImageBatch,
    MaskBatch,
    PairBatch,
)

Key = tuple[int, int]
"""`(epoch, index)`; the index counts the images of the split."""

# purposes of the random numbers of one key, each with an independent stream
_FIRST, _PARTNER, _CAPTION, _THIRD, _REPLACEMENT = range(5)
REPLACEMENTS = 20
"""An error is raised after this many unreadable image-text pairs in a row."""


class View(Dataset, ABC):
    """A split of a source.

    A subclass sets `batch_type` and defines `__getitem__` and `collate`. All draws of an item come from its
    `random_key`; `source` has its image, labels, captions and mask.

    Args:
        source: The data set.
        ids: Ids of the images of the split.
        transform: Augmentation.
        random_seed: Random seed of the augmentation and of all other draws.
    """

    batch_type: ClassVar[type[Batch]]
    """What `collate` makes; the `batch_type` of the methods that are trained with it."""

    def __init__(self, source: Source, ids: Sequence[str], transform: Transform, random_seed: int) -> None:
        self.source = source
        self.image_ids = ids
        self.transform = transform
        self.random_seed = random_seed

    def __len__(self) -> int:
        return len(self.image_ids)

    @abstractmethod
    def __getitem__(self, key: Key) -> Any:
        """The item of a key; it is the same in every process and in every run with this random seed."""

    @staticmethod
    @abstractmethod
    def collate(items: list[Any]) -> Batch:
        """A batch of items."""

    def random_key(self, key: Key, purpose: int = 0) -> tuple[int, int, int, int]:
        """What the transform, or `numpy.random.default_rng`, draws the random numbers of an item from.

        Args:
            key: Of the item.
            purpose: >= 0; each draw of an item has another one, so that draws are independent.
        """
        return (self.random_seed, *key, purpose)


class LabelledView(View):
    """Base of the views with image labels, which are read once, before worker processes start."""

    def __init__(self, source: Source, ids: Sequence[str], transform: Transform, random_seed: int) -> None:
        super().__init__(source, ids, transform, random_seed)
        self.labels = np.stack([source.labels(image_id) for image_id in ids])  # (N, C)

    def _unlabelled(self) -> list[str]:
        return [image_id for image_id, row in zip(self.image_ids, self.labels, strict=True) if not row.any()]

    def _labelled(
        self, image_id: str, image: np.ndarray, labels: np.ndarray, draw: tuple[int, ...]
    ) -> tuple[str, Tensor, Tensor, Tensor]:
        crop = self.transform(image, draw)
        return image_id, crop.image, torch.from_numpy(labels), crop.valid


class ImageView(LabelledView):
    """Images with image-level labels; in an image without labels all classes are absent."""

    batch_type = ImageBatch

    def __init__(self, source: Source, ids: Sequence[str], transform: Transform, random_seed: int) -> None:
        super().__init__(source, ids, transform, random_seed)
        if empty := self._unlabelled():
            warnings.warn(
                f"{len(empty)} of {len(ids)} images have no label (first {empty[0]!r}); they are used as "
                "images without any class. Remove them from the split if their labels are unknown",
                stacklevel=2,
            )

    def __getitem__(self, key: Key) -> tuple[str, Tensor, Tensor, Tensor]:
        image_id = self.image_ids[key[1]]
        image = self.source.image(image_id)
        return self._labelled(image_id, image, self.labels[key[1]], self.random_key(key, _FIRST))

    @staticmethod
    def collate(items: list[Any]) -> ImageBatch:
        """Stack items."""
        ids, *tensors = zip(*items, strict=True)
        image, labels, valid = map(torch.stack, tensors)
        return ImageBatch(list(ids), image, labels, valid, labels.count_nonzero(dim=1).tolist())


class PairView(LabelledView):
    """Pairs of images that share at least one class, sampled as in MCIS (Sun et al., ECCV 2020).

    First a class is drawn uniformly from the classes of the first image, then a partner uniformly from the
    images of that class: P(j | i) is the mean over the classes c of image i of [j has c] / N_c. The partner
    may be the first image itself. Classes without any partner are skipped. An image whose classes all have no
    partner is paired with itself, with another draw of the augmentation.

    Args:
        source: The data set.
        ids: Ids of the first images.
        transform: Augmentation, drawn independently for each image of a pair.
        random_seed: Random seed of the augmentation and the partners.
        partners: Ids of the images that may be second; None for `ids`.

    Raises:
        ValueError: an image without labels, which cannot be paired.
    """

    batch_type: ClassVar[type[Batch]] = PairBatch

    def __init__(
        self,
        source: Source,
        ids: Sequence[str],
        transform: Transform,
        random_seed: int,
        partners: list[str] | None = None,
    ) -> None:
        super().__init__(source, ids, transform, random_seed)
        if empty := self._unlabelled():
            raise ValueError(
                f"{len(empty)} of {len(ids)} images have no label (first {empty[0]!r}) and cannot be paired "
                "by class; remove them from the split (COCO: labelled_only) or use another `data.view`"
            )
        self.partner_ids = ids if partners is None else partners
        self._partner_labels = (
            self.labels if partners is None else np.stack([source.labels(image_id) for image_id in partners])
        )
        self._members = members(self._partner_labels)

    def __getitem__(self, key: Key) -> tuple[Any, Any, dict[str, Tensor]]:
        first, image = self._first(key)
        return first, self._other(key, self.partner(key), _PARTNER), self.transform.self_views(image)

    def partner(self, key: Key) -> int | None:
        """Index in `partner_ids` of the partner of image `key[1]` in epoch `key[0]`; None if it has none."""
        rng, candidates = self._candidates(key)
        return None if candidates is None else int(rng.choice(candidates))

    @staticmethod
    def collate(items: list[Any]) -> PairBatch:
        """Stack the first images, the second images and each self view."""
        first, second, views = zip(*items, strict=True)
        stacked = {name: torch.stack([view[name] for view in views]) for name in views[0]}
        return PairBatch(ImageView.collate(list(first)), ImageView.collate(list(second)), stacked)

    def _candidates(self, key: Key) -> tuple[np.random.Generator, np.ndarray | None]:
        """Random generator, and possible partners: all images of a class that is drawn from the image's.

        The partners are None if no class of the image has any.
        """
        rng = np.random.default_rng(self.random_key(key, _PARTNER))
        classes = [c for c in np.flatnonzero(self.labels[key[1]]) if len(self._members[c])]
        return rng, self._members[rng.choice(classes)] if classes else None

    def _first(self, key: Key) -> tuple[Any, np.ndarray]:
        image_id = self.image_ids[key[1]]
        image = self.source.image(image_id)
        return self._labelled(image_id, image, self.labels[key[1]], self.random_key(key, _FIRST)), image

    def _other(self, key: Key, partner: int | None, draw: int) -> Any:
        """Item of a partner (None: the first image again), with its own draw of the augmentation."""
        image_id = self.image_ids[key[1]] if partner is None else self.partner_ids[partner]
        labels = self.labels[key[1]] if partner is None else self._partner_labels[partner]
        return self._labelled(image_id, self.source.image(image_id), labels, self.random_key(key, draw))


class GroupView(PairView):
    """An image and two others of one of its classes; class and images are drawn as in `PairView`."""

    batch_type = GroupBatch

    def __getitem__(self, key: Key) -> tuple[Any, Any, Any]:
        rng, candidates = self._candidates(key)
        second, third = (None, None) if candidates is None else map(int, rng.choice(candidates, 2))
        first, _ = self._first(key)
        return first, self._other(key, second, _PARTNER), self._other(key, third, _THIRD)

    @staticmethod
    def collate(items: list[Any]) -> GroupBatch:  # type: ignore[override]
        """Stack the first, the second and the third images."""
        first, second, third = (ImageView.collate(list(images)) for images in zip(*items, strict=True))
        return GroupBatch((first, second, third))


class CaptionView(View):
    """Images with one of their captions, which is drawn again in every epoch.

    Web data contain image-text pairs that cannot be decoded. Such a pair is replaced by another one, which is
    drawn from the random seed and the key, so ranks and resumed runs agree (it may then occur twice in an
    epoch). Each replacement gives a warning; `replaced` counts them over all worker processes.
    """

    batch_type = CaptionBatch

    def __init__(self, source: Source, ids: Sequence[str], transform: Transform, random_seed: int) -> None:
        super().__init__(source, ids, transform, random_seed)
        self._replaced = Value("q")

    @property
    def replaced(self) -> int:
        """Number of pairs that were replaced so far."""
        return self._replaced.value

    def __getitem__(self, key: Key) -> tuple[str, Tensor, str, Tensor]:
        image_id, image, captions = self._readable(key)
        crop = self.transform(image, self.random_key(key, _FIRST))
        drawn = np.random.default_rng(self.random_key(key, _CAPTION)).integers(len(captions))
        return image_id, crop.image, captions[drawn], crop.valid

    def _readable(self, key: Key) -> tuple[str, np.ndarray, tuple[str, ...]]:
        """The pair of a key, or the first readable one of those drawn as its replacement."""
        rng, index = np.random.default_rng(self.random_key(key, _REPLACEMENT)), key[1]
        for attempt in range(REPLACEMENTS):
            image_id = self.image_ids[index]
            try:
                return image_id, self.source.image(image_id), self.source.captions(image_id)
            except Unreadable as error:
                index = int(rng.integers(len(self)))
                warnings.warn(f"{error}; replaced by {self.image_ids[index]}", stacklevel=2)
                if attempt == 0:
                    with self._replaced.get_lock():
                        self._replaced.value += 1
        raise ValueError(
            f"{REPLACEMENTS} pairs in a row cannot be read, the last one {self.image_ids[index]}; check the "
            "data with `wsss-bench data check`"
        )

    @staticmethod
    def collate(items: list[Any]) -> CaptionBatch:
        """Stack items."""
        ids, images, captions, valid = zip(*items, strict=True)
        return CaptionBatch(list(ids), torch.stack(images), list(captions), torch.stack(valid))


class MaskView(View):
    """Images with masks: the ground truth of the source, or pseudo masks.

    Args:
        source: The data set.
        ids: Ids of the images of the split.
        transform: Augmentation.
        random_seed: Random seed of the augmentation.
        masks: Folder of pseudo masks `<id>.png` to use instead of the ground truth; None for full
            supervision.

    Raises:
        FileNotFoundError: the folder does not have the mask of an image.
    """

    batch_type = MaskBatch

    def __init__(
        self,
        source: Source,
        ids: Sequence[str],
        transform: Transform,
        random_seed: int,
        masks: str | Path | None = None,
    ) -> None:
        super().__init__(source, ids, transform, random_seed)
        self.masks = None if masks is None else Path(masks)
        if self.masks is not None:
            on_disk = file_names(self.masks)
            missing = [image_id for image_id in ids if f"{image_id}.png" not in on_disk]
            if missing:
                raise FileNotFoundError(
                    f"{self.masks} lacks {len(missing)} of {len(ids)} pseudo masks, first {missing[0]}.png; "
                    "`data.masks` is the folder of PNGs that the refine stage wrote for this split"
                )

    def __getitem__(self, key: Key) -> tuple[str, Tensor, Tensor, Tensor]:
        image_id = self.image_ids[key[1]]
        image = self.source.image(image_id)
        mask = self.source.mask(image_id) if self.masks is None else self._pseudo_mask(image_id, image)
        crop = self.transform(image, self.random_key(key, _FIRST), mask)
        assert crop.mask is not None
        return image_id, crop.image, crop.mask, crop.valid

    @staticmethod
    def collate(items: list[Any]) -> MaskBatch:
        """Stack items."""
        ids, *tensors = zip(*items, strict=True)
        return MaskBatch(list(ids), *map(torch.stack, tensors))

    def _pseudo_mask(self, image_id: str, image: np.ndarray) -> np.ndarray:
        assert self.masks is not None
        path = mask_path(self.masks, image_id)
        mask = read_mask(path)
        unknown = unknown_values(mask, len(self.source.class_names))
        if mask.shape != image.shape[:2] or unknown:
            raise ValueError(
                f"pseudo mask {path} is {mask.shape} with unknown values {unknown}; expected "
                f"{image.shape[:2]}, the size of its image, and values 0..{len(self.source.class_names)}, 255"
            )
        return mask
