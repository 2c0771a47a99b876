"""The stages after the seeds of a multi-stage method: refiners, their networks, and the segmenter."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from wsss_bench.plan.config import ClassSpec, NetworkSpec, RefinerFile, SegmenterFile
from wsss_bench.plan.plan import ScoredProduct, Stage
from wsss_bench.plan.scoring import score_pseudo_masks, score_segmentation
from wsss_bench.plan.segmentations import add_segmentation, readouts_of
from wsss_bench.plan.stage_configs import CellConfigs
from wsss_bench.plan.stage_table import StageTable


@dataclass(frozen=True)
class MultiStage:
    """What follows the seeds of a method on one data set.

    Args:
        refiners: The refiners, by name, as they run on the seeds of this method.
        usual: The same as they run on the seeds of a method without settings of its own (`bench.refine`).
        absent: Modules that refiners require and that are not installed.
        pseudo_masks: Name of the refiner on whose masks the segmenter is trained, if any.
        segmenter_name: Name of the segmenter, if any.
        segmenter: What its file holds.
    """

    refiners: Mapping[str, RefinerFile]
    usual: Mapping[str, RefinerFile]
    absent: frozenset[str]
    pseudo_masks: str | None = None
    segmenter_name: str | None = None
    segmenter: SegmenterFile | None = None

    def lacks(self, name: str) -> str | None:
        """The first module that a refiner requires and that is not installed, if any."""
        return next((module for module in self.refiners[name].requires if module in self.absent), None)

    def notes(self) -> list[str]:
        """A sentence for each refiner that is left out."""
        lacking = {name: module for name in self.refiners if (module := self.lacks(name))}
        return [
            f"refiner {name} is left out: module {module} is not installed; its cells say {_mark(module)!r}"
            for name, module in lacking.items()
        ]

    def describe_segmenter(self) -> str | None:
        """The segmenter in words, for the table; None without one."""
        if self.segmenter is None:
            return None
        hints = self.segmenter.bench
        parts = ", ".join([hints.backbone, *hints.extra])
        return f"{self.segmenter_name} ({parts}) on the masks of {self.pseudo_masks}"

    def products(self, table: StageTable, configs: CellConfigs, seed: Stage) -> list[ScoredProduct]:
        """The pseudo masks of each refiner, and the segmentations of a segmenter trained on one of them.

        Args:
            table: Receives the stages.
            configs: The cell.
            seed: Its seed stage.
        """
        products: list[ScoredProduct] = []
        for name in self.refiners:
            masks, product = self._pseudo_masks(table, configs, seed, name)
            products.append(product)
            if name == self.pseudo_masks:
                products += self._segmentations(table, configs, masks, product)
        return products

    def _pseudo_masks(
        self, table: StageTable, configs: CellConfigs, seed: Stage, name: str
    ) -> tuple[Stage | None, ScoredProduct]:
        """The refine stage of a refiner (None if a module is missing) and the product of its masks."""
        refiner = self.refiners[name]
        extra = tuple(refiner.extra)
        split = configs.protocol.train_split
        module = self.lacks(name)
        if module:
            missing = _mark(module)
            return None, ScoredProduct(configs.cell, "pseudo_mask", split, name, None, missing, extra)
        network = None
        if refiner.network is not None and refiner.affinity_labels is not None:
            facts = configs.facts(configs.training_split, None, name, extra=extra)
            suffix = f"{name}-labels"
            labels = _refine(table, configs, seed, refiner.affinity_labels, suffix, facts, trained_on=True)
            network = _fit(table, configs, "affinity", refiner.network, labels, name, facts)
        trained_on = name == self.pseudo_masks
        on_gpu = refiner.uses_gpu and configs.cell.content.trainer.get("accelerator") in ("gpu", "cuda")
        facts = configs.facts(
            configs.training_split if trained_on else split, "pseudo_mask", name, extra=extra
        )
        masks = _refine(
            table, configs, seed, refiner.refiner, name, facts, network, trained_on=trained_on, on_gpu=on_gpu
        )
        if not refiner.scored:
            return masks, ScoredProduct(configs.cell, "pseudo_mask", split, name, None, "partial", extra)
        post = named_with_changes(name, self.usual[name], refiner)
        return masks, score_pseudo_masks(table, configs, masks, name, post, extra)

    def _segmentations(
        self, table: StageTable, configs: CellConfigs, masks: Stage | None, pseudo_masks: ScoredProduct
    ) -> list[ScoredProduct]:
        """The products of the segmenter; without masks to train it on, they say why the masks are missing."""
        if self.segmenter is None:
            return []
        name = pseudo_masks.refiner
        extra = (*self.segmenter.bench.extra, *pseudo_masks.extra)
        if masks is None:
            return [
                ScoredProduct(
                    configs.cell,
                    "segmentation",
                    split,
                    name,
                    None,
                    pseudo_masks.missing,
                    extra,
                    self.segmenter_name,
                )
                for split in configs.protocol.eval_splits
            ]
        suffix = f"{name}-{self.segmenter_name}"
        facts = configs.facts(configs.training_split, None, name, self.segmenter_name, extra)
        trained = _fit(table, configs, "segment", self.segmenter, masks, suffix, facts)
        return [
            self._segmentation(table, configs, trained, split, f"{suffix}-{split}", name, extra)
            for split in configs.protocol.eval_splits
        ]

    def _segmentation(
        self,
        table: StageTable,
        configs: CellConfigs,
        trained: Stage,
        split: str,
        suffix: str,
        refiner: str | None,
        extra: tuple[str, ...],
    ) -> ScoredProduct:
        """The score of the masks that the trained segmenter predicts for an evaluation split."""
        assert self.segmenter is not None
        published = configs.readouts(self.segmenter.readouts, split, refiner, self.segmenter_name)
        readouts = readouts_of(configs, split, published)
        config = {
            **configs.network(self.segmenter),
            "inference": self.segmenter.inference,
            "checkpoint": str(trained.path),
            "product": "segmentation",
            "split": split,
            **readouts.of_prediction(),
        }
        facts = configs.facts(split, "segmentation", refiner, self.segmenter_name, extra)
        made = add_segmentation(table, configs, config, readouts, trained, configs.title(suffix), facts)
        return score_segmentation(table, configs, made, split, suffix, refiner, extra, self.segmenter_name)


def _refine(
    table: StageTable,
    configs: CellConfigs,
    seed: Stage,
    refiner: ClassSpec,
    suffix: str,
    facts: Mapping[str, Any],
    network: Stage | None = None,
    *,
    trained_on: bool,
    on_gpu: bool = False,
) -> Stage:
    """Masks of all training images if a network is trained on them, else of the scored images only."""
    arguments = dict(refiner.init_args)
    if "threshold" in arguments and arguments["threshold"] is None:
        arguments["threshold"] = configs.hints.threshold
    config = {
        "source": configs.training_source if trained_on else configs.source,
        "split": configs.training_split if trained_on else configs.protocol.train_split,
        "seeds": str(seed.path),
        "refiner": {"class_path": refiner.class_path, "init_args": arguments},
    }
    if network is not None:
        config["network"] = str(network.path)
    if on_gpu:
        config["accelerator"] = "gpu"
    reads = {"seeds": seed, "network": network}
    return table.stage("refine", configs.title(suffix), config, reads, facts=facts)


def _fit(
    table: StageTable,
    configs: CellConfigs,
    kind: str,
    spec: NetworkSpec,
    masks: Stage,
    suffix: str,
    facts: Mapping[str, Any],
) -> Stage:
    """The stage that trains a network on the masks of a refine stage."""
    config = configs.network(spec) | {"masks": str(masks.path)}
    if configs.extra_images:  # there are pseudo masks of these images too
        config["data"] = config["data"] | {"extra_images": configs.extra_images}
    prediction = configs.prediction(spec.inference) if isinstance(spec, SegmenterFile) else None
    return table.stage(kind, configs.title(suffix), config, {"masks": masks}, prediction, facts=facts)


def named_with_changes(name: str, usual: RefinerFile, changed: RefinerFile) -> str:
    """Name of a refiner with the settings that a method changes, for protocols: `irn[threshold=0.2]`."""
    before, after = _settings(asdict(usual)), _settings(asdict(changed))
    changes = [
        f"{key}={after.get(key)}" for key in sorted({*before, *after}) if before.get(key) != after.get(key)
    ]
    return f"{name}[{','.join(changes)}]" if changes else name


def _settings(content: Mapping[str, Any], place: str = "") -> dict[str, Any]:
    """Nested settings by dotted name, without the levels that all of them share."""
    found: dict[str, Any] = {}
    for key, value in content.items():
        path = place if key in ("refiner", "init_args") else f"{place}{key}."
        found |= _settings(value, path) if isinstance(value, Mapping) else {path.rstrip("."): value}
    return found


def _mark(module: str) -> str:
    """What the cells of a refiner without its module say in the table."""
    return "no crf" if module == "pydensecrf" else f"no {module}"
