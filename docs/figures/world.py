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
    folder = Path(root).parent
    Image.open(folder / "sheet.png").convert("RGB").save(file, "JPEG", quality=85)
    return {"mini.data": size_of(folder)}


def size_of(folder: Path) -> str:
    """What the files of a folder hold."""
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.0f} MB"
