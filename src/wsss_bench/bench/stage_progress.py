"""How far a running stage is, and what it has left: from its `progress.json`, and from what was planned."""

from __future__ import annotations

import time
from dataclasses import dataclass

from wsss_bench.artifacts.layout import PROGRESS, find_json
from wsss_bench.bench.running import Active

TRUSTED = 0.1
"""Share of a stage after which its own speed alone counts: the first steps are slow and few."""


@dataclass(frozen=True)
class StageProgress:
    """How far a running process is.

    Args:
        done, total: Units of work, such as `images` or `steps`; both 0 before the first one.
        unit: Name of a unit.
        elapsed: Seconds since it was started, or in the queue so far.
        left: Seconds that it has left, estimated; None if unknown.
    """

    done: float
    total: float
    unit: str
    elapsed: float
    left: float | None

    @property
    def share(self) -> float | None:
        """The share that is done, 0 to 1; None before the first unit of work."""
        return min(1.0, self.done / self.total) if self.total else None

    @property
    def counted(self) -> str:
        """`120/1000 images`; empty before the first unit of work."""
        return f"{self.done:.0f}/{self.total:.0f} {self.unit}" if self.total else ""


def progress_of(active: Active, planned: float | None) -> StageProgress:
    """How far a process is.

    Args:
        active: The process. Several stages that it runs go through the same images together.
        planned: Seconds that were planned for all of its stages; None if unknown.
    """
    elapsed = time.monotonic() - active.started
    if not active.begun:
        return StageProgress(0, 0, "", elapsed, planned)
    record = find_json(active.stage.path / PROGRESS)
    done, total, spent = (_number(record.get(key)) for key in ("done", "total", "wall_seconds"))
    left = None if planned is None or planned <= elapsed else planned - elapsed
    if not 0 < done <= total:
        return StageProgress(0, 0, "", elapsed, left)
    share = done / total
    measured = (spent * len(active.stages) or elapsed) * (1 - share) / share
    if planned is None or share >= TRUSTED:
        left = measured
    else:
        trust = share / TRUSTED
        left = trust * measured + (1 - trust) * planned * (1 - share)
    return StageProgress(done, total, str(record.get("unit", "")), elapsed, left)


def _number(value: object) -> float:
    return float(value) if isinstance(value, (int, float)) else 0.0
