"""The check that maps lie where their image does."""

from __future__ import annotations

import numpy as np

from wsss_bench.contract import marker
from wsss_bench.contract.outcome import Failure, LeftOut
from wsss_bench.contract.subject import Subject
from wsss_bench.inference_config import InferenceConfig

LARGEST_ERROR = 0.6
"""In cells. The published placement of IRN is 0.44 off at a stride of 8."""


def a_spot_is_drawn_where_it_is(subject: Subject) -> None:
    """A bright spot is drawn about where it is, also at sizes that do not divide by a stride.

    The network is made one that only samples the image; where that cannot be done, nothing is known.
    """
    error = largest_error(subject, "patches")
    if error >= LARGEST_ERROR:
        raise Failure(
            f"a spot in the image is drawn {error:.2f} cells from where it is; set seed_placement and "
            "segmentation_placement to how the cells of the maps lie (wsss_bench.placement)"
        )


def largest_error(subject: Subject, rule: marker.Rule) -> float:
    """Largest distance, over products and sizes, from where `rule` draws the spot, in cells.

    Raises:
        LeftOut: the network cannot be made one that only samples.
    """
    config = InferenceConfig(**subject.content.inference)
    errors = []
    try:
        method = marker.sampling(subject.fresh())
        for product in subject.products:
            errors += [marker.error(method, product, rule, config, size) for size in marker.SIZES]
    except Exception as error:  # of a network of any kind with weights that it was not made for
        raise LeftOut(f"its network does not run with weights that only sample ({error})") from error
    if not np.isfinite(errors).all():
        raise LeftOut("its network passes nothing on with weights that only sample")
    return float(np.abs(errors).max())
