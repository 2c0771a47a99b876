"""Which images the page shows, chosen from the confusion matrices of single images; no mask is read."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import NamedTuple

import numpy as np

from wsss_bench.metrics.functional import iou_from_sums, mean_over_present
from wsss_bench.metrics.per_image import PerImageConfusions

PER_RULE = 8
"""Images that each of the three rules chooses."""
RANDOM_SEED = 0

Scores = Mapping[str, float]
"""mIoU in [0, 1] by image id; an image without a pixel that counts has none."""


class Chosen(NamedTuple):
    """An image, and why it is shown."""

    image_id: str
    rule: str  # `random`, `worst` or `disagreement`
    reason: str  # a sentence


def image_scores(confusions: PerImageConfusions) -> dict[str, float]:
    """mIoU of each image, over the classes that its truth or its prediction has."""
    hits, truth, predicted = np.split(confusions.class_sums(), 3, axis=1)
    values = mean_over_present(iou_from_sums(hits, truth, predicted)).tolist()
    return {
        name: value for name, value in zip(confusions.image_ids, values, strict=True) if not np.isnan(value)
    }


def choose(scores: Mapping[str, Scores], references: Collection[str] = ()) -> list[Chosen]:
    """Up to 24 images, each once, by three rules.

    Eight are drawn at random: the same ones for the same images, whatever the methods are. Eight are the
    worst of a method; the methods take turns in their order. On eight the mIoU of two methods differs most,
    where references are left out if two other methods remain.

    Args:
        scores: Scores of the images by method.
        references: The methods that are a lower or an upper bound.
    """
    everything = sorted({image_id for found in scores.values() for image_id in found})
    order = np.random.default_rng(RANDOM_SEED).permutation(len(everything))[:PER_RULE]
    chosen = [Chosen(everything[i], "random", "drawn at random") for i in order]
    chosen += _worst(scores, {one.image_id for one in chosen})
    compared = {method: found for method, found in scores.items() if method not in references}
    compared = compared if len(compared) > 1 else dict(scores)
    return chosen + _disagreements(compared, {one.image_id for one in chosen})


def _worst(scores: Mapping[str, Scores], taken: set[str]) -> list[Chosen]:
    queues = {method: iter(_from_the_worst(found)) for method, found in scores.items()}
    chosen: list[Chosen] = []
    while queues:
        for method, queue in list(queues.items()):
            image_id = next((name for name in queue if name not in taken), None)
            if len(chosen) == PER_RULE:
                return chosen
            if image_id is None:
                del queues[method]
                continue
            taken.add(image_id)
            reason = f"the worst of {method} that is not shown yet, mIoU {100 * scores[method][image_id]:.1f}"
            chosen.append(Chosen(image_id, "worst", reason))
    return chosen


def _from_the_worst(scores: Scores) -> list[str]:
    return sorted(scores, key=lambda name: (scores[name], name))


def _disagreements(scores: Mapping[str, Scores], taken: set[str]) -> list[Chosen]:
    found: list[tuple[float, str, str]] = []
    for image_id in {name for one in scores.values() for name in one} - taken:
        ranked = sorted((one[image_id], method) for method, one in scores.items() if image_id in one)
        (low, worse), (high, better) = ranked[0], ranked[-1]
        if high > low:
            reason = f"{better} and {worse} disagree, mIoU {100 * high:.1f} and {100 * low:.1f}"
            found.append((low - high, image_id, reason))
    return [Chosen(name, "disagreement", reason) for _, name, reason in sorted(found)[:PER_RULE]]
