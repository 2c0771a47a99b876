"""The scores of an evaluation as text, for the terminal."""

from __future__ import annotations

from wsss_bench.artifacts.metrics import Metrics, ScoredRow

WIDTH = 14
"""Characters of a column."""


def score_table(metrics: Metrics) -> str:
    """IoU per class in percent with a column for each row of `metrics.json`, and a line for each protocol id.

    The id that the leaderboard ranks by is marked.
    """
    rows = metrics.rows
    names = ("background", *metrics.class_names)
    lines: list[tuple[str, list[float | None]]] = [
        *((name, [row.iou[index] for row in rows]) for index, name in enumerate(names)),
        ("FP background", [row.false_positive_background for row in rows]),
        ("FN background", [row.false_negative_background for row in rows]),
        ("mIoU", [row.miou for row in rows]),
    ]
    first = max(len(name) for name, _ in lines)
    text = [" " * first + "".join(f"{_title(row):>{WIDTH}}" for row in rows)]
    text += [
        f"{name:<{first}}" + "".join(f"{_percent(value):>{WIDTH}}" for value in values)
        for name, values in lines
    ]
    return "\n".join([*text, *(_summary(row) for row in rows)])


def _title(row: ScoredRow) -> str:
    return row.rule if row.rule != "na" else f"{row.scales}-{row.post}"


def _summary(row: ScoredRow) -> str:
    chosen = f" (t = {row.threshold:.2f})" if row.rule in ("heldout", "oracle") else ""
    return f"{row.protocol}: mIoU {_percent(row.miou)}{chosen}" + (", which ranks" if row.headline else "")


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.2f}"
