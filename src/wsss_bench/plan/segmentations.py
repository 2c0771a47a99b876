"""The stages that make the masks of a segmentation: the prediction, and the CRF, which needs no GPU."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from wsss_bench.plan.plan import Stage
from wsss_bench.plan.schema import ConfigError
from wsss_bench.plan.stage_configs import CellConfigs
from wsss_bench.plan.stage_table import StageTable

OF_CRF = ("crf", "crf_subtract")
"""Keys of a published read-out that its prediction does not depend on."""


@dataclass(frozen=True)
class Segmentation:
    """The stages of a segmentation.

    Args:
        masks: The predict stage.
        crf_masks: The crf stage; None where no masks with CRF are wanted.
    """

    masks: Stage
    crf_masks: Stage | None


@dataclass(frozen=True)
class Readouts:
    """What is made of a segmentation.

    Args:
        crf: The CRF of the protocol; None: no masks with it.
        scales: Scales of the multi-scale masks.
        published: The published read-outs by name, as their file has them.
    """

    crf: Mapping[str, Any] | None
    scales: list[float]
    published: Mapping[str, Mapping[str, Any]]

    def of_prediction(self) -> dict[str, Any]:
        """The part of the predict stage: of CRFs it knows only that there are some."""
        found: dict[str, Any] = {"crf": self.crf is not None, "scales": self.scales}
        if self.published:
            found["readouts"] = {
                name: {key: value for key, value in readout.items() if key not in OF_CRF}
                | ({"crf": True} if readout.get("crf") is not None else {})
                for name, readout in self.published.items()
            }
        return found

    def of_crf(self) -> dict[str, Any] | None:
        """The part of the crf stage; None if nothing has a CRF."""
        published = {
            name: {key: readout[key] for key in OF_CRF if key in readout}
            for name, readout in self.published.items()
            if readout.get("crf") is not None
        }
        if self.crf is None and not published:
            return None
        return {"crf": self.crf, **({"readouts": published} if published else {})}


def readouts_of(configs: CellConfigs, split: str, published: Mapping[str, Mapping[str, Any]]) -> Readouts:
    """What is made of the segmentation of a split.

    Raises:
        ConfigError: a published read-out without CRF changes the image of one.
    """
    for name, readout in published.items():
        if readout.get("crf") is None and readout.get("crf_subtract") is not None:
            raise ConfigError(
                f"readouts: {name}: crf_subtract is a colour that is subtracted from the image of a CRF; "
                "leave it out, or add crf"
            )
    standard = configs.standard_readouts(split)
    return Readouts(standard["crf"], standard["scales"], published)


def add_segmentation(
    table: StageTable,
    configs: CellConfigs,
    config: Mapping[str, Any],
    readouts: Readouts,
    trained: Stage | None,
    title: str,
    facts: Mapping[str, Any],
    shares: str = "",
) -> Segmentation:
    """Add the stages of a segmentation.

    Args:
        table: Receives the stages.
        configs: The cell.
        config: What its predict stage takes.
        readouts: What is made of it.
        trained: The train stage of the network, if it has one.
        title, facts, shares: Of both stages, as in `StageTable.stage`.
    """
    masks = table.stage("predict", title, {**config}, {"checkpoint": trained}, shares=shares, facts=facts)
    of_crf = readouts.of_crf()
    if of_crf is None:
        return Segmentation(masks, None)
    images = {"source": configs.source, "split": config["split"]}
    with_crf = {**images, "probabilities": str(masks.path), **of_crf}
    shared = shares and f"crf {shares}"
    reads = {"probabilities": masks}
    return Segmentation(masks, table.stage("crf", title, with_crf, reads, shares=shared, facts=facts))
