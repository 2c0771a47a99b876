"""The leaderboard for programs: `leaderboard.csv` and the content of `leaderboard.json`."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from wsss_bench.report.differences import Difference
from wsss_bench.report.leaderboard import Leaderboard, Row, RunScore

COLUMNS = (
    "method", "dataset", "split", "product", "protocol", "miou_mean", "miou_std", "n_runs", "n_images",
    "supervision", "backbone", "extra", "params", "seconds", "peak_memory_mb", "paper_miou", "gap", "commit",
)  # fmt: skip
"""Columns of `leaderboard.csv`; other programs rely on them."""


def csv_text(board: Leaderboard) -> str:
    """Content of `leaderboard.csv`: one line for each row, empty where there is no value."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(as_records(board))
    return text.getvalue()


def json_content(board: Leaderboard, differences: Iterable[Difference]) -> dict[str, Any]:
    """Content of `leaderboard.json`: rows of the CSV with their runs, what is missing, differences."""
    rows = []
    for row, record in zip(board.rows, as_records(board), strict=True):
        source = {"paper_source": row.published.source} if row.published else {}
        runs = [_run(run) for run in row.runs]
        rows.append({**record, **source, "rule": row.rule, "headline": row.headline, "runs": runs})
    missing = [{**key._asdict(), "reason": reason} for key, reason in board.gaps.items()]
    return {"rows": rows, "missing": missing, "differences": [asdict(one) for one in differences]}


def as_records(board: Leaderboard) -> list[dict[str, Any]]:
    """The rows with the columns of `leaderboard.csv`; None where there is no value."""
    return [_record(row) for row in board.rows]


def _record(row: Row) -> dict[str, Any]:
    return {
        "method": row.method,
        "dataset": row.dataset,
        "split": row.split,
        "product": row.product,
        "protocol": row.protocol,
        "miou_mean": _rounded(row.miou_mean),
        "miou_std": _rounded(row.miou_std),
        "n_runs": len(row.runs),
        "n_images": row.runs[0].n_images,
        "supervision": row.hints.supervision,
        "backbone": row.hints.backbone,
        "extra": " ".join(row.extra),
        "params": row.runs[0].cost.params,
        "seconds": _rounded(row.mean(lambda run: run.cost.seconds), 1),
        "peak_memory_mb": _rounded(row.mean(lambda run: run.cost.peak_memory_mb), 1),
        "paper_miou": row.published.miou if row.published else None,
        "gap": _rounded(row.gap),
        "commit": " ".join(row.commits),
    }


def _run(run: RunScore) -> dict[str, Any]:
    return {
        "random_seed": run.random_seed,
        "miou": _rounded(run.miou),
        "iou": {name: _rounded(value) for name, value in run.iou.items()},
        "false_positive_background": _rounded(run.false_positive_background),
        "false_negative_background": _rounded(run.false_negative_background),
        "threshold": run.threshold,
        "seconds": _rounded(run.cost.seconds, 1),
        "seconds_by_kind": {kind: round(value, 1) for kind, value in run.cost.seconds_by_kind.items()},
        "peak_memory_mb": run.cost.peak_memory_mb,
        "commits": list(run.commits),
        "changes": run.changes,
        "stages": [str(stage) for stage in run.stages],
    }


def _rounded(value: float | None, digits: int = 4) -> float | None:
    return None if value is None else round(value, digits)
