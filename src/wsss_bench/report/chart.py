"""The leaderboard as a bar chart: a bar for each score that ranks, floor and ceiling as lines."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from wsss_bench.artifacts.files import write_atomically
from wsss_bench.report.leaderboard import Leaderboard, Row

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOURS = {"seed": "#4c72b0", "pseudo_mask": "#55a868", "segmentation": "#c44e52"}
LINES = {"floor": ":", "ceiling": "--"}


def write_chart(board: Leaderboard, path: Path) -> None:
    """Write `leaderboard.png`: one plot for each data set and split. An empty leaderboard gives no file."""
    rows = [row for row in board.rows if row.headline]
    if not rows:
        return
    from matplotlib.figure import Figure

    groups: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        groups.setdefault((row.dataset, row.split), []).append(row)
    counts = [len(members) for members in groups.values()]
    canvas = Figure(figsize=(1.2 + 0.95 * sum(counts), 4.2), layout="constrained")
    axes = canvas.subplots(1, len(groups), squeeze=False, sharey=True, width_ratios=counts)[0]
    for axis, ((dataset, split), members) in zip(axes, groups.items(), strict=True):
        _draw(axis, f"{dataset} {split}", members)
    axes[0].set_ylabel("mIoU (%)")
    write_atomically(
        path, lambda file: canvas.savefig(file, format="png", dpi=120, metadata={"Software": None})
    )


def _draw(axis: Axes, title: str, rows: list[Row]) -> None:
    for position, row in enumerate(rows):
        axis.bar(position, row.miou_mean, 0.7, yerr=row.miou_std, capsize=3, color=COLOURS[row.product])
        axis.annotate(
            f"{row.miou_mean:.1f}", (position, row.miou_mean / 2), ha="center", color="white", fontsize=9
        )
        role = row.hints.reference
        if row.product == "segmentation" and role:
            label = f"{role}: {row.method}"
            axis.axhline(row.miou_mean, color="0.4", linewidth=1, linestyle=LINES[role], label=label)
    names = [f"{row.method}\n{row.refiner or row.product}" for row in rows]
    axis.set_xticks(range(len(rows)), names, rotation=30, ha="right", fontsize=8)
    axis.set_title(title, fontsize=10)
    axis.set_ylim(0, 100)
    if axis.get_legend_handles_labels()[0]:
        axis.legend(fontsize=7, loc="upper left", framealpha=1.0)
