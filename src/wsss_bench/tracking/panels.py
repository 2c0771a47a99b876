"""The panels of an experiment's workspace: scores and costs by method, curves, images, the table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from wsss_bench.plan.plan import Plan, ScoredProduct
from wsss_bench.tracking.result_runs import CURVE

STEP = "trainer/global_step"
"""The x axis of the curves of a training, as Lightning's logger of W&B calls it."""
COSTS = ("total_seconds", "train_seconds", "params", "peak_memory_mb")


def score_names(plan: Plan, products: Sequence[ScoredProduct], dataset: str) -> list[str]:
    """Names of the scores that a chart compares methods by (`report.cell_results` has them all)."""
    protocol = plan.datasets[dataset].protocol
    rules = ["seed_fixed", *(["seed_heldout"] if protocol.holdout else [])]
    names: list[str] = []
    for product in products:
        if product.kind == "seed":
            names += rules
        elif product.kind == "pseudo_mask":
            names.append(f"refined_{product.refiner}")
        elif product.split == protocol.eval_splits[0]:
            names += ["ss_raw", "ss_crf", "ms_raw", "ms_crf"]
        else:
            names.append(f"{product.split}/ss_raw")
    return list(dict.fromkeys(names))


def sections(plan: Plan, products: Sequence[ScoredProduct], dataset: str) -> list[tuple[str, list[Any]]]:
    """Headings with their panels.

    Bars are means over random seeds. Curves have no grouping of their own: they take that of the runs, by
    method and stage, so that a method and its segmenter are not averaged.

    Args:
        plan: The experiment.
        products: Those of the data set.
        dataset: The data set.
    """
    from wandb_workspaces.reports import v2 as wr

    def bars(key: str) -> Any:
        return wr.BarPlot(
            title=key,
            metrics=[key],
            groupby=wr.Config("method"),
            groupby_aggfunc="mean",
            groupby_rangefunc="stddev",
            max_bars_to_show=100,
        )

    def curve(key: str) -> Any:
        return wr.LinePlot(title=key, x=STEP, y=[key], groupby_rangefunc="stddev")

    names = score_names(plan, products, dataset)
    main = "ss_raw" if "ss_raw" in names else names[0]
    splits = dict.fromkeys(product.split for product in products)
    threshold, miou = CURVE
    found = [
        ("Scores", [bars(f"miou/{name}") for name in names]),
        ("Background", [bars("bg_fp"), bars("bg_fn")]),
        (
            "Cost",
            [
                *(bars(f"cost/{what}") for what in COSTS),
                wr.ScatterPlot(
                    x="cost/total_seconds", y=f"miou/{main}", title=f"miou/{main} against its cost"
                ),
            ],
        ),
        ("Thresholds of seeds", [wr.LinePlot(title="mIoU", x=threshold, y=[miou])]),
        (
            "Curves",
            [
                *(curve(key) for key in ("train/total", "gradient_norm", "lr/0", "images_per_second")),
                wr.LinePlot(title="all losses", x=STEP, metric_regex="train/.*"),
            ],
        ),
        (
            "Images",
            [wr.MediaBrowser(title=f"images/{split}", media_keys=[f"images/{split}"]) for split in splits],
        ),
        ("Table", [wr.WeavePanelSummaryTable(table_name="leaderboard")]),
    ]
    if "seed_fixed" not in names:
        found = [(heading, panels) for heading, panels in found if heading != "Thresholds of seeds"]
    return found
