"""The parts of stage configurations that several stages of a cell share."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from wsss_bench.artifacts.data_reads import COMBINED
from wsss_bench.artifacts.layout import READOUTS
from wsss_bench.plan.config import DataFile, MethodHints, NetworkSpec, Protocol
from wsss_bench.plan.matrix import Cell
from wsss_bench.plan.schema import ConfigError, nearest
from wsss_bench.plan.yaml_files import merge


@dataclass(frozen=True)
class CellConfigs:
    """A cell with its data set, and the configuration parts made from the two."""

    cell: Cell
    data: DataFile

    @property
    def hints(self) -> MethodHints:
        """The `bench:` block of the method."""
        return self.cell.content.bench

    @property
    def protocol(self) -> Protocol:
        """The protocol of the data set."""
        return self.data.protocol

    @property
    def source(self) -> dict[str, Any]:
        """The source of the data set, without extra images."""
        return self.data.source

    @property
    def extra_images(self) -> dict[str, Any] | None:
        """Further training images of the method, by name of their source."""
        return self.cell.content.data.get("extra_images")

    @property
    def training_source(self) -> dict[str, Any]:
        """The source of seeds and pseudo masks: the data set, and the extra images of the method."""
        if not self.extra_images:
            return self.source
        arguments = {"main": self.source, "split": self.training_split, "extra_images": self.extra_images}
        return {"class_path": COMBINED, "init_args": arguments}

    @property
    def training_split(self) -> str:
        """The split that networks are trained on; it may hold more images than the one that is scored."""
        return self.data.training_split

    @property
    def scales(self) -> str:
        """`ms` where seeds are made at several scales, else `ss`."""
        return "ms" if len(self.cell.content.inference.get("scales") or [1.0]) > 1 else "ss"

    def standard_readouts(self, split: str) -> dict[str, Any]:
        """Scales of the masks of a split, and the CRF of those with one; null: there are none."""
        if split in self.protocol.ss_raw_only:
            return {"crf": None, "scales": []}
        return {"crf": self.protocol.crf, "scales": self.protocol.scales}

    def readouts(
        self,
        known: Mapping[str, dict[str, Any]],
        split: str,
        refiner: str | None = None,
        segmenter: str | None = None,
    ) -> dict[str, dict[str, Any]]:
        """What is made in addition: the read-outs of published results for the same masks.

        Args:
            known: Read-outs of the method, or of the segmenter, by name.
            split: The split that is predicted.
            refiner, segmenter: For masks of a segmenter.

        Returns:
            The read-outs by name, as their file has them.
        """
        if self.cell.is_variant:
            return {}
        alike = ("segmentation", self.cell.dataset, split, refiner, segmenter)
        named = [
            result.readout
            for result in self.hints.paper
            if (result.product, result.dataset, result.split, result.refiner, result.segmenter) == alike
            and result.readout is not None
            and result.readout not in READOUTS
        ]
        for name in named:
            if name not in known:
                raise ConfigError(
                    f"{self.cell.file}: bench.paper: readout {name!r} is not in the "
                    f"`readouts` of {segmenter or 'the method'}; {nearest(name, [*READOUTS, *known])}"
                )
        return {name: known[name] for name in named}

    def prediction(self, inference: dict[str, Any], threshold: float | None = None) -> dict[str, Any]:
        """How a trained network predicts on the data set, for its checkpoint.

        Args:
            inference: Of the method or of the segmenter.
            threshold: Background threshold of its seeds.
        """
        return {
            "inference": {**inference, "multi_scales": self.protocol.scales},
            **({} if threshold is None else {"threshold": threshold}),
        }

    def title(self, suffix: str | None = None) -> str:
        """Row, data set, random seed, and the suffix that tells this stage from others of the cell."""
        cell = self.cell
        return "-".join(part for part in (cell.row, cell.dataset, f"s{cell.random_seed}", suffix) if part)

    def facts(
        self,
        split: str | None,
        product: str | None = None,
        refiner: str | None = None,
        segmenter: str | None = None,
        extra: Iterable[str] = (),
    ) -> dict[str, Any]:
        """What W&B groups and filters a stage of the cell by (`artifacts.run.FACTS`).

        Args:
            split: The split that it reads the images of; None for the cell as a whole.
            product: What it makes or scores: `seed`, `pseudo_mask` or `segmentation`; None for a training.
            refiner, segmenter: By which the product is made, or which is trained.
            extra: What these were given beyond the `extra` of the method.
        """
        return {
            "cell": self.title(),
            "method": self.cell.row,
            "base": self.cell.method,
            "dataset": self.cell.dataset,
            "split": split,
            "seed": self.cell.random_seed,
            "product": product,
            "refiner": refiner,
            "segmenter": segmenter,
            "supervision": self.hints.supervision,
            "backbone": self.hints.backbone,
            "extra": " ".join(sorted({*self.hints.extra, *extra})) or None,
        }

    def method(self) -> dict[str, Any]:
        """The method, its data and its trainer: what `fit` and `predict` both take."""
        content = self.cell.content
        return self.network(NetworkSpec(content.model, content.data, content.trainer))

    def network(self, spec: NetworkSpec) -> dict[str, Any]:
        """A network, its data and its trainer."""
        return {
            "seed_everything": self.cell.random_seed,
            "model": {"class_path": spec.model.class_path, "init_args": spec.model.init_args},
            "data": merge(spec.data, self.data.data, {"train_split": self.training_split}),
            "trainer": spec.trainer,
        }
