"""Draws placement.png of docs/protocol.md: `python docs/images/placement.py`, with the package's rules."""

from pathlib import Path

import matplotlib
import torch

matplotlib.use("Agg")
import matplotlib.pyplot as plt

from wsss_bench.placement import CornerAligned, CroppedGrid, Stretched

LENGTH, STRIDE, CELL = 45, 8, 3
SAMPLED = STRIDE * CELL

maps = torch.zeros(1, 1, 1, -(-LENGTH // STRIDE))
maps[..., CELL] = 1
figure, axes = plt.subplots(3, 1, sharex=True, figsize=(7, 3.6), layout="constrained")
rules = (Stretched(), CroppedGrid(STRIDE), CornerAligned(STRIDE))
for axis, rule in zip(axes, rules, strict=True):
    axis.plot(rule.draw(maps, (1, LENGTH), (1, LENGTH))[0, 0, 0], marker=".", color="tab:blue")
    for cell in range(maps.shape[-1]):
        axis.axvline(STRIDE * cell, color="lightgrey", zorder=0)
    axis.axvline(SAMPLED, color="tab:red", linestyle="--")
    axis.set_ylabel(type(rule).__name__)
    axis.set_yticks([])
axes[-1].set_xlabel(f"pixel; grey: sampled by the {maps.shape[-1]} cells, red: by the cell that is drawn")
figure.savefig(Path(__file__).with_suffix(".png"), dpi=100)
