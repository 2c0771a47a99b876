"""What a method predicts itself: seeds of the training split, segmentations of the evaluation splits."""

from __future__ import annotations

from wsss_bench.plan.plan import ScoredProduct, Stage
from wsss_bench.plan.schema import ConfigError
from wsss_bench.plan.scoring import score_seeds, score_segmentation
from wsss_bench.plan.stage_configs import CellConfigs
from wsss_bench.plan.stage_table import StageTable


def seeds(
    table: StageTable, configs: CellConfigs, train: Stage | None, split: str
) -> tuple[Stage, ScoredProduct]:
    """The seed stage of a cell and the score of its seeds.

    Args:
        table: Receives the stages.
        configs: The cell.
        train: Its train stage, if it has one.
        split: Split whose seeds are made; it holds all images of the split that is scored.
    """
    if configs.hints.threshold is None:
        raise ConfigError(
            f"{configs.cell.file}: bench.threshold: a method with seeds needs the "
            "fixed background threshold that ranks them, in [0, 1]; add it"
        )
    config = configs.method() | {
        "inference": configs.cell.content.inference,
        "checkpoint": str(train.path) if train else None,
        "product": "seed",
        "split": split,
    }
    stage = table.stage("seed", configs.title(), config, {"checkpoint": train})
    return stage, score_seeds(table, configs, stage)


def segmentation(table: StageTable, configs: CellConfigs, train: Stage | None, split: str) -> ScoredProduct:
    """The score of the masks that the method itself predicts for an evaluation split."""
    config = configs.method() | {
        "inference": configs.cell.content.inference,
        "checkpoint": str(train.path) if train else None,
        "product": "segmentation",
        "split": split,
        "crf": configs.protocol.crf,
        "scales": configs.protocol.scales,
        **configs.readouts(configs.cell.content.readouts, split),
    }
    masks = table.stage("predict", configs.title(split), config, {"checkpoint": train})
    return score_segmentation(table, configs, masks, split, split)
