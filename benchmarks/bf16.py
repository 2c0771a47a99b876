"""Scores of trainings in bfloat16 against float32 on the mini world: `python benchmarks/bf16.py`.

Runs an experiment, by default `mini`, in both precisions with the same random seeds, segmenters included, and
prints a table of the mIoU of each evaluate stage: the mean of both over random seeds, and that of the
differences with its standard deviation. What is complete already is not run again. Mean differences of more
than 0.5 are marked. `--float32` names a folder of runs that has the float32 results. Not part of `make perf`.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import yaml

ROOT = Path(__file__).parents[1]
LIMIT = 0.5
Cell = tuple[str, ...]


def run(name: str, methods: str, random_seeds: int, precision: str, runs: Path) -> None:
    """Run an experiment with some methods in one precision; a failed stage is in the log."""
    trainer = yaml.safe_load((ROOT / "configs/trainer/cpu.yaml").read_text())
    trainer["trainer"]["precision"] = precision
    own = runs / "configs/trainer/cpu_in_precision.yaml"
    own.parent.mkdir(parents=True, exist_ok=True)
    own.write_text(yaml.safe_dump(trainer))
    experiment = runs / f"{name}.yaml"
    content = yaml.safe_load((ROOT / f"experiments/{name}.yaml").read_text())
    changes = {"trainer": own.stem, "random_seeds": list(range(random_seeds))}
    experiment.write_text(yaml.safe_dump(content | changes))
    words = ["bench", str(experiment), "--methods", methods, "--runs", str(runs)]
    subprocess.run([sys.executable, "-m", "wsss_bench", *words], check=False)


def scores(runs: Path, methods: list[str], random_seeds: int) -> dict[Cell, dict[int, float]]:
    """mIoU in percent of each random seed, by method, product, split and protocol."""
    found: dict[Cell, dict[int, float]] = {}
    for path in sorted((runs / "stages").glob("evaluate-*/metrics.json")):
        name = re.fullmatch(r"evaluate-(\w+)-\w+-s(\d+)-(.+)-\w+", path.parent.name)
        if name is None or name[1] not in methods or int(name[2]) >= random_seeds:
            continue
        content = json.loads(path.read_text())
        for row in content["rows"]:
            cell = (name[1], name[3], content["split"], row["scales"], row["post"], row["rule"])
            found.setdefault(cell, {})[int(name[2])] = 100 * row["miou"]
    return found


def line(cell: Cell, full: dict[int, float], half: dict[int, float]) -> str:
    """A row of the table, of the random seeds that both precisions have."""
    both = sorted(full.keys() & half.keys())
    pairs = np.array([(full[seed], half[seed]) for seed in both])
    differences = pairs[:, 1] - pairs[:, 0]
    spread = f" ± {differences.std(ddof=1):.2f}" if len(both) > 1 else ""
    mark = " (!)" if abs(differences.mean()) > LIMIT else ""
    words = [*cell, str(len(both)), *(f"{mean:.1f}" for mean in pairs.mean(0))]
    return f"| {' | '.join(words)} | {differences.mean():+.2f}{spread}{mark} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--experiment", default="mini")
    parser.add_argument("--methods", default="cam,clims,mcis,dalnet,toco,tcl,codecomp,supervised")
    parser.add_argument("--random-seeds", type=int, default=1, metavar="N", help="the first N")
    parser.add_argument("--runs", type=Path, default=Path("runs/bf16"), help="folder of the results")
    parser.add_argument("--float32", type=Path, help="runs that have the float32 results; else they are made")
    parser.add_argument("--only-print", action="store_true", help="run nothing, show what is there")
    options = parser.parse_args()
    full = options.float32 or options.runs / "float32"
    seeds = options.random_seeds
    if not options.only_print:
        run(options.experiment, options.methods, seeds, "bf16-mixed", options.runs / "bf16")
        if options.float32 is None:
            run(options.experiment, options.methods, seeds, "32-true", full)
    methods = options.methods.split(",")
    half, expected = (scores(runs, methods, seeds) for runs in (options.runs / "bf16", full))
    print(
        "| method | masks | split | scales | read-out | rule | random seeds | float32 | bf16 | difference |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|")
    for cell in sorted(half.keys() & expected.keys()):
        if half[cell].keys() & expected[cell].keys():
            print(line(cell, expected[cell], half[cell]))
    if missing := sorted({cell[0] for cell in expected.keys() - half.keys()}):
        print(f"not complete in bf16: {', '.join(missing)}")


if __name__ == "__main__":
    main()
