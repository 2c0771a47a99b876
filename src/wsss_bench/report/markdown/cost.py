"""The table of costs: what each method takes, scoring not counted."""

from __future__ import annotations

from wsss_bench.report.leaderboard import Row
from wsss_bench.report.markdown.cells import NOTHING, aligned, number
from wsss_bench.report.markdown.dataset import DatasetResults


def cost_section(results: DatasetResults) -> list[str]:
    """Heading and table."""
    refiners = [f"{name} s" for name in results.refiners]
    steps = ["train s", "seeds s", *refiners, "segment s", "predict s"]
    lines = [["method", "backbone", "extra", "params", *steps, "total s", "memory MB", "commit"]]
    lines += [_line(results, method) for method in results.hints]
    return [f"### Cost on {results.dataset}", aligned(lines)]


def _line(results: DatasetResults, method: str) -> list[str]:
    seed = results.headline(method, "seed", results.protocol.train_split)
    segmentation = results.headline(method, "segmentation", results.protocol.eval_splits[0])
    rows = [row for row in (seed, segmentation) if row is not None]
    costs = [row.runs[0].cost for row in rows]
    params = next((cost.params for cost in costs if cost.params is not None), None)
    memory = [value for row in rows if (value := row.mean(lambda run: run.cost.peak_memory_mb)) is not None]
    total = rows[-1].mean(lambda run: run.cost.seconds) if rows else None
    return [
        results.title(method),
        results.hints[method].backbone,
        " ".join(results.hints[method].extra) or NOTHING,
        NOTHING if params is None else f"{params / 1e6:.2f} M",
        *_seconds(results, method, seed, segmentation),
        number(total, ".0f"),
        number(max(memory, default=None), ".0f"),
        " ".join(sorted({commit for row in rows for commit in row.commits})) or NOTHING,
    ]


def _seconds(results: DatasetResults, method: str, seed: Row | None, segmentation: Row | None) -> list[str]:
    """Seconds of each step: training, seeds, each refiner with its network, segmenter, prediction."""
    train = results.protocol.train_split
    refined = [results.find(method, "pseudo_mask", train, refiner=name) for name in results.refiners]
    steps: list[tuple[Row | None, tuple[str, ...]]] = [
        (seed or segmentation, ("train",)),
        (seed, ("seed",)),
        *((row, ("refine", "affinity")) for row in refined),
        (segmentation, ("segment",)),
        (segmentation, ("predict",)),
    ]
    return [number(_mean_seconds(row, kinds), ".0f") for row, kinds in steps]


def _mean_seconds(row: Row | None, kinds: tuple[str, ...]) -> float | None:
    """Mean over runs of the seconds of these kinds of stages; None where a run has no such stage."""
    if row is None:
        return None
    return row.mean(lambda run: run.cost.seconds_of(kinds))
