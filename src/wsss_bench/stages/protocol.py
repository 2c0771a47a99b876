"""The protocol of an evaluation, and the rows of `metrics.json` that carry its id."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from wsss_bench.artifacts.metrics import ScoredRow
from wsss_bench.data.sources.base import Source
from wsss_bench.metrics import functional
from wsss_bench.stages.score import Readout, Score


@dataclass(frozen=True)
class EvaluationProtocol:
    """What the scores of an evaluation have in common (`docs/protocol.md`).

    Args:
        dataset: Name of the data set.
        split: Scored split.
        image_labels: Whether image labels were known at inference: `given` or `none`.
        scales, post: Read-out of seeds and of a bare folder of masks; the folders of a predict stage are
            named after their own.
        checkpoint_rule: How the checkpoint was chosen.
    """

    dataset: str
    split: str
    image_labels: str
    scales: str
    post: str
    checkpoint_rule: str

    @property
    def readout(self) -> Readout:
        """Scales and post-processing."""
        return self.scales, self.post

    def id_of(self, score: Score) -> str:
        """The protocol id. A chosen threshold is a result and not part of it; a fixed one is."""
        scales, post = score.readout
        post += "+background" if score.own_background else ""
        rule = f"fixed-{score.threshold:.2f}" if score.rule == "fixed" else score.rule
        return (
            f"{self.dataset}-{self.split}/n{score.n_images}/labels-{self.image_labels}/"
            f"{scales}/{post}/thr-{rule}/{self.checkpoint_rule}"
        )

    def row(self, score: Score, source: Source) -> ScoredRow:
        """The row of `metrics.json`. Both background rates are None on a data set without background."""
        matrix = score.matrix
        iou = _iou(matrix)
        named = list(zip(("background", *source.class_names), iou, strict=True))
        background = source.has_background
        false_positive = functional.false_positive_background(matrix) if background else np.nan
        false_negative = functional.false_negative_background(matrix) if background else np.nan
        return ScoredRow(
            protocol=self.id_of(score),
            image_labels=self.image_labels,
            scales=score.readout[0],
            post=score.readout[1],
            rule=score.rule,
            threshold=score.threshold,
            checkpoint=self.checkpoint_rule,
            n_images=score.n_images,
            miou=_or_none(float(functional.mean_iou(matrix))),
            iou=iou,
            false_positive_background=_or_none(false_positive),
            false_negative_background=_or_none(false_negative),
            absent=tuple(name for name, value in named[0 if background else 1 :] if value is None),
            headline=score.headline,
            boundary_iou=None if score.boundary is None else _iou(score.boundary),
        )


def _iou(matrix: np.ndarray) -> tuple[float | None, ...]:
    return tuple(_or_none(value) for value in functional.iou(matrix).tolist())


def _or_none(value: float) -> float | None:
    return None if np.isnan(value) else value
