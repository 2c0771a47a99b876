"""Make the tables and pictures of the docs from complete runs: `make docs-figures`."""

from __future__ import annotations

import argparse
from pathlib import Path

from figures.maps import comparison, method_pictures
from figures.pages import ROOT, fill_pages, write_table
from figures.results import read
from figures.tables import costs, gains, overview, scores

RANDOM_SEEDS, SINGLE_STAGE, DEFAULT, QUICK = "mini_random_seeds", "mini_single_stage", "mini", "quick"
"""The experiments that are read."""


def main() -> None:
    """Read the experiments, and write what the docs show of them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="folder of the results")
    runs = parser.parse_args().runs
    found = [read(f"experiments/{name}.yaml", runs) for name in (RANDOM_SEEDS, SINGLE_STAGE)]
    write_table("methods", overview(found))
    write_table("mini_scores", scores(found))
    write_table("mini_gains", gains(found))
    write_table("mini_costs", costs(read(f"experiments/{DEFAULT}.yaml", runs)))
    fill_pages()
    method_pictures([*found, read(f"experiments/{QUICK}.yaml", runs)], ROOT / "docs" / "images" / "methods")
    comparison(found[0], ROOT / "docs" / "images" / "comparison.webp")


if __name__ == "__main__":
    main()
