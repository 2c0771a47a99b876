"""Time of a whole experiment, and of the same again: `python benchmarks/whole_bench.py mini`.

The folder of results is empty at first; the data are made if they are not there, which counts too.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from records import recorded

from wsss_bench.plan.planner import make_plan

ROOT = Path(__file__).parents[1]
ASKED = {"mini": "15 min, 1500 CPU s", "quick": "3 min"}
"""Of an experiment on two cores."""


def run(experiment: Path, runs: Path) -> tuple[float, float]:
    """Seconds of the clock and of CPU that a bench takes.

    Raises:
        subprocess.CalledProcessError: it failed.
    """
    before, started = os.times(), time.monotonic()
    command = [sys.executable, "-m", "wsss_bench", "bench", str(experiment), "--runs", str(runs)]
    subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    after = os.times()
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    return time.monotonic() - started, cpu


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("experiment", nargs="?", default="quick", choices=list(ASKED))
    name = parser.parse_args().experiment
    experiment = ROOT / "experiments" / f"{name}.yaml"
    with tempfile.TemporaryDirectory() as folder:
        runs = Path(folder)
        stages = len(make_plan(experiment, runs).stages)
        wall, cpu = run(experiment, runs)
        again, _ = run(experiment, runs)
    with recorded(__file__) as record:
        what = f"`wsss-bench bench {name}` from an empty folder of results, {stages} stages"
        record(what, f"{wall / 60:.1f} min, {cpu:.0f} CPU s", ASKED[name])
        record("the same again, nothing is computed", f"{again:.1f} s", "20 s")


if __name__ == "__main__":
    main()
