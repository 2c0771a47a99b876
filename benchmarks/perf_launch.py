"""Start time of a stage: forked by the local launcher against started from the command line.

    python benchmarks/perf_launch.py

Measured from the request to the first line of the stage's main function, when everything that a train stage
imports is loaded.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from records import recorded

from wsss_bench.bench.launchers import ENVIRONMENT, Job, LocalLauncher

STARTS = 10
COLD_STARTS = 2


def note_the_time(arguments: list[str]) -> int:
    """A stage that only writes the time at which it started, after the imports of a train stage."""
    import wsss_bench.stages.fit  # noqa: F401

    Path(arguments[0]).write_text(str(time.monotonic()))
    return 0


def forked(launcher: LocalLauncher, folder: Path) -> float:
    """Seconds from the call of `start` to the first line of the forked stage."""
    answer = folder / "time.txt"
    requested = time.monotonic()
    running = launcher.start(Job([str(answer)], folder))
    while running.exit_status is None:
        time.sleep(0.01)
    if running.exit_status != 0:
        raise RuntimeError((folder / "log.txt").read_text())
    return float(answer.read_text()) - requested


def cold() -> float:
    """Seconds from the start of a new interpreter to the same line."""
    program = "import wsss_bench.stages.fit, time; print(time.monotonic())"
    requested = time.monotonic()
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return float(result.stdout.split()[-1]) - requested


def main() -> None:
    """Print and keep the times."""
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    plain = statistics.median(cold() for _ in range(COLD_STARTS))
    launcher = LocalLauncher(note_the_time)
    with tempfile.TemporaryDirectory() as name:
        first = forked(launcher, Path(name))
        later = [forked(launcher, Path(name)) for _ in range(STARTS)]
    usual = statistics.median(later)
    with recorded(__file__) as record:
        record("start of a stage in the local launcher, median", f"{usual:.2f} s", "0.5 s")
        record(
            f"the slowest of {STARTS}, and the first, which waits for the imports",
            f"{max(later):.2f} s, {first:.1f} s",
        )
        record("start of a stage from the command line", f"{plain:.1f} s")


if __name__ == "__main__":
    main()
