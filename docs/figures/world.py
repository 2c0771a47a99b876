"""Picture of the mini world, and what it weighs."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from figures.results import Results
from wsss_bench.data.check import load_source


def world(results: Results, file: Path) -> dict[str, str]:
    """Copy the contact sheet that was written with the data; returns the size of the data."""
    (data,) = results.plan.datasets.values()
    root = getattr(load_source(data.source), "root", None)
    if root is None:
        raise ValueError(f"the data of {results.plan.experiment} are not the mini world: they have no folder")
    folder = Path(source.root).parent
    Image.open(folder / "sheet.png").convert("RGB").save(file, "JPEG", quality=85)
    return {"mini.data": megabytes(folder)}


def megabytes(folder: Path) -> str:
    """What the files of a folder hold."""
    return f"{sum(path.stat().st_size for path in folder.rglob('*') if path.is_file()) / 1e6:.0f} MB"
