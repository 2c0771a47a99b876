"""What a method predicts itself: seeds of the training split, segmentations of the evaluation splits."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from wsss_bench.plan.plan import ScoredProduct, Stage
from wsss_bench.plan.schema import ConfigError, nearest
from wsss_bench.plan.scoring import score_seeds, score_segmentation
from wsss_bench.plan.segmentations import add_segmentation, readouts_of
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
    shares = shared_with(configs, config)
    facts = configs.facts(split, "seed")
    stage = table.stage("seed", configs.title(), config, {"checkpoint": train}, shares=shares, facts=facts)
    return stage, score_seeds(table, configs, stage)


def segmentation(table: StageTable, configs: CellConfigs, train: Stage | None, split: str) -> ScoredProduct:
    """The score of the masks that the method itself predicts for an evaluation split."""
    readouts = readouts_of(configs, split, configs.readouts(configs.cell.content.readouts, split))
    config = configs.method() | {
        "inference": configs.cell.content.inference,
        "checkpoint": str(train.path) if train else None,
        "product": "segmentation",
        "split": split,
        **readouts.of_prediction(),
    }
    facts, shares = configs.facts(split, "segmentation"), shared_with(configs, config)
    made = add_segmentation(table, configs, config, readouts, train, configs.title(split), facts, shares)
    return score_segmentation(table, configs, made, split, split)


def shared_with(configs: CellConfigs, config: Mapping[str, Any]) -> str:
    """What predictions that can be made together have in common (`bench.shares`); empty for all others.

    It is the whole configuration but for the rest of the model and the published read-outs, which each of
    them has for itself.

    Args:
        configs: The cell.
        config: Of the seed or predict stage.

    Raises:
        ConfigError: `bench.shares` of a method that is trained, or the name of no network.
    """
    hints, file = configs.hints, configs.cell.file
    if hints.shares is None:
        return ""
    if hints.trains:
        raise ConfigError(f"{file}: bench.shares: only methods without training share a network; drop it")
    given = config["model"]["init_args"]
    if hints.shares not in given:
        raise ConfigError(
            f"{file}: bench.shares: {hints.shares!r} is not in model.init_args; "
            f"{nearest(hints.shares, given)}"
        )
    alike = {key: value for key, value in config.items() if key not in ("model", "readouts")}
    return json.dumps([hints.shares, given[hints.shares], alike], sort_keys=True)
