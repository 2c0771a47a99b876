"""`wsss-bench data check`: compares a data set on disk with its protocol.

It reads every image, its labels and every mask that a stage may read once, and lists all problems instead of
stopping at the first.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import jsonargparse
import numpy as np
from rich.console import Console
from rich.progress import track

from wsss_bench.artifacts.files import write_json
from wsss_bench.data.findings import Findings, as_json, print_findings
from wsss_bench.data.occurrence import Occurrence
from wsss_bench.data.reading import Reading, Wanted, read_all
from wsss_bench.data.sources.base import Source
from wsss_bench.own_modules import import_classes
from wsss_bench.plan.config import DataFile
from wsss_bench.plan.config_folder import DATA, read_data_file
from wsss_bench.plan.plan import Plan
from wsss_bench.plan.planner import make_plan
from wsss_bench.plan.search_path import find_config
from wsss_bench.plan.yaml_files import read_yaml
from wsss_bench.short_names import with_full_paths

CHECKED_PAIRS = 10_000
"""Maximal number of image-text pairs that are read, evenly spaced over the split."""


def check(
    source: Source, protocol: dict[str, Any], train_split: str, full_supervision: bool = False
) -> Findings:
    """Check a source against the `protocol` section of its config.

    Args:
        source: The data set.
        protocol: `eval_splits`, `counts` and, unless the data set is only scored on, `train_split`.
        train_split: Split that methods are trained on, if there is one.
        full_supervision: Whether the masks of training images that are not scored are needed, too: what is
            wrong with them is a problem then, and else only told.
    """
    findings = Findings()
    trained = [train_split, protocol["train_split"]] if protocol.get("train_split") else []
    scored = [
        split
        for split in (*trained[1:], *protocol["eval_splits"])
        if split not in protocol.get("unscored", ())
    ]
    splits = {}
    for split in dict.fromkeys([*trained, *protocol["eval_splits"], *protocol["counts"]]):
        try:
            splits[split] = source.ids(split)
        except (ValueError, OSError) as error:  # noqa: PERF203 (a handful of splits)
            findings.add("lists", str(error))
    findings.counts = {split: len(ids) for split, ids in splits.items()}
    findings.add("lists", *_wrong_counts(findings.counts, protocol["counts"]))
    if trained:
        findings.add("lists", *_wrong_overlaps(splits, train_split, protocol))

    scored_ids = {image_id for split in scored for image_id in splits.get(split, ())}
    learnt_ids = set(splits.get(train_split, ())) if trained else set()
    every = sorted({image_id for ids in splits.values() for image_id in ids})
    readings: dict[str, Reading] = {}
    reads = read_all(source, every, Wanted(bool(trained), scored_ids | learnt_ids))
    progress = track(reads, "checking images", total=len(every), console=Console(stderr=True))
    for image_id, reading in zip(every, progress, strict=True):
        only_learnt = image_id not in scored_ids and not full_supervision
        readings[image_id] = reading
        for part, sentence in reading.problems.items():
            if part == "masks" and only_learnt:
                findings.full_supervision.append(sentence)
            else:
                findings.add(part, sentence)
    for split, ids in splits.items():
        occurrence = Occurrence.of([(readings[i].label, readings[i].shown) for i in ids], source.class_names)
        findings.histogram[split] = occurrence.labelled if trained else occurrence.shown
        findings.unlabelled[split] = occurrence.unlabelled
        sentences = [f"split {split!r}: {sentence}" for sentence in occurrence.problems(bool(trained))]
        if split == train_split and not full_supervision and split not in scored:
            findings.full_supervision += sentences
        else:
            findings.add("classes", *sentences)
    findings.turned = [image_id for image_id in every if readings[image_id].turned]
    findings.disagree = [image_id for image_id in every if readings[image_id].disagrees]
    findings.left_out = list(getattr(source, "left_out", ()))
    return findings


def check_pairs(source: Source, protocol: dict[str, Any], train_split: str) -> Findings:
    """Check image-text pairs, which are for training only: their number, and that a sample is readable."""
    findings = Findings()
    ids = source.ids(train_split)
    findings.counts = {train_split: len(ids)}
    findings.add("lists", *_wrong_counts(findings.counts, protocol["counts"]))
    findings.left_out = list(getattr(source, "left_out", ()))
    positions = np.unique(np.linspace(0, len(ids) - 1, min(len(ids), CHECKED_PAIRS)).astype(int))
    for position in track(positions, "reading pairs", console=Console(stderr=True)):
        try:
            source.image(ids[int(position)])
            source.captions(ids[int(position)])
        except (ValueError, OSError) as error:  # noqa: PERF203 (the reads cost far more)
            findings.add("pairs", str(error))
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


def register(commands: Any) -> None:
    """Add the command to the sub-commands of `wsss-bench data`."""
    parser = commands.add_parser("check", help="compare a data set on disk with its config")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument(
        "--config",
        type=Path,
        help="such as configs/data/voc.yaml; or a name: voc",
    )
    what.add_argument(
        "--experiment",
        type=Path,
        help="path or name of an experiment: all its data sets, with the masks that its stages read",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all findings to this file, too")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print the findings; 1 if there are problems."""
    if arguments.config is not None:
        file, config = read_data_set(arguments.config)
        sets, learns_from = {file.stem: config}, set()
    else:
        plan = make_plan(arguments.experiment, Path("runs"))
        sets, learns_from = plan.datasets, set(_fully_supervised(plan))
    written = {}
    sound = True
    for name, data in sets.items():
        source = load_source(data.source)
        if data.protocol.eval_splits:
            findings = check(source, asdict(data.protocol), data.training_split, name in learns_from)
        else:
            findings = check_pairs(source, asdict(data.protocol), data.training_split)
        if len(sets) > 1:
            print(f"{name}:")
        print_findings(findings, source.class_names)
        written[name] = as_json(findings, source.class_names)
        sound = sound and not findings.problems
    if arguments.json is not None:
        write_json(arguments.json, written)
    return 0 if sound else 1


def _fully_supervised(plan: Plan) -> Iterator[str]:
    """The data sets on whose masks a stage trains."""
    masks = {(read.source, read.split) for read in plan.data if read.part == "masks"}
    for name, data in plan.datasets.items():
        if (json.dumps(data.source, sort_keys=True), data.training_split) in masks:
            yield name


def read_data_set(name: Path) -> tuple[Path, DataFile]:
    """The file of a data set, given by its path or its name, and its checked content.

    Raises:
        ConfigError, FileNotFoundError: with what to change.
    """
    file = find_config(DATA, name)
    return file, read_data_file(file, with_full_paths(read_yaml(file), f"{file}: "))


def load_source(config: dict[str, Any]) -> Source:
    """Build the source of a config: `class_path` and `init_args`, checked against the class's signature."""
    import_classes(config)
    parser = jsonargparse.ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(Source, "source")
    return parser.instantiate(parser.parse_object({"source": config})).source
