"""The tables of the docs, each a list of lines with the head first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from figures.results import METHODS, Results, Shown, rows_of
from wsss_bench.artifacts.layout import find_manifest
from wsss_bench.plan.config import MethodHints
from wsss_bench.report.differences import difference
from wsss_bench.report.leaderboard import Row

NOTHING = "-"
SEEDS = {"split": "train", "product": "seed", "rule": "fixed"}
MASKS = {"split": "train", "product": "pseudo_mask", "refiner": "densecrf"}
SINGLE = {"split": "val", "product": "segmentation", "scales": "ss", "post": "raw"}
WITH_CRF = {**SINGLE, "post": "crf"}
OTHER_BACKGROUNDS = {**SINGLE, "split": "val_ood"}
COLUMNS_OF_SCORES = {
    "seeds": SEEDS,
    "DenseCRF": MASKS,
    "val": SINGLE,
    "val + CRF": WITH_CRF,
    "val_ood": OTHER_BACKGROUNDS,
}
PAIRS = [
    ("clims", "cam"),
    ("mcis", "cam"),
    ("dalnet", "toco"),
    ("codecomp", "tcl"),
    ("weclip", "clip_zeroshot"),
    ("excel", "clip_zeroshot"),
]
"""Methods and what they are meant to improve on."""
COLUMNS = {
    "train": "training",
    "seed": "seeds",
    "refine": "DenseCRF",
    "segment": "DeepLabV2",
    "predict": "prediction",
    "crf": "DenseCRF",
    "evaluate": "scoring",
}
"""Columns of the table of costs by kind of stage."""
LEARNS_FROM = {
    "image": "image labels",
    "image+text": "image labels",
    "caption": "captions",
    "mask": "masks",
    "none": "nothing",
}
EXTRA = {"clip": "CLIP", "llm_text": "LLM text", "imagenet_21k": "ImageNet-21k"}


def overview(found: Sequence[Results], methods: Mapping[str, Shown] = METHODS) -> list[list[str]]:
    """The methods: paper, what they learn from, score here and reported score."""
    lines = [["method", "paper", "learns from", "mini val", "VOC val, reported"]]
    hints = {name: one for results in found for name, one in results.hints.items()}
    for name, shown in methods.items():
        extra = [EXTRA[one] for one in hints[name].extra]
        lines.append(
            [
                f"[{shown.title}](configs/methods/{name}.yaml)",
                f"[{shown.paper}]({shown.link})",
                ", ".join([LEARNS_FROM[hints[name].supervision], *extra]),
                _score(row_of(found, name, SINGLE)),
                _reported(hints[name]),
            ]
        )
    return lines


def scores(found: Sequence[Results]) -> list[list[str]]:
    """Seeds, pseudo masks and segmentation of all methods."""
    lines = [["method", *COLUMNS_OF_SCORES, "background FP / FN on val"]]
    for name, shown in METHODS.items():
        cells = [_score(row_of(found, name, values)) for values in COLUMNS_OF_SCORES.values()]
        lines.append([shown.title, *cells, _background(row_of(found, name, SINGLE))])
    return lines


def gains(found: Sequence[Results]) -> list[list[str]]:
    """Differences between methods and what they are meant to improve on."""
    columns = {"seeds": SEEDS, "DenseCRF": MASKS, "val": SINGLE, "val_ood": OTHER_BACKGROUNDS}
    lines = [["", *columns, "val by random seed"]]
    for first, second in PAIRS:
        cells = [
            _gain(row_of(found, first, values), row_of(found, second, values)) for values in columns.values()
        ]
        one, other = row_of(found, first, SINGLE), row_of(found, second, SINGLE)
        title = f"{METHODS[first].title} - {METHODS[second].title}"
        lines.append([title.replace(" (floor)", ""), *cells, _by_random_seed(one, other)])
    return lines


def costs(results: Results) -> list[list[str]]:
    """CPU seconds by method and kind of stage, of one random seed.

    A stage that several methods share counts for the first of them: the sum is that of the experiment.
    """
    spent: dict[str, Counter[str]] = {}
    counted: set[Path] = set()
    kinds = {stage.path: stage.kind for stage in results.plan.stages.values()}
    for row in results.board.rows:
        own = spent.setdefault(row.method, Counter())
        for stage in row.runs[0].stages:
            if stage not in counted:
                own[COLUMNS[kinds[stage]]] += find_manifest(stage).get("cpu_seconds", 0.0)
                counted.add(stage)
    columns = list(dict.fromkeys(COLUMNS.values()))
    lines = [["method", *columns, "all"]]
    for name, seconds in sorted(spent.items(), key=lambda item: -item[1].total()):
        lines.append([METHODS[name].title, *_seconds(seconds, columns)])
    total = sum(spent.values(), Counter())
    return [*lines, [f"all {len(counted)} stages", *_seconds(total, columns)]]


def _seconds(spent: Counter[str], columns: Sequence[str]) -> list[str]:
    return [*(f"{spent[one]:.0f}" if spent[one] else NOTHING for one in columns), f"{spent.total():.0f}"]


def row_of(found: Sequence[Results], method: str, values: dict[str, str]) -> Row | None:
    """The row of a method with these values, if there is one."""
    rows = [*rows_of(found, **values, method=method)]
    return rows[0] if rows else None


def _score(row: Row | None) -> str:
    if row is None:
        return NOTHING
    return f"{row.miou_mean:.1f}" + ("" if row.miou_std is None else f"±{row.miou_std:.1f}")


def _background(row: Row | None) -> str:
    if row is None:
        return NOTHING
    rates = (
        row.mean(lambda run: run.false_positive_background),
        row.mean(lambda run: run.false_negative_background),
    )
    return " / ".join(NOTHING if rate is None else f"{rate:.1f}" for rate in rates)


def _gain(first: Row | None, second: Row | None) -> str:
    if first is None or second is None or (found := difference(first, second)) is None:
        return NOTHING
    points = f"{found.points:+.1f}"
    return f"{f'**{points}**' if found.is_clear else points} [{found.low:+.1f}, {found.high:+.1f}]"


def _by_random_seed(first: Row | None, second: Row | None) -> str:
    if first is None or second is None:
        return NOTHING
    other = {run.random_seed: run.miou for run in second.runs}
    if len(second.runs) == 1:  # a method without training has one run
        other = dict.fromkeys((run.random_seed for run in first.runs), second.runs[0].miou)
    return ", ".join(f"{run.miou - other[run.random_seed]:+.1f}" for run in first.runs)


def _reported(hints: MethodHints) -> str:
    """The highest mIoU on VOC val that paper or repository report."""
    place = ("voc", "val", "segmentation")
    reported = [one.miou for one in hints.paper if (one.dataset, one.split, one.product) == place]
    return f"{max(reported):.1f}" if reported else NOTHING
