"""Scores of trainings in bfloat16 against float32 on the mini world: `python benchmarks/bf16.py`.

Runs the experiment `mini` in both precisions with the same random seed, segmenters included, and prints a
table of the mIoU of each evaluate stage; what is complete already is not run again. Cells that differ by more
than 0.5 are marked. `--float32` names a folder of runs that has the float32 results. Not part of `make perf`.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[1]
LIMIT = 0.5
Cell = tuple[str, ...]


def run(methods: str, precision: str, runs: Path) -> None:
    """Run the experiment `mini` with some methods in one precision; a failed stage is in the log."""
    trainer = yaml.safe_load((ROOT / "configs/trainer/cpu.yaml").read_text())
    trainer["trainer"]["precision"] = precision
    own = runs / "configs/trainer/cpu_in_precision.yaml"
    own.parent.mkdir(parents=True, exist_ok=True)
    own.write_text(yaml.safe_dump(trainer))
    experiment = runs / "mini.yaml"
    content = yaml.safe_load((ROOT / "experiments/mini.yaml").read_text())
    experiment.write_text(yaml.safe_dump(content | {"trainer": own.stem}))
    words = ["bench", str(experiment), "--methods", methods, "--runs", str(runs)]
    subprocess.run([sys.executable, "-m", "wsss_bench", *words], check=False)


def scores(runs: Path, methods: list[str]) -> dict[Cell, float]:
    """mIoU in percent by method, product, split and protocol, of random seed 0."""
    found = {}
    for path in sorted((runs / "stages").glob("evaluate-*-s0-*/metrics.json")):
        method = path.parent.name.split("-")[1]
        content = json.loads(path.read_text())
        for row in content["rows"] if method in methods else ():
            place = path.parent.name.split("-s0-")[1].rpartition("-")[0]
            found[method, place, content["split"], row["scales"], row["post"], row["rule"]] = (
                100 * row["miou"]
            )
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--methods", default="cam,clims,mcis,dalnet,toco,tcl,codecomp,supervised")
    parser.add_argument("--runs", type=Path, default=Path("runs/bf16"), help="folder of the results")
    parser.add_argument("--float32", type=Path, help="runs that have the float32 results; else they are made")
    parser.add_argument("--only-print", action="store_true", help="run nothing, show what is there")
    options = parser.parse_args()
    full = options.float32 or options.runs / "float32"
    if not options.only_print:
        run(options.methods, "bf16-mixed", options.runs / "bf16")
        if options.float32 is None:
            run(options.methods, "32-true", full)
    methods = options.methods.split(",")
    half, expected = scores(options.runs / "bf16", methods), scores(full, methods)
    print("| method | masks | split | scales | read-out | rule | float32 | bf16 | difference |")
    print("|---|---|---|---|---|---|---|---|---|")
    for cell in sorted(half.keys() & expected.keys()):
        difference = half[cell] - expected[cell]
        mark = " (!)" if abs(difference) > LIMIT else ""
        words = " | ".join((*cell, f"{expected[cell]:.1f}", f"{half[cell]:.1f}", f"{difference:+.2f}{mark}"))
        print(f"| {words} |")
    if missing := sorted({cell[0] for cell in expected.keys() - half.keys()}):
        print(f"not complete in bf16: {', '.join(missing)}")


if __name__ == "__main__":
    main()
