"""The data module of all methods. Its batches do not depend on the number of ranks, workers or restarts."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from lightning import LightningDataModule
from torch.utils.data import DataLoader, Sampler

from wsss_bench.data.references import ReferenceImages, ReferenceTable
from wsss_bench.data.samplers import GlobalBatchSampler, ShardSampler
from wsss_bench.data.sources.base import Source
from wsss_bench.data.sources.class_lists import check_class_names
from wsss_bench.data.sources.combined import CombinedSource, ExtraImages
from wsss_bench.data.transforms import Transform, TransformConfig
from wsss_bench.data.views import (
    CaptionView,
    GroupView,
    ImageView,
    InferenceView,
    Key,
    MaskView,
    PairView,
    View,
)
from wsss_bench.processes import end_with_parent
from wsss_bench.ranges import check_range
from wsss_bench.types import ViewName

_VIEWS: dict[str, type[View]] = {"image": ImageView, "caption": CaptionView}
_PAIRED: dict[str, type[PairView]] = {"pair": PairView, "group": GroupView}

MAX_RANDOM_SEED = 2**32 - 1
"""Largest random seed of numpy."""


class WSSSDataModule(LightningDataModule):
    """Batches for training and validation, and single images for inference, from one source.

    Args:
        source: The data set.
        view: What a training item is; it must fit the `batch_type` of the method.
        transform: Training augmentation.
        val_transform: Transform of the validation images. None: the whole image, resized to the training crop
            size.
        train_split: Split to train on.
        val_split: Split of the monitored metrics; None for none. It is not used with pseudo masks either,
            since it would need ground truth.
        masks: Folder of pseudo masks for the mask view; None for ground truth.
        global_batch_size: Images of an optimiser step, all ranks together.
        drop_last: Leave out the incomplete batch at the end of an epoch.
        epoch_length: Optimiser steps of an epoch; None for one pass over the split. Checkpoints are written
            at the end of epochs, so a short epoch lets a long pass be resumed in the middle.
        num_workers: Data loading processes of each rank.
        extra_images: Further images that join the training split, by name (`sources.combined`).
        random_seed: Random seed of order, augmentation, pairs, references and captions.
    """

    def __init__(
        self,
        source: Source,
        view: ViewName = "image",
        transform: TransformConfig = TransformConfig(),
        val_transform: TransformConfig | None = None,
        train_split: str = "train",
        val_split: str | None = "val",
        masks: str | None = None,
        global_batch_size: int = 16,
        drop_last: bool = True,
        epoch_length: int | None = None,
        num_workers: int = 0,
        extra_images: dict[str, ExtraImages] | None = None,
        random_seed: int = 0,
    ) -> None:
        super().__init__()
        # a rank without a share of a small split has nothing to do; Lightning refuses that otherwise
        self.allow_zero_length_dataloader_with_multiple_devices = True
        if masks is not None and view != "mask":
            raise ValueError(
                f"data.masks is given, but data.view is {view!r}, which reads no masks; set data.view: mask"
            )
        if source.class_names:
            check_class_names(source.class_names, f"class_names of {type(source).__name__}")
        check_range("data.global_batch_size", global_batch_size, 1)
        check_range("data.epoch_length", epoch_length, 1)
        check_range("data.num_workers", num_workers, 0)
        check_range("data.random_seed", random_seed, 0, MAX_RANDOM_SEED)
        self.source = CombinedSource(source, train_split, extra_images) if extra_images else source
        self.view = view
        self.transform = transform
        self.val_transform = val_transform or TransformConfig("resize", transform.crop_size)
        self.train_split = train_split
        self.val_split = val_split
        self._inference_view: InferenceView | None = None
        self.masks = masks
        self.global_batch_size = global_batch_size
        self.drop_last = drop_last
        self.epoch_length = epoch_length
        self.num_workers = num_workers
        self.random_seed = random_seed

    def train_on(self, masks: Path) -> None:
        """Train on the pseudo masks `<id>.png` of a folder.

        Raises:
            ValueError: the view is not `mask`.
        """
        if self.view != "mask":
            raise ValueError(
                f"pseudo masks {masks} are given, but data.view is {self.view!r}, which reads none; "
                "set data.view: mask"
            )
        self.masks = str(masks)

    def check_training(self, ranks: int, validates: bool) -> None:
        """Check before a training that ranks can share its batches, and that its data can be read.

        The first image is read, and its labels, mask or captions.

        Args:
            ranks: Number of processes.
            validates: Whether the validation split is used.

        Raises:
            FileNotFoundError, ValueError: with what to change.
        """
        ids = self._ids(self.train_split)
        GlobalBatchSampler(
            len(ids), self.global_batch_size, 0, ranks, self.drop_last, self.random_seed, self.epoch_length
        )
        self.source.image(ids[0])
        if self.view == "mask" and self.masks is None:
            self.source.mask(ids[0])
        elif self.view == "caption":
            self.source.captions(ids[0])
        elif self.view != "mask":
            self.source.labels(ids[0])
        if validates and self.val_split is not None and self.masks is None:
            self.source.ids(self.val_split)

    def predict_on(
        self, split: str, labelled: bool, ids: list[str] | None = None, references: int = 0
    ) -> None:
        """Choose what `predict_dataloader` yields.

        Args:
            split: Split to predict.
            labelled: Whether samples have image labels (for seeds); otherwise their labels are None.
            ids: Only these images of the split, for instance those missing after an interrupted stage.
            references: Number of reference images of each class of an image, drawn from the training split; 0
                for none. They need labels.
        """
        if not self.class_names:
            raise ValueError(
                f"{type(self.source).__name__} has no classes to predict; it can be used for training only"
            )
        self._inference_view = InferenceView(
            self.source,
            self.source.ids(split) if ids is None else ids,
            labelled,
            self._reference_images(references) if references and labelled else None,
        )

    def reference_table(self, split: str, count: int) -> ReferenceTable:
        """The references that `predict_on` with labels draws for every image of `split`."""
        references = self._reference_images(count)
        return {
            image_id: references.draw(image_id, self.source.labels(image_id))
            for image_id in self.source.ids(split)
        }

    @property
    def class_names(self) -> tuple[str, ...]:
        """Foreground classes in label order."""
        return self.source.class_names

    def train_dataloader(self) -> DataLoader:
        """Shuffled global batches of the training split."""
        rank, world_size = self._rank_and_world_size()
        dataset = self._train_view
        sampler = GlobalBatchSampler(
            len(dataset),
            self.global_batch_size,
            rank,
            world_size,
            self.drop_last,
            self.random_seed,
            self.epoch_length,
        )
        return self._loader(dataset, sampler, self.global_batch_size // world_size)

    def teardown(self, stage: str) -> None:
        """Print how many image-text pairs could not be read during a training."""
        view = self.__dict__.get("_train_view")  # of the cached property, without building it
        if isinstance(view, CaptionView) and view.replaced:
            print(f"{view.replaced} pairs could not be read and were replaced (see the warnings)", flush=True)

    def val_dataloader(self) -> DataLoader | list[DataLoader]:
        """The validation split in order, in batches of the training batch size.

        With fewer images than ranks, every rank takes all of them: the metrics add up the counts of all
        ranks, and a rank without a batch would not take part. The monitored values are ratios of counts, so
        they stay the same when every image is counted equally often.
        """
        if self.val_split is None or self.masks is not None:
            return []
        rank, world_size = self._rank_and_world_size()
        dataset = self._val_view
        batch_size = max(1, self.global_batch_size // world_size)
        if len(dataset) < world_size:
            rank, world_size = 0, 1
        return self._loader(dataset, ShardSampler(len(dataset), rank, world_size), batch_size)

    def predict_dataloader(self) -> DataLoader:
        """The images of `predict_on` in order, one `InferenceSample` at a time."""
        if self._inference_view is None:
            raise ValueError("no split to predict was chosen; call predict_on first")
        rank, world_size = self._rank_and_world_size()
        dataset = self._inference_view
        return self._loader(dataset, ShardSampler(len(dataset), rank, world_size), 1)

    @cached_property
    def _train_view(self) -> View:
        return self._build(self.train_split, self.transform)

    @cached_property
    def _val_view(self) -> View:
        assert self.val_split is not None
        view = self._build(self.val_split, self.val_transform)
        shared = set(view.image_ids) & set(self.source.ids(self.train_split))
        if shared and self.val_split != self.train_split:
            raise ValueError(
                f"data.val_split {self.val_split!r} shares {len(shared)} images with data.train_split "
                f"{self.train_split!r}, for instance {min(shared)!r}; correct the lists"
            )
        return view

    def _build(self, split: str, transform: TransformConfig) -> View:
        source, augmentation = self.source, Transform(transform)
        if self.view == "mask":
            return MaskView(source, self._ids(split), augmentation, self.random_seed, self.masks)
        ids = self._ids(split)
        if self.view in _PAIRED:
            return _PAIRED[self.view](source, ids, augmentation, self.random_seed, self._partners(split))
        return _VIEWS[self.view](source, ids, augmentation, self.random_seed)

    def _ids(self, split: str) -> Sequence[str]:
        """The images that are training items of their own."""
        if isinstance(self.source, CombinedSource) and self.view != "mask":
            return self.source.anchors(split)
        return self.source.ids(split)

    def _partners(self, split: str) -> list[str]:
        return (
            self.source.partners(split) if isinstance(self.source, CombinedSource) else self.source.ids(split)
        )

    def _reference_images(self, count: int) -> ReferenceImages:
        return ReferenceImages(self.source, self._partners(self.train_split), count, self.random_seed)

    def _rank_and_world_size(self) -> tuple[int, int]:
        """Index and number of the processes; `(0, 1)` without a trainer."""
        return (0, 1) if self.trainer is None else (self.trainer.global_rank, self.trainer.world_size)

    def _loader(self, dataset: Any, sampler: Sampler[Key], batch_size: int) -> DataLoader:
        return DataLoader(
            dataset,
            batch_size=batch_size,
            sampler=sampler,
            num_workers=self.num_workers,
            collate_fn=dataset.collate,
            pin_memory=torch.cuda.is_available(),
            persistent_workers=self.num_workers > 0,
            worker_init_fn=_start_worker,
        )


def _start_worker(number: int) -> None:
    """A loading process ends with the process that it loads for."""
    end_with_parent()
