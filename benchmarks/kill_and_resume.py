"""Checks that a killed benchmark resumes to the same table.

A running bench is killed at random moments (SIGKILL, the whole process group) and started again. The final
table is compared with that of an uninterrupted run. Costs differ between runs and are left out; everything
else must be identical.
"""

from __future__ import annotations

import argparse
import csv
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from records import recorded

COSTS = {"seconds", "peak_memory_mb"}


def table(runs: Path, experiment: Path) -> list[dict[str, str]]:
    """Rows of `leaderboard.csv` without the cost columns."""
    with open(runs / experiment.stem / "leaderboard.csv", newline="") as file:
        return [
            {key: value for key, value in row.items() if key not in COSTS} for row in csv.DictReader(file)
        ]


def start(runs: Path, experiment: Path) -> subprocess.Popen[bytes]:
    """Start a bench in its own process group, without output."""
    command = [sys.executable, "-m", "wsss_bench", "bench", str(experiment), "--runs", str(runs)]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, start_new_session=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("experiment", type=Path)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--longest", type=float, default=60.0, help="longest time before a kill, in seconds")
    parser.add_argument("--random_seed", type=int, default=0, help="random seed of the moments of the kills")
    options = parser.parse_args()
    draw = random.Random(options.random_seed)
    os.environ.setdefault("WANDB_MODE", "disabled")
    with tempfile.TemporaryDirectory() as name:
        whole, killed = Path(name) / "whole", Path(name) / "killed"
        for kill in range(options.kills):
            process = start(killed, options.experiment)
            seconds = draw.uniform(1, options.longest)
            deadline = time.monotonic() + seconds
            while time.monotonic() < deadline and process.poll() is None:
                time.sleep(0.05)
            if process.poll() is not None:
                print(
                    f"the bench ended after {kill} kills; use a longer experiment or a smaller --longest",
                    flush=True,
                )
                return 1
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            done = len(list((killed / "stages").glob("*/stage.json")))
            print(f"kill {kill + 1}: after {seconds:.1f} s, {done} stages complete", flush=True)
            time.sleep(0.5)
        statuses = [start(killed, options.experiment).wait(), start(whole, options.experiment).wait()]
        same = table(killed, options.experiment) == table(whole, options.experiment)
        rows = len(table(whole, options.experiment))
        if not same or statuses != [0, 0]:
            print(f"exit status {statuses}; {rows} rows; identical: {same}")
            return 1
        with recorded(__file__) as record:
            what = (
                f"SIGKILL at {options.kills} random moments of {options.experiment.stem}, then run to the end"
            )
            record(what, f"the same {rows} rows, costs aside", "identical")
        return 0


if __name__ == "__main__":
    sys.exit(main())
