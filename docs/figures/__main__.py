"""Make the tables, values and pictures of the docs from complete runs: `make docs-figures`."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from runpy import run_path

from figures import pages
from figures.changes import changes
from figures.costs import ratios, totals
from figures.facts import facts
from figures.maps import comparison, method_pictures
from figures.performance import performance
from figures.placement import placement
from figures.printed import output_of
from figures.results import Results, read
from figures.screenshot import screenshot
from figures.tables import costs, gains, overview, scores
from figures.values import values_of
from figures.world import size_of, world

RANDOM_SEEDS, SINGLE_STAGE, DEFAULT, QUICK = "mini_random_seeds", "mini_single_stage", "mini", "quick"
"""The experiments that are read."""
DOCS = pages.ROOT / "docs"
IMAGES = DOCS / "images"


def main() -> None:
    """Read the experiments, and write what the docs show of them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="folder of the results")
    runs = parser.parse_args().runs
    found = [read(f"experiments/{name}.yaml", runs) for name in (RANDOM_SEEDS, SINGLE_STAGE)]
    default, quick = (read(f"experiments/{name}.yaml", runs) for name in (DEFAULT, QUICK))
    write_tables(found, default)
    values = values_of(found) | totals(default) | totals(quick) | draw(found, default, quick)
    values["mini.page"] = size_of(runs / DEFAULT / "report")
    values |= {f"{stage.kind}-{stage.title}": key[:8] for key, stage in default.plan.stages.items()}
    values["environment"] = size_of(Path(sys.prefix))
    shown = pages.shown_values() - facts().keys()
    pages.write_shown(pages.RESULTS, values, shown)
    pages.write_shown(pages.PRINTED, printed_by(default, quick, runs), pages.shown_output())
    pages.fill_pages(facts())


def write_tables(found: list[Results], default: Results) -> None:
    """Write the tables."""
    pages.write_table("methods", overview(found))
    pages.write_table("mini_scores", scores(found))
    pages.write_table("mini_gains", gains(found))
    pages.write_table("mini_costs", costs(default))
    pages.write_table("cost_ratios", ratios(default))
    pages.write_table("performance", performance())
    lines = run_path(str(pages.ROOT / "benchmarks" / "scale.py"))["scale_lines"]
    with tempfile.TemporaryDirectory() as folder:
        pages.write_table("scale", [*lines(["voc", "coco"], "a100", Path(folder))])


def draw(found: list[Results], default: Results, quick: Results) -> dict[str, str]:
    """Draw the pictures; returns the values that were found on the way."""
    placement(IMAGES / "placement.png")
    method_pictures([*found, quick], IMAGES / "methods")
    comparison(found[0], IMAGES / "comparison.webp")
    if problem := screenshot(default, IMAGES / "report.webp"):
        print(f"images/report.webp was left as it is: {problem}")
    return changes(found[0], IMAGES / "cam_clims.jpg") | world(quick, DOCS / "mini_world.jpg")


def printed_by(default: Results, quick: Results, runs: Path) -> dict[str, str]:
    """What the benches print whose lines pages show: those two, and the one that student.md describes."""
    text = (DOCS / "start" / "student.md").read_text(encoding="utf-8")
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "three.yaml"
        file.write_text(text.partition("`experiments/three.yaml`:\n\n```yaml\n")[2].partition("```")[0])
        three = read(str(file), runs, quick.plan)
    return {
        DEFAULT: output_of(default),
        QUICK: output_of(quick),
        "three": output_of(three, quick.plan.stages),
    }


if __name__ == "__main__":
    main()
