"""The plan of an experiment: a directed acyclic graph of unique stages, and the products that they score.

A stage is identified by everything that decides its result: `fingerprint` is the sha256 of its kind, its
configuration without paths of stage folders, the digests of the data that it reads, and the fingerprints of
the stages that it reads (`artifacts.identity`). Cells of one experiment or of several that need the same
result share the stage and its folder `runs/stages/<kind>-<title>-<fingerprint8>`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from wsss_bench.artifacts.data_reads import DataRead
from wsss_bench.artifacts.files import is_complete, write_bytes
from wsss_bench.artifacts.identity import PLACES
from wsss_bench.artifacts.layout import COMMANDS, FAILURE_FILE, PLAN_FILE, STAGES, find_manifest
from wsss_bench.plan.config import DataFile
from wsss_bench.plan.matrix import Cell
from wsss_bench.plan.schema import ConfigError


@dataclass(frozen=True)
class Stage:
    """One process to run.

    Args:
        kind: `train`, `seed`, `refine`, `affinity` (the network of a refiner), `segment` (the network that is
            trained on pseudo masks), `predict`, `crf` or `evaluate`.
        title: Row, data set, random seed and what tells it from similar stages; for people.
        config: Content of `plan.yaml`, with exactly the keys that its command takes.
        inputs: Fingerprints of the stages that it reads, by role (`checkpoint`, `seeds`, `masks`, ...).
        fingerprint: sha256, hexadecimal.
        path: Its folder.
        shares: Stages with the same text here, if it is not empty, can run in one process.
    """

    kind: str
    title: str
    config: dict[str, Any]
    inputs: dict[str, str]
    fingerprint: str
    path: Path
    shares: str = ""

    @property
    def command(self) -> str:
        """The `wsss-bench` command that runs it."""
        return COMMANDS[self.kind]

    @property
    def arguments(self) -> list[str]:
        """The command line after `wsss-bench` that runs it by hand."""
        return [self.command, "--config", str(self.path / PLAN_FILE)]

    @property
    def name(self) -> str:
        """Kind and title."""
        return f"{self.kind} {self.title}"

    @property
    def settings(self) -> str:
        """Command and configuration as JSON, without the random seed and the paths of inputs and outputs."""
        left_out = (*PLACES, "seed_everything")
        config = {key: value for key, value in self.config.items() if key not in left_out}
        return json.dumps([self.command, config], sort_keys=True)

    @property
    def state(self) -> str:
        """`complete`, `failed` (the last attempt failed), `resumes` (it was interrupted) or `new`."""
        if is_complete(self.path):
            return "complete"
        if (self.path / FAILURE_FILE).is_file():
            return "failed"
        return "resumes" if (self.path / PLAN_FILE).is_file() else "new"

    def write_plan(self) -> None:
        """Write `plan.yaml` into the folder of the stage."""
        text = yaml.safe_dump(self.config, sort_keys=False, allow_unicode=True)
        write_bytes(self.path / PLAN_FILE, text.encode())


@dataclass(frozen=True)
class ScoredProduct:
    """A product of a cell that is scored.

    Args:
        cell: The cell.
        kind: `seed`, `pseudo_mask` or `segmentation`.
        split: The split that it is scored on.
        refiner: Name of the refiner that made the pseudo masks, or the pseudo masks that the segmenter was
            trained on; None for other products.
        evaluate: Fingerprint of the stage that scores it; None if there is none, for the reason in `missing`.
        missing: Why it has no score, in a few words for the table: `no crf`, or `partial` for masks that hold
            255.
        extra: What it was given beyond the `extra` of its method: by the refiner and the segmenter.
        segmenter: Name of the segmenter that predicted it, if one did.
    """

    cell: Cell
    kind: str
    split: str
    refiner: str | None
    evaluate: str | None
    missing: str = ""
    extra: tuple[str, ...] = ()
    segmenter: str | None = None


@dataclass
class Plan:
    """The stages and products of an experiment.

    Args:
        experiment: Name of the experiment: the stem of its file.
        trainer: Arguments of its trainer.
        jobs: Number of stages that run at a time, if the experiment sets it.
        datasets: The data sets, by name.
        segmenters: The segmenter of multi-stage methods in words, by data set.
        stages: Unique stages by fingerprint, inputs before those that read them.
        products: What is scored, in table order.
        notes: Sentences that the user should read before it starts.
        data: What the stages read of the data, with the digests that it was planned with; None where unknown.
        with_data: The plan of the same experiment with other digests.
    """

    experiment: str
    trainer: dict[str, Any]
    jobs: int | None
    datasets: dict[str, DataFile]
    stages: dict[str, Stage] = field(default_factory=dict)
    products: list[ScoredProduct] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    segmenters: dict[str, str] = field(default_factory=dict)
    data: dict[DataRead, str | None] = field(default_factory=dict)
    with_data: Callable[[Mapping[DataRead, str]], Plan] = field(kw_only=True, repr=False)

    def chain(self, fingerprint: str) -> list[Stage]:
        """The stage and all stages that it depends on, inputs first."""
        found: dict[str, Stage] = {}

        def visit(key: str) -> None:
            for parent in self.stages[key].inputs.values():
                visit(parent)
            found.setdefault(key, self.stages[key])

        visit(fingerprint)
        return list(found.values())

    def with_readers(self, fingerprints: Iterable[str]) -> list[Stage]:
        """The stages and all stages that depend on one of them, inputs first."""
        found = set(fingerprints)
        for key, stage in self.stages.items():  # inputs stand before those that read them
            if found & set(stage.inputs.values()):
                found.add(key)
        return [stage for key, stage in self.stages.items() if key in found]


@dataclass(frozen=True)
class Recorded:
    """What a complete stage took.

    Args:
        seconds: Wall seconds of all attempts.
        bytes: Of the files that it wrote; None if an earlier version made it.
        files: Number of them.
    """

    seconds: float
    bytes: int | None = None
    files: int | None = None


class StageFolder:
    """`runs/stages` with the stage folders of earlier runs, listed once.

    Args:
        runs: Folder of all results.
    """

    def __init__(self, runs: Path) -> None:
        self.root = runs / STAGES
        self._by_key: dict[tuple[str, str], Path] = {}
        for path in sorted(self.root.glob("*-*-*")):
            kind, _, rest = path.name.partition("-")
            self._by_key[kind, rest[-8:]] = path

    def path(self, kind: str, title: str, fingerprint: str) -> Path:
        """Folder of a stage: the one that exists for its fingerprint, under any title, or a new name."""
        found = self._by_key.get((kind, fingerprint[:8]))
        return found or self.root / f"{kind}-{title}-{fingerprint[:8]}"

    def check_results(self, stages: Iterable[Stage]) -> None:
        """Check that the complete folders of `stages` hold the results of these stages.

        Raises:
            ConfigError: a folder belongs to another fingerprint with the same first eight digits.
        """
        existing = set(self._by_key.values())
        for stage in stages:
            path = stage.path
            manifest = find_manifest(path) if path in existing else {}
            if manifest and manifest.get("fingerprint") != stage.fingerprint:
                raise ConfigError(
                    f"{path} holds the result of another configuration; move it away and run again"
                )

    @cached_property
    def _recorded(self) -> dict[tuple[str, str], Recorded]:
        found: dict[tuple[str, str], tuple[str, Recorded]] = {}
        for path in self._by_key.values():
            if manifest := find_manifest(path):
                key = (str(manifest.get("kind")), without_random_seed(str(manifest.get("title"))))
                finished, files = str(manifest.get("finished", "")), manifest.get("files") or {}
                seconds = float(manifest.get("wall_seconds", 0.0))
                record = Recorded(seconds, files.get("bytes"), files.get("count"))
                if key not in found or finished >= found[key][0]:
                    found[key] = (finished, record)
        return {key: record for key, (_, record) in found.items()}

    def recorded(self, stage: Stage) -> Recorded | None:
        """What the latest run of this kind, row and data set with any random seed took, if any."""
        return self._recorded.get((stage.kind, without_random_seed(stage.title)))

    def estimate(self, stage: Stage) -> float | None:
        """Its wall seconds."""
        record = self.recorded(stage)
        return None if record is None else record.seconds


def without_random_seed(title: str) -> str:
    """The title of a stage, the same for all random seeds.

    Examples:
        >>> without_random_seed("cam-voc-s0-irn")
        'cam-voc-irn'
    """
    return re.sub(r"-s\d+(?=-|$)", "", title)


def distinct(stages: Iterable[Stage]) -> list[Stage]:
    """The first of all stages that differ only in the random seed and in paths of inputs and outputs."""
    first: dict[str, Stage] = {}
    for stage in stages:
        first.setdefault(stage.settings, stage)
    return list(first.values())


def clock(seconds: float) -> str:
    """`45 s`, `3 min 20 s`, `2 h 05 min`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
