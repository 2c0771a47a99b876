"""The tables of scores: seeds with pseudo masks, and segmentation.

A ranking covers one block of a table (`ranking`).
"""

from __future__ import annotations

from dataclasses import dataclass, field

from wsss_bench.artifacts.layout import OWN
from wsss_bench.report.leaderboard import Row
from wsss_bench.report.markdown.cells import NOTHING, aligned, number, score
from wsss_bench.report.markdown.dataset import DatasetResults
from wsss_bench.report.ranking import Block


@dataclass(frozen=True)
class Column:
    """A column of scores.

    Args:
        heading: Its heading.
        product, split: What is scored.
        values: Further fields of the row that it shows, such as `rule`.
    """

    heading: str
    product: str
    split: str
    values: dict[str, str] = field(default_factory=dict)


def seed_section(results: DatasetResults) -> list[str]:
    """Heading and table of seeds and pseudo masks; empty where no method has seeds."""
    if "seed" not in results.methods:
        return []
    name, train = results.protocol.dataset, results.protocol.train_split
    rules = {"seed fixed": "fixed", "heldout": "heldout", "oracle†": "oracle"}
    columns = [Column(heading, "seed", train, {"rule": rule}) for heading, rule in rules.items()]
    columns += [Column(name, "pseudo_mask", train, {"refiner": name}) for name in results.refiners]
    heading = f"### Seeds and pseudo masks: {name}-{train}, image labels given, ranked by `seed fixed`"
    return [heading, _table(results, "seed", train, columns)]


def segmentation_section(results: DatasetResults) -> list[str]:
    """Heading, segmenter and table of segmentation; empty where nothing is segmented."""
    if "segmentation" not in results.methods:
        return []
    first, *others = results.protocol.eval_splits
    columns = [
        Column(f"{scales} {post}", "segmentation", first, {"scales": scales, "post": post})
        for scales in ("ss", "ms")
        for post in ("raw", "crf")
    ]
    if any(row.scales == OWN and row.split == first for row in results.rows):
        columns.append(Column("as published", "segmentation", first, {"scales": OWN}))
    single = {"scales": "ss", "post": "raw"}
    columns += [Column(f"{split} ss raw", "segmentation", split, single) for split in others]
    parts = [f"### Segmentation: {results.protocol.dataset}-{first}, no labels, ranked by `ss raw`"]
    if results.segmenter:
        parts.append(f"Multi-stage methods: {results.segmenter}.")
    return [*parts, _table(results, "segmentation", first, columns)]


def _table(results: DatasetResults, product: str, split: str, columns: list[Column]) -> str:
    """A table with one block for each ranking."""
    headings = [column.heading for column in columns]
    lines = [["#", "method", "supervision", *headings, "bg FP", "bg FN", "paper", "gap"]]
    for key, rows in sorted(_blocks(results, product, split).items()):
        lines.append(["", f"**{key.title}**"])
        rows.sort(key=lambda entry: -(entry[1].miou_mean if entry[1] else -1.0))
        for rank, (method, row) in enumerate(rows, 1):
            lines.append(
                [
                    str(rank) if row else "",
                    results.title(method),
                    results.hints[method].supervision,
                    *(_cell(results, method, column) for column in columns),
                    *_details(row),
                ]
            )
    return aligned(lines)


def _blocks(results: DatasetResults, product: str, split: str) -> dict[Block, list[tuple[str, Row | None]]]:
    """Methods and their headline rows by block."""
    blocks: dict[Block, list[tuple[str, Row | None]]] = {}
    methods = [method for method in results.hints if method in results.methods[product]]
    found = {method: results.headline(method, product, split) for method in methods}
    # a method without a score comes after the others, in the first block of its track and extra data
    for method in sorted(methods, key=lambda method: found[method] is None):
        row = found[method]
        block = Block.of(results.hints[method], results.extras[method, product], row.protocol if row else "")
        if row is None:
            block = next((key for key in blocks if key[:2] == block[:2]), block)
        blocks.setdefault(block, []).append((method, row))
    return blocks


def _cell(results: DatasetResults, method: str, column: Column) -> str:
    """A score, or why there is none."""
    rows = results.find_all(method, column.product, column.split, **column.values)
    return " / ".join(score(row) for row in rows) or why_missing(results, method, column)


def why_missing(results: DatasetResults, method: str, column: Column) -> str:
    """Why a method has no score in a column."""
    place = (method, column.product, column.split)
    if column.values.get("scales") == OWN and results.find(*place):
        return NOTHING
    reason = results.gap(*place, column.values.get("refiner"))
    if reason is None and column.values.get("post") == "crf" and results.find(*place):
        return "no crf"
    return reason or NOTHING


def _details(row: Row | None) -> list[str]:
    """Background rates, published result and gap of the score that ranks."""
    if row is None:
        return [NOTHING] * 4
    return [
        number(row.mean(lambda run: run.false_positive_background), ".1f"),
        number(row.mean(lambda run: run.false_negative_background), ".1f"),
        number(row.published.miou if row.published else None, ".1f"),
        number(row.gap, "+.1f"),
    ]
