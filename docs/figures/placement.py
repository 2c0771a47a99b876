"""Picture of docs/protocol.md: how the three rules of the package place a cell of a map."""

from __future__ import annotations

from pathlib import Path

import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from wsss_bench.placement import CornerAligned, CroppedGrid, Placement, Stretched

LENGTH, STRIDE, CELL = 45, 8, 3
SAMPLED = STRIDE * CELL


def placement(file: Path) -> None:
    """Draw one cell of a row of pixels under each rule, with the pixels that the cells were sampled at."""
    maps = torch.zeros(1, 1, 1, -(-LENGTH // STRIDE))
    maps[..., CELL] = 1
    figure = Figure(figsize=(7, 3.6), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    rules: tuple[Placement, ...] = (Stretched(), CroppedGrid(STRIDE), CornerAligned(STRIDE))
    for axis, rule in zip(figure.subplots(len(rules), 1, sharex=True), rules, strict=True):
        axis.plot(rule.draw(maps, (1, LENGTH), (1, LENGTH))[0, 0, 0], marker=".", color="tab:blue")
        for cell in range(maps.shape[-1]):
            axis.axvline(STRIDE * cell, color="lightgrey", zorder=0)
        axis.axvline(SAMPLED, color="tab:red", linestyle="--")
        axis.set_ylabel(type(rule).__name__)
        axis.set_yticks([])
    figure.axes[-1].set_xlabel(
        f"pixel; grey: sampled by the {maps.shape[-1]} cells, red: by the cell that is drawn"
    )
    figure.savefig(file, metadata={"Software": None})
