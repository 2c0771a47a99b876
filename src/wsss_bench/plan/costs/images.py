"""What the work on single images costs that no network does, as measured on one core."""

from __future__ import annotations

import math

from wsss_bench.plan.costs.networks import measured


def seconds_of(work: str, megapixels: float, classes: int) -> float | None:
    """CPU seconds of an image; None for work that was not measured, such as an own refiner.

    The measured picture of the nearest size counts, scaled by the megapixels, and by the classes where all of
    them have a map (`segmentation`).

    Args:
        work: `seed` and `segmentation` (reading out and writing), `crf` (both read-outs), `evaluate seeds`,
            `evaluate masks`, or `refine <class>`.
        megapixels: Size of the image.
        classes: Foreground classes of the data set.
    """
    rows = [row for row in measured()["images"] if row["work"] == work]
    if not rows:
        return None
    nearest = min(rows, key=lambda row: abs(math.log(megapixels / row["megapixels"])))
    share = (1 + classes) / (1 + nearest["classes"]) if work == "segmentation" else 1.0
    return float(nearest["seconds"] * share * megapixels / nearest["megapixels"])
