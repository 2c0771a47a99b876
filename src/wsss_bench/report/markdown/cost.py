"""The table of costs: what each method takes, scoring not counted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from wsss_bench.report.leaderboard import Row
from wsss_bench.report.markdown.cells import NOTHING, aligned, number
from wsss_bench.report.markdown.dataset import DatasetResults


@dataclass(frozen=True)
class MethodCost:
    """What a method takes, mean over random seeds; None where it is not known.

    Args:
        params: Trainable parameters of the largest network that is trained for it.
        steps: Seconds of training, of seeds, of each refiner with its network, of the segmenter, of
            prediction and of its CRF.
        total: Seconds of all stages that lead to its last product.
        memory: Peak memory of the stage that needs most, MB.
        commits: Those that its scores were made from.
    """

    params: int | None
    steps: list[float | None]
    total: float | None
    memory: float | None
    commits: list[str]


def cost_section(results: DatasetResults) -> list[str]:
    """Heading and table."""
    return [f"### Cost on {results.dataset}", aligned(cost_lines(results))]


def cost_lines(results: DatasetResults) -> list[list[str]]:
    """The head of the table, and a line for each method."""
    refiners = [f"{name} s" for name in results.refiners]
    steps = ["train s", "seeds s", *refiners, "segment s", "predict s", "crf s"]
    lines = [["method", "backbone", "extra", "params", *steps, "total s", "memory MB", "commit"]]
    return lines + [_line(results, method) for method in results.hints]


def method_cost(results: DatasetResults, method: str, refiners: Sequence[str]) -> MethodCost:
    """The cost of a method, with the steps of these refiners."""
    train = results.protocol.train_split
    seed = results.headline(method, "seed", train)
    segmentation = results.headline(method, "segmentation", results.protocol.eval_splits[0])
    refined = [results.find(method, "pseudo_mask", train, refiner=name) for name in refiners]
    rows = [row for row in (seed, segmentation) if row is not None]
    memory = [value for row in rows if (value := row.mean(lambda run: run.cost.peak_memory_mb)) is not None]
    steps: list[tuple[Row | None, tuple[str, ...]]] = [
        (seed or segmentation, ("train",)),
        (seed, ("seed",)),
        *((row, ("refine", "affinity")) for row in refined),
        (segmentation, ("segment",)),
        (segmentation, ("predict",)),
        (segmentation, ("crf",)),
    ]
    return MethodCost(
        params=next((cost.params for row in rows if (cost := row.runs[0].cost).params is not None), None),
        steps=[_mean_seconds(row, kinds) for row, kinds in steps],
        total=rows[-1].mean(lambda run: run.cost.seconds) if rows else None,
        memory=max(memory, default=None),
        commits=sorted({commit for row in rows for commit in row.commits}),
    )


def millions(params: int | None) -> str:
    """`1.50 M`; `-` for None."""
    return NOTHING if params is None else f"{params / 1e6:.2f} M"


def _line(results: DatasetResults, method: str) -> list[str]:
    cost = method_cost(results, method, results.refiners)
    return [
        results.title(method),
        results.hints[method].backbone,
        " ".join(results.hints[method].extra) or NOTHING,
        millions(cost.params),
        *(number(seconds, ".0f") for seconds in cost.steps),
        number(cost.total, ".0f"),
        number(cost.memory, ".0f"),
        " ".join(cost.commits) or NOTHING,
    ]


def _mean_seconds(row: Row | None, kinds: tuple[str, ...]) -> float | None:
    """Mean over runs of the seconds of these kinds of stages; None where a run has no such stage."""
    if row is None:
        return None
    return row.mean(lambda run: run.cost.seconds_of(kinds))
