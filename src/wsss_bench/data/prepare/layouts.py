"""Which members of the official files go where, for each data set that can be prepared."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np

from wsss_bench.data.prepare import official
from wsss_bench.data.prepare.lists import write_labels, write_train_aug
from wsss_bench.data.prepare.official import Archive
from wsss_bench.data.prepare.sbd import sbd_mask
from wsss_bench.data.sources.base import Source
from wsss_bench.data.sources.coco import COCO
from wsss_bench.data.sources.context import PascalContext
from wsss_bench.data.sources.openvocab import ADE20K, Cityscapes, COCOStuff
from wsss_bench.data.sources.voc import VOC


@dataclass(frozen=True)
class Rule:
    """Where the members of an archive go.

    Attributes:
        archive: The archive.
        members: Path of the members in it; each `*` stands for a name without folders.
        target: Path below the folder of the data set; its `*` are those of `members`, in order.
        convert: Mask `(H, W)` uint8 of the content of a member, which is then written as an indexed PNG.
        beside: The rule counts only if this archive is there too.
    """

    archive: Archive
    members: str
    target: str
    convert: Callable[[bytes], np.ndarray] | None = None
    beside: Archive | None = None

    def place(self, member: str) -> str | None:
        """The target of a member; None for other members."""
        pattern = re.escape(self.members).replace(r"\*", r"(\w[\w.-]*)")
        found = re.fullmatch(pattern, member, re.ASCII)
        if found is None:
            return None
        names = iter(found.groups())
        return re.sub(r"\*", lambda _: next(names), self.target)


class Split(NamedTuple):
    """A split that is made, the source that reads it, and an archive that only it needs."""

    source: Callable[[Path], Source]
    needs: Archive | None = None


@dataclass(frozen=True)
class DataSet:
    """A data set that can be prepared.

    Attributes:
        name: Sub-command of `wsss-bench data`.
        folder: Its folder below the root.
        rules: Where members go. Of two members for one target, the one of the earlier rule counts.
        configs: Files of `configs/data` that read it.
        splits: The splits that are made.
        finish: Writes the files that are made of the others; called with the folder and the
            sources of the splits that are made.
        optional: What cannot be made without an archive, for those without which something can.
    """

    name: str
    folder: str
    rules: tuple[Rule, ...]
    configs: tuple[str, ...]
    splits: dict[str, Split]
    finish: Callable[[Path, Mapping[str, Source]], None] | None = None
    optional: dict[Archive, str] = field(default_factory=dict)

    @property
    def archives(self) -> list[Archive]:
        """All archives, in the order of the rules."""
        return list(dict.fromkeys(rule.archive for rule in self.rules))


def _copied(archive: Archive, inside: str, *files: str) -> tuple[Rule, ...]:
    """Rules for members that keep their path below the folder `inside` of the archive."""
    return tuple(Rule(archive, f"{inside}/{name}" if inside else name, name) for name in files)


def _finish_voc(folder: Path, sources: Mapping[str, Source]) -> None:
    if "train_aug" in sources:
        write_train_aug(folder)
    annotated = sorted(path.stem for path in folder.glob("Annotations/*.xml"))
    write_labels(folder / "image_labels.csv", sources["train"], annotated)


def _finish_coco(folder: Path, sources: Mapping[str, Source]) -> None:
    for split, source in sources.items():
        write_labels(folder / f"image_labels_{split}.csv", source, source.ids(split))


_SBD = "benchmark_RELEASE/dataset"
VOC_SET = DataSet(
    "voc",
    "VOCdevkit/VOC2012",
    (
        *_copied(
            official.VOC2012,
            "VOCdevkit/VOC2012",
            "JPEGImages/*.jpg",
            "Annotations/*.xml",
            "SegmentationClass/*.png",
            "ImageSets/Segmentation/*.txt",
        ),
        Rule(official.SBD, f"{_SBD}/train.txt", "ImageSets/Segmentation/sbd_train.txt"),
        Rule(official.SBD, f"{_SBD}/val.txt", "ImageSets/Segmentation/sbd_val.txt"),
        # SBD's masks with those of VOC over them, as the script of DeepLab makes this folder (docs/data.md)
        Rule(
            official.VOC2012,
            "VOCdevkit/VOC2012/SegmentationClass/*.png",
            "SegmentationClassAug/*.png",
            beside=official.SBD,
        ),
        Rule(official.SBD, f"{_SBD}/cls/*.mat", "SegmentationClassAug/*.png", sbd_mask),
    ),
    ("voc", "voc20"),
    {
        "train": Split(VOC),
        "val": Split(VOC),
        "train_aug": Split(lambda folder: VOC(folder, masks="SegmentationClassAug"), official.SBD),
    },
    _finish_voc,
    {official.SBD: "train_aug.txt and SegmentationClassAug"},
)
COCO_SET = DataSet(
    "coco",
    "coco",
    (
        *_copied(official.COCO_TRAIN2014, "", "train2014/*.jpg"),
        *_copied(official.COCO_VAL2014, "", "val2014/*.jpg"),
        *_copied(
            official.COCO_ANNOTATIONS2014,
            "",
            "annotations/instances_train2014.json",
            "annotations/instances_val2014.json",
            "annotations/captions_train2014.json",
            "annotations/captions_val2014.json",
        ),
    ),
    ("coco", "coco_captions"),
    {"train": Split(COCO, official.COCO_TRAIN2014), "val": Split(COCO, official.COCO_VAL2014)},
    _finish_coco,
    {official.COCO_TRAIN2014: "the split train", official.COCO_VAL2014: "the split val"},
)
CONTEXT_SET = DataSet(
    "context",
    "VOCdevkit/VOC2010",
    (
        *_copied(official.VOC2010, "VOCdevkit/VOC2010", "JPEGImages/*.jpg"),
        Rule(official.CONTEXT, "masks/*.png", "SegmentationClassContext/*.png"),
        Rule(official.CONTEXT, "lists/*.txt", "ImageSets/SegmentationContext/*.txt"),
    ),
    ("context60", "context59"),
    {"val": Split(PascalContext)},
)
ADE20K_SET = DataSet(
    "ade20k",
    "ADEChallengeData2016",
    _copied(
        official.ADE20K, "ADEChallengeData2016", "images/validation/*.jpg", "annotations/validation/*.png"
    ),
    ("ade20k",),
    {"val": Split(ADE20K)},
)
CITYSCAPES_SET = DataSet(
    "cityscapes",
    "cityscapes",
    (
        *_copied(official.CITYSCAPES_IMAGES, "", "leftImg8bit/val/*/*_leftImg8bit.png"),
        *_copied(official.CITYSCAPES_MASKS, "", "gtFine/val/*/*_gtFine_labelIds.png"),
    ),
    ("cityscapes",),
    {"val": Split(Cityscapes)},
)
COCO_STUFF_SET = DataSet(
    "coco-stuff",
    "coco",
    (
        *_copied(official.COCO_VAL2017, "", "val2017/*.jpg"),
        Rule(official.COCO_STUFF, "val2017/*.png", "stuffthingmaps/val2017/*.png"),
    ),
    ("coco_stuff", "coco_object"),
    {"val": Split(COCOStuff)},
)
DATA_SETS = (VOC_SET, COCO_SET, CONTEXT_SET, ADE20K_SET, CITYSCAPES_SET, COCO_STUFF_SET)
