"""`wsss-bench data check`: compares a data set on disk with its protocol.

It reads every image, its labels and every scored mask once, and lists all problems instead of stopping at the
first.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import jsonargparse
import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table

from wsss_bench.data.occurrence import Occurrence
from wsss_bench.data.sources.base import Source
from wsss_bench.own_modules import import_classes
from wsss_bench.plan.config_folder import DATA, read_data_file
from wsss_bench.plan.search_path import find_config
from wsss_bench.plan.yaml_files import read_yaml
from wsss_bench.short_names import with_full_paths

CHECKED_PAIRS = 10_000
"""Maximal number of image-text pairs that are read, evenly spaced over the split."""


@dataclass
class Findings:
    """Result of a check.

    Attributes:
        problems: What has to be corrected, one sentence each.
        counts: Number of images of each split.
        histogram: `(C,)` number of images with each class, of each split, by their labels; by their masks for
            a data set that is only scored on.
        unlabelled: Number of images without any label, of each split.
        disagree: Images of scored splits whose mask has a class that their labels do not have. VOC has none;
            own annotation that was made in two passes often has some. The benchmark accepts them, but they
            are noise in the supervision.
        left_out: Entries of image-text data that are not a pair, and why. Web data always have some. Of COCO:
            categories outside the vocabulary and objects without pixels.
    """

    problems: list[str] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    histogram: dict[str, np.ndarray] = field(default_factory=dict)
    unlabelled: dict[str, int] = field(default_factory=dict)
    disagree: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)


def check(source: Source, protocol: dict[str, Any], train_split: str) -> Findings:
    """Check a source against the `protocol` section of its config.

    Args:
        source: The data set.
        protocol: `eval_splits`, `counts` and, unless the data set is only scored on, `train_split`.
        train_split: Split that methods are trained on, if there is one.
    """
    findings = Findings()
    trained = [train_split, protocol["train_split"]] if protocol.get("train_split") else []
    scored = [*trained[1:], *protocol["eval_splits"]]
    splits = {}
    for split in dict.fromkeys([*trained, *scored, *protocol["counts"]]):
        try:
            splits[split] = source.ids(split)
        except (ValueError, OSError) as error:  # noqa: PERF203 (a handful of splits)
            findings.problems.append(str(error))
    findings.counts = {split: len(ids) for split, ids in splits.items()}
    findings.problems.extend(_wrong_counts(findings.counts, protocol["counts"]))
    if trained:
        findings.problems.extend(_wrong_overlaps(splits, train_split, protocol))

    with_mask = {image_id for split in scored for image_id in splits.get(split, ())}
    every = sorted({image_id for ids in splits.values() for image_id in ids})
    readings: dict[str, _Reading] = {}
    with ThreadPoolExecutor(os.cpu_count()) as pool:  # decoding releases the interpreter lock
        reads = pool.map(
            lambda image_id: _read(source, image_id, bool(trained), image_id in with_mask), every
        )
        progress = track(reads, "checking images", total=len(every), console=Console(stderr=True))
        for image_id, reading in zip(every, progress, strict=True):
            readings[image_id] = reading
            findings.problems.extend(reading.problems)
    for split, ids in splits.items():
        occurrence = Occurrence.of([(readings[i].label, readings[i].shown) for i in ids], source.class_names)
        findings.histogram[split] = occurrence.labelled if trained else occurrence.shown
        findings.unlabelled[split] = occurrence.unlabelled
        findings.problems.extend(
            f"split {split!r}: {sentence}" for sentence in occurrence.problems(bool(trained))
        )
    findings.disagree = [image_id for image_id in every if readings[image_id].disagrees]
    findings.left_out = list(getattr(source, "left_out", ()))
    return findings


def check_pairs(source: Source, protocol: dict[str, Any], train_split: str) -> Findings:
    """Check image-text pairs, which are for training only: their number, and that a sample is readable."""
    findings = Findings()
    ids = source.ids(train_split)
    findings.counts = {train_split: len(ids)}
    findings.problems.extend(_wrong_counts(findings.counts, protocol["counts"]))
    findings.left_out = list(getattr(source, "left_out", ()))
    positions = np.unique(np.linspace(0, len(ids) - 1, min(len(ids), CHECKED_PAIRS)).astype(int))
    for position in track(positions, "reading pairs", console=Console(stderr=True)):
        try:
            source.image(ids[int(position)])
            source.captions(ids[int(position)])
        except (ValueError, OSError) as error:  # noqa: PERF203 (the reads cost far more)
            findings.problems.append(str(error))
    return findings


def _wrong_counts(found: dict[str, int], expected: dict[str, int]) -> Iterator[str]:
    for split, count in expected.items():
        if split in found and found[split] != count:
            yield f"split {split!r} has {found[split]} images, the protocol expects {count}"


def _wrong_overlaps(
    splits: dict[str, list[str]], train_split: str, protocol: dict[str, Any]
) -> Iterator[str]:
    train, seeds = set(splits.get(train_split, ())), set(splits.get(protocol["train_split"], ()))
    if seeds - train:
        yield (
            f"split {protocol['train_split']!r}, on which seeds are scored, has {len(seeds - train)} images "
            f"that are not in {train_split!r}, on which methods train"
        )
    for split in protocol["eval_splits"]:
        if shared := train & set(splits.get(split, ())):
            yield f"splits {train_split!r} and {split!r} share {len(shared)} images, such as {min(shared)!r}"


@dataclass
class _Reading:
    """What was found in one image."""

    label: np.ndarray | None = None  # (C,) by its label
    shown: np.ndarray | None = None  # (C,) bool: whether its mask shows the class
    problems: list[str] = field(default_factory=list)

    @property
    def disagrees(self) -> bool:
        """Whether the mask shows a class that the label does not have."""
        return (
            self.label is not None and self.shown is not None and bool((self.shown & (self.label == 0)).any())
        )


def _read(source: Source, image_id: str, with_labels: bool, with_mask: bool) -> _Reading:
    """Read the image, and its labels and mask where the data set has them."""
    reading = _Reading()

    def attempt(read: Callable[[str], np.ndarray]) -> np.ndarray | None:
        try:
            return read(image_id)
        except (ValueError, OSError) as error:
            reading.problems.append(str(error))
            return None

    attempt(source.image)
    if with_labels:
        reading.label = attempt(source.labels)
    if with_mask and not reading.problems:
        mask = attempt(source.mask)
        if mask is not None:
            reading.shown = np.isin(np.arange(1, len(source.class_names) + 1), mask)
    return reading


def register(commands: Any) -> None:
    """Add the command to the sub-commands of `wsss-bench data`."""
    parser = commands.add_parser("check", help="compare a data set on disk with its config")
    parser.add_argument(
        "--config",
        type=Path,
        required=True,
        help="such as configs/data/voc.yaml; or a name: voc",
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print the findings; 1 if there are problems."""
    file = find_config(DATA, arguments.config)
    config = read_data_file(file, with_full_paths(read_yaml(file), f"{file}: "))
    source = load_source(config.source)
    scored = config.protocol.eval_splits
    findings = (check if scored else check_pairs)(source, asdict(config.protocol), config.training_split)
    print_findings(findings, source.class_names)
    return 1 if findings.problems else 0


def load_source(config: dict[str, Any]) -> Source:
    """Build the source of a config: `class_path` and `init_args`, checked against the class's signature."""
    import_classes(config)
    parser = jsonargparse.ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(Source, "source")
    return parser.instantiate(parser.parse_object({"source": config})).source


def print_findings(findings: Findings, class_names: tuple[str, ...]) -> None:
    """Print counts and class histogram as a table, then the problems."""
    table = Table("images with", *findings.counts)
    table.add_row("anything", *(str(count) for count in findings.counts.values()))
    for c, name in enumerate(class_names):
        table.add_row(name, *(str(row[c]) for row in findings.histogram.values()))
    if findings.unlabelled:
        table.add_row("no label", *(str(count) for count in findings.unlabelled.values()))
    console = Console(emoji=False)
    console.print(table)
    if findings.disagree:
        console.print(
            f"{len(findings.disagree)} masks show a class that the image's label lacks: "
            f"{', '.join(findings.disagree[:5])} ...",
            highlight=False,
        )
    if findings.left_out:
        what = "are not used as they stand" if class_names else "are no pair of an image and a text"
        console.print(f"{len(findings.left_out)} entries of the data {what}:")
        for sentence in findings.left_out:
            console.print(f"- {sentence}", highlight=False, markup=False, soft_wrap=True)
    if findings.problems:
        console.print(f"{len(findings.problems)} problems:")
        for problem in findings.problems:
            console.print(f"- {problem}", highlight=False, markup=False, soft_wrap=True)
    else:
        console.print("no problems")
