"""The one data module: shares of batches that are the same for any number of ranks, workers and restarts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from lightning import LightningDataModule
from torch.utils.data import DataLoader, Sampler

from wsss_bench.data.references import ReferenceImages, Table
from wsss_bench.data.sources.base import Source
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

_VIEWS: dict[str, type[View]] = {"image": ImageView, "caption": CaptionView}
_PAIRED: dict[str, type[PairView]] = {"pair": PairView, "group": GroupView}


class GlobalBatchSampler(Sampler[Key]):
    """One rank's share of shuffled global batches, as keys `(epoch, index)`.

    Global batch `b` of an epoch is `permutation[b * G : (b + 1) * G]`, and rank `r` takes every `world`-th of
    it from `r` on: the images of an optimiser step do not depend on the number of ranks.

    Args:
        length: Images of the split.
        global_batch_size: Images of an optimiser step over all ranks.
        rank: This process.
        world_size: Number of processes.
        drop_last: Leave out the incomplete batch at the end of an epoch.
        seed: Of the permutation.
        epoch_length: Batches of an epoch. Epochs then follow each other through a pass over the data, and a key
            names the pass in place of the epoch. None: an epoch is a pass.

    Raises:
        ValueError: batches that cannot be shared evenly, or no complete batch.
    """

    def __init__(
        self,
        length: int,
        global_batch_size: int,
        rank: int,
        world_size: int,
        drop_last: bool,
        seed: int,
        epoch_length: int | None = None,
    ) -> None:
        if global_batch_size < 1 or global_batch_size % world_size:
            raise ValueError(
                f"data.global_batch_size {global_batch_size} cannot be shared by {world_size} ranks; it "
                f"counts the images of all ranks together: set a multiple of {world_size}, or change "
                "trainer.devices"
            )
        if drop_last and length < global_batch_size:
            raise ValueError(
                f"the training split has {length} images, fewer than one batch of data.global_batch_size "
                f"{global_batch_size}; lower it, or set data.drop_last to false"
            )
        if not drop_last and length % global_batch_size % world_size:
            raise ValueError(
                f"the last batch of {length % global_batch_size} images cannot be shared by {world_size} "
                "ranks; set data.drop_last to true"
            )
        if epoch_length is not None and (epoch_length < 1 or not drop_last):
            raise ValueError(
                f"data.epoch_length counts complete batches: it is 1 or more and needs data.drop_last; got {epoch_length} "
                f"with drop_last {drop_last}"
            )
        self.length = length
        self.epoch_length = epoch_length
        self.global_batch_size = global_batch_size
        self.rank = rank
        self.world_size = world_size
        self.drop_last = drop_last
        self.seed = seed
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch that is drawn next; Lightning calls it."""
        self.epoch = epoch

    def __len__(self) -> int:
        if self.epoch_length is not None:
            return self.epoch_length * self.global_batch_size // self.world_size
        return self._used() // self.world_size

    def __iter__(self) -> Iterator[Key]:
        if self.epoch_length is None:
            yield from self._pass(self.epoch, 0, None)
            return
        batches = self.length // self.global_batch_size
        first = self.epoch * self.epoch_length
        last = first + self.epoch_length
        while first < last:
            number, start = divmod(first, batches)
            stop = min(batches, start + last - first)
            yield from self._pass(number, start, stop)
            first += stop - start

    def _pass(self, number: int, first: int, last: int | None) -> Iterator[Key]:
        """This rank's share of the batches `first..last-1` of a pass over the data."""
        order = np.random.default_rng((self.seed, number)).permutation(self.length)
        starts = range(0, self._used(), self.global_batch_size)[first:last]
        for start in starts:
            batch = order[start : start + self.global_batch_size]
            for index in batch[self.rank :: self.world_size]:
                yield number, int(index)

    def _used(self) -> int:
        return self.length - self.length % self.global_batch_size if self.drop_last else self.length


class ShardSampler(Sampler[Key]):
    """One rank's share of a split in order, every image on exactly one rank.

    Lightning's own sampler repeats images until all ranks have as many, which changes the score.
    """

    def __init__(self, length: int, rank: int, world_size: int) -> None:
        self.indices = range(rank, length, world_size)

    def __len__(self) -> int:
        return len(self.indices)

    def __iter__(self) -> Iterator[Key]:
        for index in self.indices:
            yield 0, index


class WSSSDataModule(LightningDataModule):
    """Feeds training, validation (a monitor) and inference from one source.

    Args:
        source: What is on disk.
        view: What a training item is; the kind of batch that the method asks for.
        transform: Training augmentation.
        val_transform: Of the validation batches; None shows the whole picture at the training crop's size.
        train_split: Split that is trained on.
        val_split: Split that is monitored; None for no monitor. There is none either where pseudo masks are
            given, since it would need the true ones.
        masks: Folder of pseudo masks for the mask view; None for true masks.
        global_batch_size: Images of an optimiser step, all ranks together.
        drop_last: Leave out the incomplete batch at the end of an epoch.
        epoch_length: Optimiser steps of an epoch; None for a pass over the split. Checkpoints are written at the
            end of epochs: a shorter one lets a long pass be resumed inside.
        num_workers: Loading processes of each rank.
        extra_images: Further images that join the training split, by name (`sources.combined`).
        seed: Of order, augmentation, pairs, references and captions.
    """

    def __init__(
        self,
        source: Source,
        view: Literal["image", "pair", "group", "caption", "mask"] = "image",
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
        seed: int = 0,
    ) -> None:
        super().__init__()
        if masks is not None and view != "mask":
            raise ValueError(
                f"data.masks is given, but data.view is {view!r}, which reads no masks; set data.view: mask"
            )
        self.source = CombinedSource(source, train_split, extra_images) if extra_images else source
        self.view = view
        self.transform = transform
        self.val_transform = val_transform or replace(transform, kind="resize", self_scales=None)
        self.train_split = train_split
        self.val_split = val_split
        self._inference_view: InferenceView | None = None
        self.masks = masks
        self.global_batch_size = global_batch_size
        self.drop_last = drop_last
        self.epoch_length = epoch_length
        self.num_workers = num_workers
        self.seed = seed

    def train_on(self, masks: Path) -> None:
        """Train on the pseudo masks `<id>.png` of this folder.

        Raises:
            ValueError: the view reads no masks.
        """
        if self.view != "mask":
            raise ValueError(
                f"pseudo masks {masks} are given, but data.view is {self.view!r}, which reads none; set data.view: mask"
            )
        self.masks = str(masks)

    def predict_on(
        self, split: str, labelled: bool, ids: list[str] | None = None, references: int = 0
    ) -> None:
        """Choose what `predict_dataloader` yields.

        Args:
            split: Split to predict on.
            labelled: Give image labels along (seeds of the training split); otherwise samples carry None.
            ids: Only these images of it, for instance those that an interrupted stage has left.
            references: Other images of each class to give along, drawn from the training split.
        """
        if not self.class_names:
            raise ValueError(
                f"{type(self.source).__name__} names no class to predict; it can be trained on only"
            )
        self._inference_view = InferenceView(
            self.source,
            self.source.ids(split) if ids is None else ids,
            labelled,
            self._reference_images(references) if references and labelled else None,
        )

    def reference_table(self, split: str, count: int) -> Table:
        """The references of every image of `split`, as `predict_on` with labels gives them along."""
        pool = self._reference_images(count)
        return {
            image_id: pool.draw(image_id, self.source.labels(image_id)) for image_id in self.source.ids(split)
        }

    @property
    def class_names(self) -> tuple[str, ...]:
        """Foreground classes in label order."""
        return self.source.class_names

    def train_dataloader(self) -> DataLoader:
        """Shuffled global batches of the training split."""
        rank, world_size = self._place()
        dataset = self._train_view
        sampler = GlobalBatchSampler(
            len(dataset),
            self.global_batch_size,
            rank,
            world_size,
            self.drop_last,
            self.seed,
            self.epoch_length,
        )
        return self._loader(dataset, sampler, self.global_batch_size // world_size)

    def teardown(self, stage: str) -> None:
        """Say how many image-text pairs of a training could not be read."""
        view = self.__dict__.get("_train_view")  # of a cached property; None where nothing was trained
        if isinstance(view, CaptionView) and view.replaced:
            print(f"{view.replaced} pairs could not be read and were replaced (warned of above)", flush=True)

    def val_dataloader(self) -> DataLoader | list[DataLoader]:
        """The validation split in order, in batches of the training size."""
        if self.val_split is None or self.masks is not None:
            return []
        rank, world_size = self._place()
        dataset = self._val_view
        sampler = ShardSampler(len(dataset), rank, world_size)
        return self._loader(dataset, sampler, max(1, self.global_batch_size // world_size))

    def predict_dataloader(self) -> DataLoader:
        """The images of `predict_on` in order, one `InferenceSample` at a time."""
        if self._inference_view is None:
            raise ValueError("nothing to predict on was chosen; call predict_on first")
        rank, world_size = self._place()
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
            return MaskView(source, source.ids(split), augmentation, self.seed, self.masks)
        ids = source.anchors(split) if isinstance(source, CombinedSource) else source.ids(split)
        if self.view in _PAIRED:
            return _PAIRED[self.view](source, ids, augmentation, self.seed, self._partners(split))
        return _VIEWS[self.view](source, ids, augmentation, self.seed)

    def _partners(self, split: str) -> list[str]:
        return (
            self.source.partners(split) if isinstance(self.source, CombinedSource) else self.source.ids(split)
        )

    def _reference_images(self, count: int) -> ReferenceImages:
        return ReferenceImages(self.source, self._partners(self.train_split), count, self.seed)

    def _place(self) -> tuple[int, int]:
        """Rank and number of ranks; a single process where there is no trainer."""
        if self.trainer is None:
            return 0, 1
        if self.trainer.world_size > 1 and self.trainer._accelerator_connector.use_distributed_sampler:
            raise ValueError(
                "trainer.use_distributed_sampler is true, which would split each rank's share a second "
                "time; set it to false"
            )
        return self.trainer.global_rank, self.trainer.world_size

    def _loader(self, dataset: Any, sampler: Sampler[Key], batch_size: int) -> DataLoader:
        return DataLoader(
            dataset,
            batch_size=batch_size,
            sampler=sampler,
            num_workers=self.num_workers,
            collate_fn=dataset.collate,
            pin_memory=torch.cuda.is_available(),
            persistent_workers=self.num_workers > 0,
        )
