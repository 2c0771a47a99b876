"""Which failed stages are worth another attempt."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from wsss_bench.artifacts.files import is_complete
from wsss_bench.artifacts.layout import LAST, PROGRESS, find_json, shortened
from wsss_bench.artifacts.stage_files import damaged_files
from wsss_bench.bench.gpu_pool import QUICK_SECONDS, GPUPool
from wsss_bench.bench.running import Reporter
from wsss_bench.bench.shared_stages import SharedStages
from wsss_bench.bench.transient import is_transient
from wsss_bench.plan.plan import Stage


class Attempts:
    """The failures of the stages of a bench so far.

    Args:
        shared: Opens damaged inputs again.
        reporter: Is told which GPUs are set aside.
    """

    def __init__(self, shared: SharedStages, reporter: Reporter) -> None:
        self._shared = shared
        self._reporter = reporter
        self._after_damage: set[str] = set()
        """Fingerprints of the stages that were tried again because an input was damaged."""
        self._mended: set[str] = set()
        self._kept_before: dict[str, tuple[float, int | None]] = {}

    def mend_inputs(self, stage: Stage, inputs: Iterable[Stage]) -> list[tuple[Stage, str]]:
        """Look for damage in what a failed stage has read, and open these inputs again, once.

        Returns:
            The inputs that have to run again, with their names and damaged files in words; none if the stage
            failed for another reason.
        """
        if stage.fingerprint in self._after_damage:
            return []
        found = []
        for parent in inputs:
            if parent.fingerprint not in self._mended and (damaged := damaged_files(parent.path)):
                self._mended.add(parent.fingerprint)
                self._shared.mend(parent)
                found.append((parent, f"{parent.name} ({shortened(damaged, 3)})"))
            elif not is_complete(parent.path):  # reopened for another stage that reads it
                found.append((parent, parent.name))
        if found:
            self._after_damage.add(stage.fingerprint)
        return found

    def moves(self, stage: Stage, seconds: float, gpus: tuple[str, ...], pool: GPUPool) -> bool:
        """Whether a stage that failed after `seconds` on GPUs of a pool is tried on others.

        Only if it failed at once: then the GPU may be to blame.
        """
        if not gpus or seconds > QUICK_SECONDS:
            return False
        before = pool.set_aside
        moves = pool.failed(stage.fingerprint, gpus)
        for gpu in set(pool.set_aside) - set(before):
            self._reporter.set_aside(gpu, pool.usable)
        return moves

    def may_pass(self, stage: Stage, status: int, log: str) -> bool:
        """Whether a failure may not come again: a signal, or a message of a driver or a file system.

        Once for a stage, and again as long as it comes further each time, as a training does that is longer
        than the walltime of its node: it has made more images or steps, or another checkpoint.

        Args:
            stage: The stage.
            status: The exit status of its process; negative for a signal.
            log: The last lines of its log.
        """
        if not is_transient(status, log):
            return False
        done, checkpoint = find_json(stage.path / PROGRESS).get("done", 0), _written(stage.path / LAST)
        before = self._kept_before.get(stage.fingerprint)
        self._kept_before[stage.fingerprint] = (done, checkpoint)
        return before is None or done > before[0] or checkpoint != before[1]


def _written(file: Path) -> int | None:
    """When a file was written, by the clock of its file system; None if it is not there."""
    try:
        return file.stat().st_mtime_ns
    except OSError:
        return None
