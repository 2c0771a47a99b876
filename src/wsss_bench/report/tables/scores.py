"""The tables of scores: seeds, pseudo masks and segmentation, each ranked by one column."""

from __future__ import annotations

from collections.abc import Sequence

from wsss_bench.artifacts.layout import OWN
from wsss_bench.report.leaderboard import Row
from wsss_bench.report.markdown.cells import NOTHING, STALE_MARK
from wsss_bench.report.markdown.dataset import DatasetResults
from wsss_bench.report.markdown.scores import Column, why_missing
from wsss_bench.report.ranking import places
from wsss_bench.report.tables.table import Cell, Group, Head, Line, Table
from wsss_bench.report.tables.tracks import REFERENCES, Behind, Entry, by_track

TITLES = {
    "image-level": "learn from image labels",
    "caption or none": "learn from captions or nothing",
    "upper bound": "learn from masks",
    REFERENCES: "references, not ranked",
}
PERHAPS = "≈"
"""Behind a difference that may be chance."""
UNKNOWN = "?"
"""Behind a difference whose interval cannot be computed."""
NO_RESULTS = ("heldout", "oracle")
"""Rules of thresholds whose scores are never ranked."""


def seed_table(results: DatasetResults) -> Table | None:
    """Seeds; None without a score."""
    train = results.protocol.train_split
    fixed, heldout, oracle = (
        Column(heading, "seed", train, {"rule": rule})
        for heading, rule in (("mIoU", "fixed"), ("held-out", "heldout"), ("oracle†", "oracle"))
    )
    question = f"Seeds on {results.dataset} {train}: which method localises best?"
    basis = "image labels given, threshold of the method's file"
    return _table(results, question, basis, [fixed, heldout, oracle])


def pseudo_mask_table(results: DatasetResults) -> Table | None:
    """Pseudo masks, ranked by those that the segmenter learns from, or else by the last refiner."""
    train, first = results.protocol.train_split, main_refiner(results)
    if first is None:
        return None
    names = [first, *(name for name in _new_refiners(results) if name != first)]
    columns = [Column(name, "pseudo_mask", train, {"refiner": name}) for name in names]
    question = f"Pseudo masks on {results.dataset} {train}: whose masks of {first} are best?"
    basis = "image labels given" + (
        ", what the segmenter learns from" if first == results.pseudo_masks else ""
    )
    return _table(results, question, basis, columns)


def segmentation_table(results: DatasetResults) -> Table | None:
    """Segmentation; None without a score."""
    if not results.protocol.eval_splits:
        return None
    split, *others = results.protocol.eval_splits
    single = {"scales": "ss", "post": "raw"}
    columns = [Column("ss raw", "segmentation", split, single)]
    columns += [Column(other, "segmentation", other, single) for other in others]
    columns += [
        Column(f"{scales} {post}", "segmentation", split, {"scales": scales, "post": post})
        for scales, post in (("ss", "crf"), ("ms", "raw"), ("ms", "crf"))
    ]
    columns.append(Column("as published", "segmentation", split, {"scales": OWN}))
    question = f"Segmentation on {results.dataset} {split}: which method segments best?"
    basis = "no labels, ranked by one scale without CRF"
    if results.segmenter:
        basis += f"\nmulti-stage methods: {results.segmenter}"
    return _table(results, question, basis, columns)


def main_refiner(results: DatasetResults) -> str | None:
    """The refiner that pseudo masks are ranked by; None without a score."""
    scored = _new_refiners(results)
    return results.pseudo_masks if results.pseudo_masks in scored else next(reversed(scored), None)


def _new_refiners(results: DatasetResults) -> list[str]:
    return [name for name in results.refiners if _is_new(results, name)]


def _is_new(results: DatasetResults, refiner: str) -> bool:
    """Whether a refiner has a score that is not that of the seeds, as a mere threshold gives."""
    train = results.protocol.train_split
    for row in (row for row in results.rows if (row.product, row.refiner) == ("pseudo_mask", refiner)):
        seeds = results.find(row.method, "seed", train, rule="fixed")
        if seeds is None or len(seeds.runs) != len(row.runs) or abs(seeds.miou_mean - row.miou_mean) > 1e-6:
            return True
    return False


def _table(results: DatasetResults, question: str, basis: str, columns: Sequence[Column]) -> Table | None:
    """A table of methods; they are ranked by its first column."""
    first, *others = columns
    methods = [method for method in results.hints if method in results.methods.get(first.product, ())]
    rows = {method: results.find(method, first.product, first.split, **first.values) for method in methods}
    scored = [row for row in rows.values() if row is not None]
    if not scored:
        return None
    tracks = by_track(results, rows, first.product)
    ranks = {column.heading: _places(results, tracks, column) for column in columns}
    protocols = tuple(
        dict.fromkeys(entry.block.protocol for found in tracks.values() for entry in found if entry.row)
    )
    several = len({_measured(protocol, first) for protocol in protocols}) > 1
    heads = [
        Head("#", printed=False),
        Head("method", "words"),
        Head("extra", "words", printed=False),
        Head("measured" if several else "", "words", drop=1, printed=False),
        Head(first.heading),
        Head("to best", printed=False),
        Head("runs", printed=False),
        *(Head(column.heading, drop=2, printed=_ranks(column)) for column in others),
        Head("bg FP", drop=3, printed=False),
        Head("bg FN", drop=3, printed=False),
    ]
    groups = []
    for name, entries in tracks.items():
        lines = []
        for entry in entries:
            row, method = entry.row, entry.method
            measured = _measured(entry.block.protocol, first) if several else ""
            compared = _cell(results, method, first, ranks[first.heading], with_spread=True)
            cells = [
                Cell(str(entry.rank or "")),
                Cell(results.title(method)),
                Cell(entry.block.extra),
                Cell(measured),
                compared,
                Cell(_to_best(entry, entries)),
                Cell(_runs(row)),
                *(_other_cell(results, method, column, ranks[column.heading], compared) for column in others),
                *(Cell(rate) for rate in _background_rates(row)),
            ]
            lines.append(Line(tuple(cells), _block_in_words(name, entry, measured)))
        groups.append(Group(TITLES[name], tuple(lines)))
    basis = f"mIoU in %, {scored[0].runs[0].n_images} images, {_random_seeds(scored)}; {basis}"
    label = f"{results.dataset}-{first.product}"
    return Table(label, question, basis, tuple(heads), tuple(groups), protocols).without_empty_columns()


def _places(results: DatasetResults, tracks: dict[str, list[Entry]], column: Column) -> dict[int, int]:
    """The place of each row of a column among those that compete with it, by `id`."""
    if not _ranks(column):
        return {}
    found = []
    for name, entries in tracks.items():
        for entry in entries if name != REFERENCES else ():
            row = results.find(entry.method, column.product, column.split, **column.values)
            found += [row] if row else []
    return places(found)


def _ranks(column: Column) -> bool:
    """Whether its scores may be compared between methods."""
    return column.values.get("rule") not in NO_RESULTS and column.values.get("scales") != OWN


def _cell(
    results: DatasetResults, method: str, column: Column, ranks: dict[int, int], with_spread: bool = False
) -> Cell:
    """A score, or why there is none; empty where the method has no such product."""
    rows = results.find_all(method, column.product, column.split, **column.values)
    if not rows:
        reason = why_missing(results, method, column)
        planned = results.gap(method, column.product, column.split, column.values.get("refiner"))
        return Cell("" if reason == NOTHING and planned is None else reason)
    texts = [f"{row.miou_mean:.1f}{_spread(row) if with_spread else ''}{_mark(row)}" for row in rows]
    if len(rows) > 1:
        return Cell(" / ".join(texts))
    place = ranks.get(id(rows[0]), 0)
    return Cell(texts[0], rows[0].miou_mean, rows[0].miou_std, place if place < 3 else 0)


def _other_cell(
    results: DatasetResults, method: str, column: Column, ranks: dict[int, int], compared: Cell
) -> Cell:
    """A score beside the one that is compared; why both are missing is said once."""
    cell = _cell(results, method, column, ranks)
    return Cell() if cell.mean is None and cell.text == compared.text else cell


def _background_rates(row: Row | None) -> list[str]:
    if row is None:
        return ["", ""]
    rates = (
        row.mean(lambda run: run.false_positive_background),
        row.mean(lambda run: run.false_negative_background),
    )
    return ["" if rate is None else f"{rate:.1f}" for rate in rates]


def _spread(row: Row) -> str:
    return "" if row.miou_std is None else f" ± {row.miou_std:.1f}"


def _mark(row: Row) -> str:
    return STALE_MARK if row.is_stale else ""


def _to_best(entry: Entry, entries: Sequence[Entry]) -> str:
    """`best`, or how far the method is behind; in brackets where that is not a ranking."""
    if entry.to_best is None:
        return "best" if entry.row and any(other.to_best for other in entries) else ""
    return in_words(entry.to_best)


def in_words(behind: Behind) -> str:
    """`-2.3`; `(-2.3)` where it is not a ranking, `-0.3 ≈` where it may be chance."""
    mark = {True: "", False: f" {PERHAPS}", None: f" {UNKNOWN}"}[behind.is_clear]
    text = f"{behind.points:+.1f}{mark}"
    return text if behind.is_ranking else f"({text})"


def _runs(row: Row | None) -> str:
    """How many runs are done, where some are not."""
    return "" if row is None or len(row.runs) == row.planned else f"{len(row.runs)} of {row.planned}"


def _random_seeds(scored: Sequence[Row]) -> str:
    number = max(row.planned for row in scored)
    return (
        "one random seed, whose spread is unknown" if number == 1 else f"mean ± std of {number} random seeds"
    )


def _measured(protocol: str, column: Column) -> str:
    """Scales and post-processing of a protocol id; a refiner stands in the heading already."""
    return "/".join(protocol.split("/")[3 : 4 if "refiner" in column.values else 5])


def _block_in_words(name: str, entry: Entry, measured: str) -> str:
    if name == REFERENCES:
        return TITLES[name]
    extra = f"extra: {entry.block.extra}" if entry.block.extra else ""
    return ", ".join(filter(None, [TITLES[name], extra, measured]))
