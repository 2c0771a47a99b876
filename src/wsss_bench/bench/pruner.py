"""`wsss-bench bench coco --prune probabilities`: removes files while the bench runs, once they are read."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from wsss_bench.artifacts.disk import size_text
from wsss_bench.artifacts.files import is_complete
from wsss_bench.artifacts.locks import Locks
from wsss_bench.artifacts.pruning import files_and_bytes, prune_stage
from wsss_bench.bench.prune import folders_named, readers_of
from wsss_bench.plan.plan import Plan, Stage
from wsss_bench.plan.plan_record import read_by_others


class Pruner:
    """Prunes a stage as soon as all stages that read it are complete, as `wsss-bench prune` does afterwards.

    Args:
        plan: The plan.
        runs: Folder of all results. What other experiments there still have to read stays.
        kinds: Files that are removed (`prune.KINDS`).
        locks: Of the bench. Stages that another process works in are left alone.
    """

    def __init__(self, plan: Plan, runs: Path, kinds: Collection[str], locks: Locks) -> None:
        self._plan, self._runs, self._kinds, self._locks = plan, runs, kinds, locks
        self._bytes = 0
        self._problems: list[str] = []

    def look(self) -> None:
        """Prune what complete stages have read."""
        for stage in self._plan.stages.values():
            if is_complete(stage.path):
                self.completed(stage)

    def completed(self, stage: Stage) -> None:
        """Prune what a stage has read, which is complete now, if nothing else reads it."""
        for key in dict.fromkeys(stage.inputs.values()):
            parent = self._plan.stages[key]
            for folder in folders_named(parent.kind, self._kinds):
                if (parent.path / folder).is_dir() and self._is_read(parent, folder):
                    self._prune(parent, folder)

    def _is_read(self, stage: Stage, folder: str) -> bool:
        readers = [self._plan.stages[key] for key in readers_of(self._plan, stage, folder)]
        return (
            bool(readers)
            and all(is_complete(reader.path) for reader in readers)
            and stage.path.name not in read_by_others(self._plan, self._runs)
        )

    def _prune(self, stage: Stage, folder: str) -> None:
        if self._locks.holds(stage.path):  # this bench makes it again
            return
        try:
            if self._locks.take(stage.path) is None and is_complete(stage.path):
                size = files_and_bytes(stage.path / folder)[1]
                prune_stage(stage.path, folder)
                self._bytes += size
        except OSError as error:  # a bench of days goes on
            self._problems.append(f"{stage.name}: {error}")
        finally:
            self._locks.release(stage.path)

    def lines(self) -> list[str]:
        """What was removed, and what could not be."""
        kinds = ", ".join(sorted(set(self._kinds)))
        removed = [f"pruned {size_text(self._bytes)} of {kinds}"] if self._bytes else []
        again = "could not be pruned, `wsss-bench prune` tries it again"
        return removed + [f"{again}: {problem}" for problem in self._problems]
