"""The data module of all methods. Its batches do not depend on the number of ranks, workers or restarts."""

from __future__ import annotations

import signal
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning import LightningDataModule
from lightning.pytorch.accelerators import CUDAAccelerator
from torch import Tensor
from torch.utils._pytree import tree_flatten
from torch.utils.data import DataLoader, Sampler

from wsss_bench.artifacts.data_reads import BATCH_SIZE
from wsss_bench.data.inference_view import InferenceView
from wsss_bench.data.references import ReferenceImages, ReferenceTable
from wsss_bench.data.samplers import GlobalBatchSampler, ShardSampler
from wsss_bench.data.sources.base import Source
from wsss_bench.data.sources.class_lists import check_class_names
from wsss_bench.data.sources.combined import CombinedSource, ExtraImages
from wsss_bench.data.transforms import OwnTransform, TransformConfig, build_transform
from wsss_bench.data.truth import require_masks
from wsss_bench.data.view_names import OwnView, view_class
from wsss_bench.data.views import CaptionView, Key, MaskView, PairView, View
from wsss_bench.processes import MOST_LOADERS, end_with_parent, share_of_cores
from wsss_bench.ranges import check_range
from wsss_bench.types import ViewName

MAX_RANDOM_SEED = 2**32 - 1
"""Largest random seed of numpy."""


class WSSSDataModule(LightningDataModule):
    """Batches for training and validation, and single images for inference, from one source.

    Args:
        source: The data set.
        view: What a training item is: `image`, `pair`, `group`, `caption`, `mask`, or a class of your own;
            its batches are of the `batch_type` of the method.
        transform: Training augmentation.
        val_transform: Transform of the validation images. None: the whole image, resized to the training crop
            size.
        train_split: Split to train on.
        val_split: Split of the monitored metrics; None for none. It is not used with pseudo masks either,
            since it would need ground truth.
        masks: Folder of pseudo masks for the mask view; None for ground truth.
        global_batch_size: Images of an optimiser step, all ranks together.
        drop_last: Leave out the incomplete batch at the end of an epoch.
        epoch_length: Optimiser steps of an epoch; None for one pass over the split. Validation
            and the seed of an epoch follow it.
        num_workers: Data loading processes of each rank. None: where a GPU is used, the rank's share of the
            cores, at most 8; else 0, since the network keeps the cores busy itself. Batches are the same for
            any number.
        extra_images: Further images that join the training split, by name (`sources.combined`).
        random_seed: Random seed of order, augmentation, pairs, references and captions.
    """

    def __init__(
        self,
        source: Source,
        view: ViewName | OwnView = "image",
        transform: TransformConfig = TransformConfig(),
        val_transform: TransformConfig | None = None,
        train_split: str = "train",
        val_split: str | None = "val",
        masks: str | None = None,
        global_batch_size: int = BATCH_SIZE,
        drop_last: bool = True,
        epoch_length: int | None = None,
        num_workers: int | None = None,
        extra_images: dict[str, ExtraImages] | None = None,
        random_seed: int = 0,
    ) -> None:
        super().__init__()
        # a rank without a share of a small split has nothing to do; Lightning refuses that otherwise
        self.allow_zero_length_dataloader_with_multiple_devices = True
        self.view = view
        self._view_class = view_class(view)
        if masks is not None:
            self._require_mask_view("data.masks is given")
        if source.class_names:
            check_class_names(source.class_names, f"class_names of {type(source).__name__}")
        check_range("data.global_batch_size", global_batch_size, 1)
        check_range("data.epoch_length", epoch_length, 1)
        check_range("data.num_workers", num_workers, 0)
        check_range("data.random_seed", random_seed, 0, MAX_RANDOM_SEED)
        self.source = CombinedSource(source, train_split, extra_images) if extra_images else source
        self.transform = transform
        self.val_transform = val_transform or TransformConfig("resize", transform.crop_size)
        self.train_split = train_split
        self.val_split = val_split
        self._inference_view: InferenceView | None = None
        self._chunk_size = 1
        self.masks = masks
        self.global_batch_size = global_batch_size
        self.drop_last = drop_last
        self.epoch_length = epoch_length
        self.num_workers = num_workers
        self.random_seed = random_seed
        self._position = (0, 0)

    def train_on(self, masks: Path) -> None:
        """Train on the pseudo masks `<id>.png` of a folder.

        Raises:
            ValueError: the view is not `mask`, nor derived from it.
        """
        self._require_mask_view(f"pseudo masks {masks} are given")
        self.masks = str(masks)

    def check_training(self, ranks: int, validates: bool) -> None:
        """Check before a training that ranks can share its batches, and that its data can be read.

        The first image is read, and its labels or captions; with an own view or transform, the first item.
        Masks must all exist.

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
        own = isinstance(self.view, OwnView) or isinstance(self.transform.kind, OwnTransform)
        if own and (self.masks is None or Path(self.masks).is_dir()):  # they may be planned, but not made
            check_item(self._train_view)
        elif self.view == "mask" and self.masks is None:
            require_masks(self.source, ids, self.train_split)
        elif self.view == "caption":
            self.source.captions(ids[0])
        elif self.view != "mask":
            self.source.labels(ids[0])
        if validates and self.val_split is not None and self.masks is None:
            self.source.ids(self.val_split)

    def predict_on(
        self,
        split: str,
        labelled: bool,
        ids: list[str] | None = None,
        references: int = 0,
        chunk_size: int = 1,
    ) -> None:
        """Choose what `predict_dataloader` yields.

        Args:
            split: Split to predict.
            labelled: Whether samples have image labels (for seeds); otherwise their labels are None.
            ids: Only these images of the split, for instance those missing after an interrupted stage.
            references: Number of reference images of each class of an image, drawn from the training split; 0
                for none. They need labels.
            chunk_size: Consecutive images that are yielded together.
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
        self._chunk_size = chunk_size

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
        if self.trainer is not None:  # loading processes draw the first keys before Lightning tells the epoch
            sampler.set_epoch(max(self.trainer.current_epoch, self._position[0]))
            sampler.skip(*self._position)
        return self._loader(dataset, sampler, self.global_batch_size // world_size)

    def state_dict(self) -> dict[str, int]:
        """Where the training is: the epoch, and how many of its batches are done."""
        assert self.trainer is not None
        loop = self.trainer.fit_loop
        epoch: Any = loop.epoch_progress.current
        inside = epoch.started > epoch.processed
        batch: Any = loop.epoch_loop.batch_progress.current
        return {"epoch": epoch.processed, "batches": batch.processed if inside else 0}

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        """Go on from there; Lightning calls this before it asks for batches."""
        self._position = (state_dict["epoch"], state_dict["batches"])

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
        """The images of `predict_on` in order, in lists of `InferenceSample`."""
        if self._inference_view is None:
            raise ValueError("no split to predict was chosen; call predict_on first")
        rank, world_size = self._rank_and_world_size()
        dataset = self._inference_view
        return self._loader(dataset, ShardSampler(len(dataset), rank, world_size), self._chunk_size)

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
        arguments: dict[str, Any] = {}
        if issubclass(self._view_class, MaskView):
            arguments["masks"] = self.masks
        elif issubclass(self._view_class, PairView):
            arguments["partners"] = self._partners(split)
        build = self.view.build if isinstance(self.view, OwnView) else self._view_class
        view: View = build(
            self.source, self._ids(split), build_transform(transform), self.random_seed, **arguments
        )
        return view

    def _require_mask_view(self, given: str) -> None:
        if not issubclass(self._view_class, MaskView):
            name = self.view.class_path if isinstance(self.view, OwnView) else self.view
            raise ValueError(f"{given}, but data.view is {name!r}, which reads no masks; set data.view: mask")

    def _ids(self, split: str) -> Sequence[str]:
        """The images that are training items of their own."""
        if isinstance(self.source, CombinedSource) and not issubclass(self._view_class, MaskView):
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
        on_gpu = self.trainer is not None and isinstance(self.trainer.accelerator, CUDAAccelerator)
        workers = self.num_workers
        if workers is None:
            ranks = self.trainer.num_devices if self.trainer is not None else 1  # of this machine
            workers = min(MOST_LOADERS, share_of_cores(ranks)) if on_gpu else 0
        return DataLoader(
            dataset,
            batch_size=batch_size,
            sampler=sampler,
            num_workers=workers,
            collate_fn=dataset.collate,
            pin_memory=on_gpu,
            persistent_workers=workers > 0,
            worker_init_fn=_start_worker,
            # else each pass over the data would take a number from the global one, a resumed training fewer
            generator=torch.Generator(),
        )


def check_item(view: View) -> None:
    """Check the first item of an own view, or of one with an own transform.

    Raises:
        ValueError: the batch is not of the type that the view promises, or another draw of the same item
            differs.
    """
    name = f"{type(view).__name__} with {type(view.transform).__name__}"
    first, again = (view.collate([view[(0, 0)]]) for _ in range(2))
    if not isinstance(first, view.batch_type):
        raise ValueError(
            f"data.view: {type(view).__name__} makes batches of {type(first).__name__}, but its batch_type "
            f"is {view.batch_type.__name__}; correct one of them"
        )
    if not _equal(first, again):
        raise ValueError(
            f"data.view: {name} makes two different items of one key, so that a resumed training would "
            "differ; draw all random numbers of a view from self.random_key(key), and those of a transform "
            "from its key"
        )


def _equal(one: Any, other: Any) -> bool:
    """Whether two items have the same tensors, arrays and other values, NaN included."""
    leaves, structure = tree_flatten(one)
    others, other_structure = tree_flatten(other)
    return structure == other_structure and all(
        np.array_equal(a, b, equal_nan=True) if isinstance(a, (Tensor, np.ndarray)) else a == b
        for a, b in zip(leaves, others, strict=True)
    )


def _start_worker(number: int) -> None:
    """A loading process ends with the process that it loads for, and not with a signal to all of a stage.

    A training finishes its step first, and needs its loading processes for it.
    """
    for number in (signal.SIGTERM, signal.SIGUSR1):
        signal.signal(number, signal.SIG_IGN)
    end_with_parent()
