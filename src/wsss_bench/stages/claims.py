"""What the `bench:` block of a method says about its class, compared with the class."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from wsss_bench.data.view_names import OwnView, view_class
from wsss_bench.inference import Product
from wsss_bench.methods.base import MAKERS, Method
from wsss_bench.methods.shared_network import SharesNetwork
from wsss_bench.types import ViewName, view_of

PIPELINES: dict[str, Product] = {
    "multi_stage": "seed",
    "single_stage": "segmentation",
    "zero_shot": "segmentation",
    "upper_bound": "segmentation",
}
"""What a method of each pipeline is always asked for; with a threshold, it is asked for seeds too."""


def check_claims(kind: type[Method], bench: Mapping[str, Any], view: ViewName | OwnView, file: str) -> None:
    """Check that a class is what its file says. What the file does not say is not checked.

    Args:
        kind: Class of the method.
        bench: The `bench:` block.
        view: `data.view`.
        file: The file, for messages.

    Raises:
        ValueError: the first disagreement.
    """
    name = kind.__name__

    def disagree(key: str, value: object, found: str, change: str) -> ValueError:
        shown = str(value).lower() if isinstance(value, bool) else value
        return ValueError(f"{file}: {key} is {shown}, but {found}; {change}")

    supervision = getattr(kind, "supervision", None)
    if bench.get("supervision", supervision) != supervision:
        raise disagree(
            "bench.supervision",
            bench["supervision"],
            f"{name}.supervision is {supervision}",
            "correct one of them, it decides the track of the row",
        )
    pipeline = bench.get("pipeline")
    product = PIPELINES.get(str(pipeline))
    if product is not None and not kind.makes(product):
        raise disagree(
            "bench.pipeline",
            pipeline,
            f"{name} makes no {product}s",
            f"define {MAKERS[product]} or choose another pipeline",
        )
    if bench.get("threshold") is not None and not kind.makes("seed"):
        raise disagree(
            "bench.threshold", bench["threshold"], f"{name} makes no seeds", "remove it or define seed_maps"
        )
    if bench.get("shares") is not None and not issubclass(kind, SharesNetwork):
        raise disagree(
            "bench.shares",
            bench["shares"],
            f"{name} shares no network with other methods",
            "remove it, or derive the class from SharesNetwork",
        )
    if pipeline not in (None, "upper_bound") and bench.get("threshold") is None and kind.makes("seed"):
        raise disagree(
            "bench.threshold",
            "null",
            f"{name} makes seeds",
            "set the fixed background threshold that ranks them, in [0, 1]",
        )
    batch = getattr(kind, "batch_type", None)
    learns = kind.defines("training_loss")
    trains = bench.get("trains", True) if bench else learns
    if trains != learns:
        change = "set it to false or define training_loss" if trains else "set it to true"
        found = f"{name} defines {'a' if learns else 'no'} training_loss"
        raise disagree("bench.trains", trains, found, change)
    if trains and batch is None:
        raise disagree(
            "bench.trains", trains, f"{name}.batch_type is None", "name the type of its training batches"
        )
    if trains and batch is not None and (problem := view_problem(kind, view)):
        raise ValueError(f"{file}: {problem}")


def view_problem(kind: type[Method], view: ViewName | OwnView) -> str | None:
    """In what way the training batches of a method are not those of a view, and what to change."""
    wanted, made = kind.batch_type, view_class(view).batch_type
    if wanted is None or issubclass(made, wanted):
        return None
    name = view.class_path if isinstance(view, OwnView) else view
    return (
        f"data.view is {name}, which makes batches of {made.__name__}, but {kind.__name__} trains on "
        f"{wanted.__name__}; set data.view: {view_of(wanted)}"
    )
