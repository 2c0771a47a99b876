"""Reading `curves.csv`: the losses, learning rates and monitored metrics of a training, against the step."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

STEP, EPOCH = "step", "epoch"
"""Columns that every file of curves has; the others are values."""


def read_rows(path: Path) -> list[tuple[int, dict[str, Any]]]:
    """The rows by their step, without empty cells; none where there is no file.

    Raises:
        ValueError: the file cannot be read.
    """
    if not path.is_file():
        return []
    try:
        with open(path, newline="", encoding="utf-8") as file:
            rows = [{k: v for k, v in row.items() if v} for row in csv.DictReader(file, strict=True)]
            return [(int(row[STEP]), row) for row in rows]
    except (ValueError, KeyError, csv.Error) as error:
        raise ValueError(f"{path} cannot be read ({error})") from error
