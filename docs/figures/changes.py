"""What CLIMS changes on CAM's seeds: a picture, and the shares of the background that are freed and taken."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from runpy import run_path
from typing import Any

from figures.pages import ROOT
from figures.results import Results
from figures.tables import SEEDS, row_of

FIRST, SECOND = "cam", "clims"


def changes(results: Results, file: Path) -> dict[str, str]:
    """Draw what has changed with the first random seed.

    Returns:
        Percent of the background pixels that are freed, and that are taken: the range over random seeds.
    """
    compare: Any = run_path(str(ROOT / "benchmarks" / "changed_pixels.py"))
    shares = []
    for number, stages in enumerate(_stages(results)):
        source, split, first, second = compare["read_stages"](*stages)
        total = compare["all_changes"](source, split, first, second)
        shares.append([100 * part[0] / total.possible[0] for part in (total.gone, total.new)])
        if number == 0:
            compare["draw"](file, source, compare["shown_images"](source, split), first.mask, second.mask)
    gone, new = zip(*shares, strict=True)
    name = f"{SECOND}-{FIRST}.seeds.background"
    return {f"{name}.{key}": f"{min(of):.0f} to {max(of):.0f}" for key, of in (("gone", gone), ("new", new))}


def _stages(results: Results) -> Iterator[tuple[Path, Path]]:
    """The scoring stages of both methods, by random seed."""
    rows = [row_of([results], name, SEEDS) for name in (FIRST, SECOND)]
    if None in rows:
        raise ValueError(f"{results.plan.experiment} has no seeds of {FIRST} or {SECOND}")
    runs = [{run.random_seed: run.stages[-1] for run in row.runs} for row in rows if row is not None]
    for random_seed in sorted(runs[0]):
        yield runs[0][random_seed], runs[1][random_seed]
