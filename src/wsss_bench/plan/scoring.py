"""The evaluate stages: what is scored, and under which protocol."""

from __future__ import annotations

from typing import Any

from wsss_bench.plan.plan import ScoredProduct, Stage
from wsss_bench.plan.segmentations import Segmentation
from wsss_bench.plan.stage_configs import CellConfigs
from wsss_bench.plan.stage_table import StageTable

NO_MASKS = "no masks"
"""Why a product of a split without masks (`protocol.unscored`) has no score."""


def score_seeds(table: StageTable, configs: CellConfigs, seeds: Stage) -> ScoredProduct:
    """Score the seeds of the training split under the fixed, the held-out and the oracle threshold."""
    protocol = configs.protocol
    if protocol.train_split in protocol.unscored:
        return ScoredProduct(configs.cell, "seed", protocol.train_split, None, None, NO_MASKS)
    config = {
        **_scored_images(configs, protocol.train_split, "seed"),
        "seeds": str(seeds.path),
        "image_labels": "given",
        "scales": configs.scales,
        "post": "raw",
        "threshold": configs.hints.threshold,
        "holdout": protocol.holdout,
    }
    facts = configs.facts(protocol.train_split, "seed")
    scored = table.stage("evaluate", configs.title("seed"), config, {"seeds": seeds}, facts=facts)
    return ScoredProduct(configs.cell, "seed", protocol.train_split, None, scored.fingerprint)


def score_pseudo_masks(
    table: StageTable, configs: CellConfigs, masks: Stage, refiner: str, post: str, extra: tuple[str, ...]
) -> ScoredProduct:
    """Score the pseudo masks of a refiner on the training split.

    Args:
        table: Receives the stage.
        configs: The cell.
        masks: The refine stage.
        refiner: Name of the refiner.
        post: The same, with the settings that differ for this method.
        extra: What the masks were made with beyond the seeds.
    """
    split = configs.protocol.train_split
    if split in configs.protocol.unscored:
        return ScoredProduct(configs.cell, "pseudo_mask", split, refiner, None, NO_MASKS, extra)
    config = {
        **_scored_images(configs, split, "pseudo_mask"),
        "masks": str(masks.path),
        "image_labels": "given",
        "scales": configs.scales,
        "post": post,
        "threshold": None,
        "holdout": 0,
    }
    facts = configs.facts(split, "pseudo_mask", refiner, extra=extra)
    scored = table.stage("evaluate", configs.title(refiner), config, {"masks": masks}, facts=facts)
    return ScoredProduct(configs.cell, "pseudo_mask", split, refiner, scored.fingerprint, extra=extra)


def score_segmentation(
    table: StageTable,
    configs: CellConfigs,
    made: Segmentation,
    split: str,
    suffix: str,
    refiner: str | None = None,
    extra: tuple[str, ...] = (),
    segmenter: str | None = None,
) -> ScoredProduct:
    """Score the predicted masks of one evaluation split.

    Args:
        table: Receives the stage.
        configs: The cell.
        made: Its stages.
        split: The split that was predicted.
        suffix: End of the stage's title.
        refiner: Name of the refiner of the pseudo masks that the segmenter was trained on, if there was one.
        extra: What the segmenter was given beyond the `extra` of the method.
        segmenter: Name of the segmenter, if there is one.
    """
    if split in configs.protocol.unscored:
        return ScoredProduct(configs.cell, "segmentation", split, refiner, None, NO_MASKS, extra, segmenter)
    config = {
        **_scored_images(configs, split, "segmentation"),
        "masks": str(made.masks.path),
        **({"crf_masks": str(made.crf_masks.path)} if made.crf_masks is not None else {}),
        "image_labels": "none",
        # scales and post apply to a bare folder of masks; these stages have a folder for each read-out
        "scales": "ss",
        "post": "raw",
        "threshold": None,
        "holdout": 0,
    }
    facts = configs.facts(split, "segmentation", refiner, segmenter, extra)
    reads = {"masks": made.masks, "crf_masks": made.crf_masks}
    scored = table.stage("evaluate", configs.title(suffix), config, reads, facts=facts)
    return ScoredProduct(
        configs.cell, "segmentation", split, refiner, scored.fingerprint, extra=extra, segmenter=segmenter
    )


def _scored_images(configs: CellConfigs, split: str, product: str) -> dict[str, Any]:
    return {
        "source": configs.source,
        "dataset": configs.protocol.dataset,
        "split": split,
        "product": product,
        "count": configs.protocol.counts[split],
        "checkpoint_rule": "last",
    }
