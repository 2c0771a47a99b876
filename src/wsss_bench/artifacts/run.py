"""A running stage: one process that reads folders and writes one folder.

`open_stage` locks the folder, measures time and memory, and writes `stage.json` last: a folder with this file
is complete. A killed stage is opened again and goes on; `progress.json` keeps the cost of its earlier
attempts.
"""

from __future__ import annotations

import platform
import resource
import shlex
import socket
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from importlib import metadata
from pathlib import Path
from typing import Any

from wsss_bench.artifacts.disk import WatchedFolder, naming_full_disk
from wsss_bench.artifacts.files import read_json, write_json, write_manifest
from wsss_bench.artifacts.identity import Identity, claim, identity_of
from wsss_bench.artifacts.layout import COMMANDS, PROGRESS, shortened
from wsss_bench.artifacts.locks import locked
from wsss_bench.artifacts.pruning import pruned_folders
from wsss_bench.artifacts.source_code import loaded_code, roots_of
from wsss_bench.artifacts.stage_files import begin, mend, record_files, reopen

PACKAGES = (
    "torch",
    "lightning",
    "timm",
    "transformers",
    "torchmetrics",
    "albumentations",
    "numpy",
    "pydensecrf2",
)
"""Packages whose version can change a score."""

FACTS = (
    "cell",
    "method",
    "base",
    "dataset",
    "split",
    "seed",
    "product",
    "refiner",
    "segmenter",
    "supervision",
    "backbone",
    "extra",
)
"""What the plan says about a stage besides its configuration: name of the cell, row of the table and the
method that it varies, data, random seed, what is made and by what, and three columns of the table."""


@dataclass
class StageInfo:
    """What the plan records about a stage; empty for a stage that is run by hand.

    Args:
        experiment: The first experiment that planned the stage (the W&B group).
        title: Row, data set, random seed and what tells it from similar stages; for people.
        kind: Kind of the stage in the plan, which is finer than the command: `fit` runs `train`, `affinity`
            and `segment`.
        fingerprint: sha256 of the resolved configuration and of the inputs' fingerprints.
        inputs: Fingerprints of the stages it reads, by role.
        data: Digests of the data it reads, by split and part.
        prediction: Of a training: how its method predicts, for its checkpoint (`PredictionSettings`). It does
            not decide the training and is no part of the fingerprint.
        facts: What the runs of W&B are grouped and filtered by (`FACTS`). No part of the fingerprint.
    """

    experiment: str = ""
    title: str = ""
    kind: str = ""
    fingerprint: str = ""
    inputs: dict[str, str] = field(default_factory=dict)
    data: dict[str, str] = field(default_factory=dict)
    prediction: dict[str, Any] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)


class StageRun:
    """An open stage: its folder, its identity, and the facts recorded so far.

    Attributes:
        shared_by: Number of stages that this process runs together; each counts an equal share of the time.
    """

    def __init__(self, out: Path, kind: str, identity: Identity) -> None:
        self.path = out
        self.kind = kind
        self.identity = identity
        self.facts: dict[str, Any] = {}
        self.shared_by = 1
        self._started = time.monotonic()
        self._written = float("-inf")
        self._folder = WatchedFolder(out)
        self._earlier_wall, self._earlier_cpu = _earlier_cost(out / PROGRESS)
        self._cpu_at_start = _cpu_seconds()

    def record(self, **facts: Any) -> None:
        """Add facts to the manifest (image count, parameters, GPU seconds, ...)."""
        self.facts.update(facts)

    def progress(self, done: int, total: int, unit: str) -> None:
        """Write how far the stage is, at most once a second, for the runner and for a later attempt.

        Args:
            done: Units of work that are done.
            total: Units in all.
            unit: `images` or `steps`.

        Raises:
            FolderDeleted: the folder of the stage was deleted.
        """
        self._folder.check()
        now = time.monotonic()
        if now - self._written < 1.0 and done < total:
            return
        self._written = now
        write_json(self.path / PROGRESS, {"done": done, "total": total, "unit": unit, **self.cost()})

    def cost(self) -> dict[str, float]:
        """Wall and CPU seconds of all attempts together, and the peak memory of this attempt in MB."""
        usage = max(
            resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
        )
        wall, cpu = time.monotonic() - self._started, _cpu_seconds() - self._cpu_at_start
        return {
            "wall_seconds": round(self._earlier_wall + wall / self.shared_by, 3),
            "cpu_seconds": round(self._earlier_cpu + cpu / self.shared_by, 3),
            "peak_memory_mb": round(usage / 1024, 1),
        }


def _earlier_cost(progress: Path) -> tuple[float, float]:
    """Wall and CPU seconds of the earlier attempts of a stage; zeros if there was none.

    A progress file that cannot be read (the machine crashed, a copy was cut off) costs these figures only.
    """
    if not progress.is_file():
        return 0.0, 0.0
    try:
        earlier = read_json(progress)
        return float(earlier.get("wall_seconds", 0.0)), float(earlier.get("cpu_seconds", 0.0))
    except (ValueError, TypeError, AttributeError) as error:
        print(f"the cost of earlier attempts is lost, since {progress} cannot be read ({error})", flush=True)
        return 0.0, 0.0


def _cpu_seconds() -> float:
    usages = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


@contextmanager
def open_stage(
    out: Path | str,
    kind: str,
    config: dict[str, Any],
    info: StageInfo,
    data: dict[str, str] | None = None,
) -> Iterator[StageRun]:
    """Lock `out`, yield the open stage, and mark it complete if the body ends without an error.

    Before anything else is written, `identity.json` says what the stage is.

    Args:
        out: The stage folder; made if absent.
        kind: `train`, `seed`, `refine`, `predict`, `crf` or `evaluate`; used if `info` has no kind.
        config: The resolved configuration, recorded in the manifest. JSON types only.
        info: What the plan records about the stage.
        data: Digests of the data that it reads.

    Raises:
        LockHeld: another process is working in the same folder.
        LockLost: another process has taken the folder over.
        ValueError: it has results of another stage.
        DiskFull: there is no space left for the files of the stage.
    """
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    with naming_full_disk(out), locked(out, "stage") as locks:
        identity = identity_of(config, data or {})
        claim(out, identity)
        pruned = pruned_folders(out)
        if damaged := mend(out):
            print(f"these files were damaged and are made again: {shortened(damaged)}", flush=True)
        if pruned:
            reopen(out, ())
            print(f"what was pruned is made again: {', '.join(pruned)}", flush=True)
        # at the start: code and inputs may change while the stage runs
        roots = roots_of(COMMANDS.get(kind, kind), config)
        begun = begin(out, roots, loaded_code().digests(roots), config)
        made_from = mark_local_changes(commit(), loaded_code().files(roots))
        for leftover in out.rglob(".*.tmp"):  # files that a killed attempt was writing
            leftover.unlink()
        run = StageRun(out, info.kind or kind, identity)
        yield run
        manifest = {
            "kind": run.kind,
            "title": info.title,
            "experiment": info.experiment,
            "fingerprint": info.fingerprint,
            "inputs": info.inputs,
            "data": data or {},
            **run.cost(),
            **({"shared_by": run.shared_by} if run.shared_by > 1 else {}),
            **run.facts,
            "config": config,
            **begun,
            "files": record_files(out),
            "command": shlex.join(["wsss-bench", *sys.argv[1:]]),
            "commit": made_from,
            "host": socket.gethostname(),
            "versions": versions(),
            "finished": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        }
        locks.check()
        write_manifest(out, manifest)


@lru_cache(maxsize=1)
def commit() -> str:
    """Commit of the source tree; empty outside a checkout, and where one only surrounds an installation.

    `+` marks local changes in the package or in the folder `configs` of the checkout.
    """
    package = Path(__file__).parents[1]
    try:
        if not _git(package, "ls-files"):
            return ""
        configs = Path(_git(package, "rev-parse", "--show-toplevel")) / "configs"
        changed = _git(package, "status", "--porcelain", "--", ".", str(configs))
        return _git(package, "rev-parse", "--short=12", "HEAD") + ("+" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        return ""


def mark_local_changes(commit: str, own_files: Iterable[Path]) -> str:
    """Add `+` to a commit if an own module differs from the commit of its checkout, or is in none.

    Args:
        commit: Commit of the package, already marked if the package has changed.
        own_files: Source files outside the package that the stage runs; they may be in another checkout.
    """
    unmarked = commit and not commit.endswith("+")
    return f"{commit}+" if unmarked and any(map(_is_not_committed, own_files)) else commit


def _is_not_committed(file: Path) -> bool:
    try:
        return bool(_git(file.parent, "status", "--porcelain", "--ignored", "--", file.name))
    except (OSError, subprocess.CalledProcessError):
        return True


def _git(folder: Path, *arguments: str) -> str:
    return subprocess.run(
        ["git", *arguments], cwd=folder, capture_output=True, text=True, check=True
    ).stdout.strip()


@lru_cache(maxsize=1)
def versions() -> dict[str, str]:
    """Versions of Python and of `PACKAGES`."""
    return {"python": platform.python_version(), **{package: _version(package) for package in PACKAGES}}


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "absent"
