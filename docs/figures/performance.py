"""The table of what the benchmarks measured: they keep it in `docs/tables/performance.json`."""

from __future__ import annotations

import json

from figures.pages import TABLES

RECORDS = TABLES / "performance.json"


def performance() -> list[list[str]]:
    """What each benchmark measured, what was asked of it, and with what it is measured again."""
    lines = [["what", "measured", "asked", "benchmark"]]
    for name, record in sorted(json.loads(RECORDS.read_text(encoding="utf-8")).items()):
        source = f"`benchmarks/{name}`"
        lines += [[one["what"], one["measured"], one["asked"] or "-", source] for one in record["results"]]
    return lines
