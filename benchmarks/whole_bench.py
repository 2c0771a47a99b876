"""Time of a whole experiment, and of the same again: `python benchmarks/whole_bench.py mini`.

The folder of results is empty at first; the data are made if they are not there, which counts too. CPU
seconds are those of the stages.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from records import recorded

from wsss_bench.artifacts.layout import find_manifest
from wsss_bench.plan.planner import make_plan

ROOT = Path(__file__).parents[1]
ASKED = {"mini": "15 min, 1500 CPU s", "quick": "3 min"}
"""Of an experiment on two cores."""


def run(experiment: Path, runs: Path) -> float:
    """Seconds that a bench takes.

    Raises:
        subprocess.CalledProcessError: it failed.
    """
    started = time.monotonic()
    command = [sys.executable, "-m", "wsss_bench", "bench", str(experiment), "--runs", str(runs)]
    subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    return time.monotonic() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("experiment", nargs="?", default="quick", choices=list(ASKED))
    parser.add_argument(
        "--runs", type=Path, help="folder without results, which are kept; else a temporary one"
    )
    options = parser.parse_args()
    if options.runs is not None and (options.runs / "stages").exists():
        parser.error(
            f"--runs: {options.runs} has results, and a bench would not make them again; choose another"
        )
    name, experiment = options.experiment, ROOT / "experiments" / f"{options.experiment}.yaml"
    with tempfile.TemporaryDirectory() as temporary:
        runs = options.runs or Path(temporary)
        stages = make_plan(experiment, runs).stages
        wall, again = run(experiment, runs), run(experiment, runs)
        cpu = sum(find_manifest(folder)["cpu_seconds"] for folder in (runs / "stages").glob("*-*"))
    with recorded(__file__) as record:
        what = f"`wsss-bench bench {name}` from an empty folder of results, {len(stages)} stages"
        record(what, f"{wall / 60:.1f} min, {cpu:.0f} CPU s", ASKED[name])
        record("the same again, nothing is computed", f"{again:.1f} s", "20 s")


if __name__ == "__main__":
    main()
