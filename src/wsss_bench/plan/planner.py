"""Lays out the stages of an experiment: which cells it has, and which stages each pipeline needs."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from wsss_bench.plan.config import (
    ClassSpec,
    ConfigFolder,
    Experiment,
    NetworkSpec,
    RefinerFile,
    read_experiment,
)
from wsss_bench.plan.matrix import Cell, expand
from wsss_bench.plan.plan import Plan, ScoredProduct, Stage, StageFolder
from wsss_bench.plan.schema import ConfigError
from wsss_bench.plan.stage_configs import StageConfigs, scales_of, title_of


def make_plan(file: Path, runs: Path, configs: Path | None = None) -> Plan:
    """Read an experiment and lay out its stages. Touches nothing on disk.

    Args:
        file: The experiment's YAML.
        runs: Where stage folders are.
        configs: The folder of configurations; by default `configs` beside the folder that holds the
            experiment.

    Raises:
        ConfigError: anything wrong in any YAML file that the experiment uses.
    """
    experiment = read_experiment(file)
    folder = ConfigFolder(configs or _configs_of(file))
    trainer = folder.trainer(experiment.trainer)
    cells = expand(experiment, folder, trainer, file)
    for name in experiment.data:
        if not folder.data(name).protocol.eval_splits:
            raise ConfigError(
                f"{file}: data: nothing of {name} is scored (no protocol.eval_splits); name it as train_on"
            )
    training = [experiment.train_on] if experiment.train_on else []
    datasets = {name: folder.data(name) for name in [*experiment.data, *training]}
    plan = Plan(file.stem, trainer, experiment.jobs, datasets)
    builder = _Builder(plan, folder, StageFolder(runs), experiment)
    for cell in cells:
        builder.add(cell)
    return plan


def _configs_of(file: Path) -> Path:
    for parent in file.resolve().parents:
        if (parent / "configs").is_dir():
            return parent / "configs"
    raise ConfigError(f"no folder named configs above {file.resolve()}; name it with --configs DIR")


class _Builder(StageConfigs):
    """Adds the stages of one cell after the other to a plan."""

    def __init__(
        self, plan: Plan, configs: ConfigFolder, folder: StageFolder, experiment: Experiment
    ) -> None:
        super().__init__(plan, folder)
        self.configs = configs
        self.experiment = experiment

    def add(self, cell: Cell) -> None:
        """All stages and products of a cell."""
        hints = cell.content.bench
        protocol, _ = self.data(cell)
        if cell.content.data.get("extra_images") and not hints.extra:
            raise ConfigError(
                f"{cell.row} trains on further images (data.extra_images: {', '.join(cell.content.data['extra_images'])}) that its row does "
                "not tell of; name them in bench.extra, e.g. [web_images]"
            )
        train = self._train(self._trained(cell)) if hints.trains else None
        if hints.pipeline == "multi_stage":
            self._multi_stage(cell, train)
            return
        if hints.pipeline != "upper_bound" and protocol.train_split:
            self._seeds(cell, train, protocol.train_split)
        for split in protocol.eval_splits:
            self._segmentation(cell, train, split)

    def _trained(self, cell: Cell) -> Cell:
        """The cell that is trained for this one: itself, unless `train_on` or `same_training` says otherwise."""
        target = self.experiment.train_on
        if target is None and not self.data(cell)[0].train_split:
            raise ConfigError(
                f"configs/data/{cell.dataset}.yaml is only scored on (no protocol.train_split), but {cell.method} trains; "
                "set train_on in the experiment to the data that it is trained on, or leave one of the two out"
            )
        if target is not None and cell.content.bench.supervision != "caption":
            raise ConfigError(
                f"configs/methods/{cell.method}.yaml: a method that learns from captions may be trained on {target} and "
                f"scored on {cell.dataset}; this one learns from {cell.content.bench.supervision!r} and knows the classes of "
                "its training data only. Leave it or train_on out of the experiment"
            )
        variant = self.experiment.variants.get(cell.row)
        row = cell.method if variant and variant.same_training else cell.row
        override = self.experiment.override.get(cell.method, {})
        own = variant.override if variant and row == cell.row else {}
        dataset = target or cell.dataset
        content = self.configs.method(cell.method, dataset, self.plan.trainer, override, own)
        return Cell(row, cell.method, dataset, cell.random_seed, content)

    def _multi_stage(self, cell: Cell, train: Stage | None) -> None:
        """Seeds, pseudo masks of each refiner, and a segmenter trained on those of one of them.

        Seeds and the masks to train on cover the training images; what is only scored covers the scored ones.
        """
        seed = self._seeds(cell, train, self.training_split(cell))
        for name in self.experiment.refiners:
            chosen = name == self.experiment.pseudo_masks
            refiner = self.configs.refiner(name, cell.dataset, self.plan.trainer)
            masks = self._refined(cell, seed, name, refiner, chosen)
            if chosen and self.experiment.segmenter is not None:
                self._segmenter(cell, masks, name, self.experiment.segmenter, refiner.extra)

    def _train(self, cell: Cell, users: tuple[str, ...] = ()) -> Stage:
        warm_start = None
        name = cell.content.bench.warm_start
        if name is not None:
            if name in (*users, cell.method):
                raise ConfigError(
                    f"configs/methods/{cell.method}.yaml: bench.warm_start: {name} leads back to itself"
                )
            override = self.experiment.override.get(name, {})
            content = self.configs.method(name, cell.dataset, self.plan.trainer, override)
            if not content.bench.trains:
                raise ConfigError(
                    f"configs/methods/{cell.method}.yaml: bench.warm_start: {name} has no train stage"
                )
            warm_start = self._train(
                Cell(name, name, cell.dataset, cell.random_seed, content), (*users, cell.method)
            )
        config = self.sections(cell) | {"warm_start": str(warm_start.path) if warm_start else None}
        return self.stage("train", title_of(cell), config, {"warm_start": warm_start})

    def _seeds(self, cell: Cell, train: Stage | None, split: str) -> Stage:
        """Seeds of `split`, which holds the scored images."""
        protocol, _ = self.data(cell)
        hints = cell.content.bench
        if hints.threshold is None:
            raise ConfigError(
                f"configs/methods/{cell.method}.yaml: bench.threshold: a method with seeds needs the fixed "
                "background threshold that ranks them, in [0, 1]; add it"
            )
        seed = self._predict(cell, train, "seed", "seed", split, None)
        config = {
            **self.evaluation(cell, protocol.train_split, "seed"),
            "seeds": str(seed.path),
            "image_labels": "given",
            "scales": scales_of(cell),
            "post": "raw",
            "threshold": hints.threshold,
            "holdout": protocol.holdout,
        }
        scored = self.stage("evaluate", title_of(cell, "seed"), config, {"seeds": seed})
        self.plan.products.append(ScoredProduct(cell, "seed", protocol.train_split, None, scored.fingerprint))
        return seed

    def _refined(
        self, cell: Cell, seed: Stage, name: str, refiner: RefinerFile, chosen: bool
    ) -> Stage | None:
        """Pseudo masks of a refiner and their score; None where one of its modules is missing."""
        scored_on = self.data(cell)[0].train_split
        mark = self._lacks(name, refiner)
        if mark:
            self.plan.products.append(
                ScoredProduct(cell, "pseudo_mask", scored_on, name, None, mark, tuple(refiner.extra))
            )
            return None
        network = None
        if refiner.network is not None and refiner.affinity_labels is not None:
            labels = self._refine(cell, seed, refiner.affinity_labels, f"{name}-labels", trained_on=True)
            network = self._fit("affinity", cell, refiner.network, labels, name)
        masks = self._refine(cell, seed, refiner.refiner, name, network, trained_on=chosen)
        if not refiner.scored:
            self.plan.products.append(
                ScoredProduct(cell, "pseudo_mask", scored_on, name, None, "partial", tuple(refiner.extra))
            )
            return masks
        config = {
            **self.evaluation(cell, scored_on, "pseudo_mask"),
            "masks": str(masks.path),
            "image_labels": "given",
            "scales": scales_of(cell),
            "post": name,
            "threshold": None,
            "holdout": 0,
        }
        scored = self.stage("evaluate", title_of(cell, name), config, {"masks": masks})
        self.plan.products.append(
            ScoredProduct(
                cell, "pseudo_mask", scored_on, name, scored.fingerprint, extra=tuple(refiner.extra)
            )
        )
        return masks

    def _refine(
        self,
        cell: Cell,
        seed: Stage,
        refiner: ClassSpec,
        suffix: str,
        network: Stage | None = None,
        *,
        trained_on: bool,
    ) -> Stage:
        """Masks of all training images where a network is trained on them, else of the scored ones."""
        protocol, source = self.data(cell)
        arguments = dict(refiner.init_args)
        if "threshold" in arguments and arguments["threshold"] is None:
            arguments["threshold"] = cell.content.bench.threshold
        config = {
            "source": self.training_source(cell) if trained_on else source,
            "split": self.training_split(cell) if trained_on else protocol.train_split,
            "seeds": str(seed.path),
            "refiner": {"class_path": refiner.class_path, "init_args": arguments},
        }
        if network is not None:
            config["network"] = str(network.path)
        return self.stage("refine", title_of(cell, suffix), config, {"seeds": seed, "network": network})

    def _fit(self, kind: str, cell: Cell, spec: NetworkSpec, masks: Stage, suffix: str) -> Stage:
        """A network trained on the masks of a refine stage."""
        config = self.network(cell, spec) | {"masks": str(masks.path)}
        if extra_images := cell.content.data.get(
            "extra_images"
        ):  # pseudo masks of the images that the method has had too
            config["data"] = config["data"] | {"extra_images": extra_images}
        return self.stage(kind, title_of(cell, suffix), config, {"masks": masks})

    def _segmenter(
        self, cell: Cell, masks: Stage | None, refiner: str, name: str, given: Sequence[str]
    ) -> None:
        """The segmenter and its figures; where there are no masks, the reason that their row gives."""
        spec = self.configs.segmenter(name, cell.dataset, self.plan.trainer)
        protocol, _ = self.data(cell)
        extra = (*spec.bench.extra, *given)
        self.plan.segmenters[cell.dataset] = (
            f"{name} ({', '.join([spec.bench.backbone, *spec.bench.extra])}) on the masks of {refiner}"
        )
        if masks is None:
            mark = self.plan.products[-1].missing
            for split in protocol.eval_splits:
                self.plan.products.append(
                    ScoredProduct(cell, "segmentation", split, refiner, None, mark, extra)
                )
            return
        trained = self._fit("segment", cell, spec, masks, f"{refiner}-{name}")
        for split in protocol.eval_splits:
            predict = {
                **self.network(cell, spec),
                "inference": spec.inference,
                "checkpoint": str(trained.path),
                "product": "segmentation",
                "split": split,
                "crf": protocol.crf,
                "scales": protocol.scales,
            }
            suffix = f"{refiner}-{name}-{split}"
            predicted = self.stage("predict", title_of(cell, suffix), predict, {"checkpoint": trained})
            self._score_masks(cell, predicted, split, suffix, refiner, extra)

    def _lacks(self, name: str, refiner: RefinerFile) -> str:
        """The mark of a module that a refiner needs and that is not installed; empty where all are."""
        lacking = [module for module in refiner.requires if find_spec(module) is None]
        if not lacking:
            return ""
        mark = "no crf" if lacking[0] == "pydensecrf" else f"no {lacking[0]}"
        note = f"refiner {name} is left out: module {lacking[0]} is not installed; its cells say {mark!r}"
        if note not in self.plan.notes:
            self.plan.notes.append(note)
        return mark

    def _segmentation(self, cell: Cell, train: Stage | None, split: str) -> None:
        masks = self._predict(cell, train, "predict", "segmentation", split, split)
        self._score_masks(cell, masks, split, split)

    def _score_masks(
        self,
        cell: Cell,
        masks: Stage,
        split: str,
        suffix: str,
        refiner: str | None = None,
        extra: tuple[str, ...] = (),
    ) -> None:
        config = {
            **self.evaluation(cell, split, "segmentation"),
            "masks": str(masks.path),
            "image_labels": "none",
            "scales": "ss",  # of a bare folder of masks; a stage folder says it for each of its read-outs
            "post": "raw",
            "threshold": None,
            "holdout": 0,
        }
        scored = self.stage("evaluate", title_of(cell, suffix), config, {"masks": masks})
        self.plan.products.append(
            ScoredProduct(cell, "segmentation", split, refiner, scored.fingerprint, extra=extra)
        )

    def _predict(
        self, cell: Cell, train: Stage | None, kind: str, product: str, split: str, suffix: str | None
    ) -> Stage:
        protocol, _ = self.data(cell)
        config = self.sections(cell) | {
            "inference": cell.content.inference,
            "checkpoint": str(train.path) if train else None,
            "product": product,
            "split": split,
        }
        if product == "segmentation":  # seeds do not depend on how masks are read out
            config |= {"crf": protocol.crf, "scales": protocol.scales}
        return self.stage(kind, title_of(cell, suffix), config, {"checkpoint": train})
