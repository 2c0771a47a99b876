"""The YAML files of a benchmark: what each holds, overlays, and the parts that only the bench reads.

`configs/methods/<name>.yaml` may have an overlay `<name>.<dataset>.yaml` beside it, merged over it where it
exists; the same holds for `configs/refine`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from wsss_bench.plan.schema import ConfigError, nearest, read_as
from wsss_bench.plan.yaml_files import merge, read_yaml

Extra = Literal[
    "clip", "saliency", "single_label_images", "web_images", "coco_masks", "imagenet_21k", "sam", "dino", "diffusion",
    "llm_text",
]  # fmt: skip
"""What a method was given beyond ImageNet weights and its supervision. Closed, so that rows compare."""


@dataclass(frozen=True)
class ClassSpec:
    """A class and what it is built with."""

    class_path: str
    init_args: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class PublishedResult:
    """A published figure, in percent. Without `scales` and `post` it is compared with our headline."""

    dataset: str
    split: str
    product: Literal["seed", "pseudo_mask", "segmentation"]
    miou: float
    source: str
    scales: str | None = None
    post: str | None = None


@dataclass(frozen=True)
class MethodHints:
    """The `bench:` block of a method.

    Args:
        pipeline: Which stages a cell of this method has.
        supervision: What it learns from; decides the track of its row.
        backbone: Column of the table.
        trains: False for a method that has no train stage.
        extra: What it was given beyond that.
        threshold: The fixed background threshold of its seeds, in [0, 1]; null for a method without seeds.
        warm_start: Method whose train stage, of the same data and seed, comes first.
        remark: What a reader of its row must know, in brackets behind its name: `re-implementation`.
        paper: Published figures.
    """

    pipeline: Literal["multi_stage", "single_stage", "zero_shot", "upper_bound"]
    supervision: Literal["none", "image", "image+text", "caption", "mask"]
    backbone: str
    trains: bool = True
    extra: list[Extra] = field(default_factory=list)
    threshold: float | None = None
    warm_start: str | None = None
    remark: str = ""
    paper: list[PublishedResult] = field(default_factory=list)

    @property
    def role(self) -> str:
        """`floor` for what needs no training, `ceiling` for what sees true masks, else empty."""
        if self.pipeline == "upper_bound":
            return "ceiling"
        return "" if self.trains else "floor"


@dataclass(frozen=True)
class MethodFile:
    """`configs/methods/<name>.yaml`; `model` to `inference` are checked by the stages that build them."""

    model: ClassSpec
    bench: MethodHints
    data: dict[str, Any] = field(default_factory=dict)
    trainer: dict[str, Any] = field(default_factory=dict)
    inference: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Protocol:
    """What is scored on a data set, and how; the same for every method.

    Args:
        dataset: Name in protocol ids.
        train_split: Seeds are made and scored here, image labels given; empty for a data set that is only
            scored on, or only trained on.
        eval_splits: Predicted without labels; the first one ranks. None for a data set that is only trained on.
        holdout: Train images that the held-out threshold is chosen on.
        counts: Images of each split; another length is refused.
        scales: Multi-scale read-out, with flip, mean of probabilities.
        crf: The CRF setting of the data set.
        prepare: Arguments of the `wsss-bench` command that makes the data; empty where a user brings it.
        overlay: Data set whose overlays apply; its own if empty.
    """

    dataset: str
    counts: dict[str, int]
    train_split: str = ""
    eval_splits: list[str] = field(default_factory=list)
    holdout: int = 0
    scales: list[float] = field(default_factory=lambda: [0.75, 1.0, 1.25])
    crf: dict[str, Any] = field(default_factory=dict)
    prepare: list[str] = field(default_factory=list)
    overlay: str = ""


@dataclass(frozen=True)
class DataFile:
    """`configs/data/<name>.yaml`; what stands beside `source` goes to the data module of every method."""

    data: dict[str, Any]
    protocol: Protocol

    @property
    def source(self) -> dict[str, Any]:
        """Class and arguments of the source."""
        return self.data["source"]


@dataclass(frozen=True)
class TrainerFile:
    """`configs/trainer/<name>.yaml`: Lightning's own arguments, the same for every method."""

    trainer: dict[str, Any]


@dataclass(frozen=True)
class NetworkSpec:
    """A network that is trained on masks: a segmenter, or the network of a refiner. `fit` checks it."""

    model: ClassSpec
    data: dict[str, Any] = field(default_factory=dict)
    trainer: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class RefinerFile:
    """`configs/refine/<name>.yaml`.

    Args:
        refiner: The class; an init argument `threshold: null` takes the method's fixed threshold.
        affinity_labels: Another refiner, whose masks `network` is trained on.
        network: Of a refiner that trains one of its own (IRNet, AffinityNet).
        requires: Modules that must be installed; without them the refined cells say so and nothing else
            fails.
        scored: False where masks hold 255: a segmenter can be trained on them, but they are no prediction.
        extra: What its masks were made with beyond the seeds; their rows, and those of a segmenter trained on them, say so.
    """

    refiner: ClassSpec
    affinity_labels: ClassSpec | None = None
    network: NetworkSpec | None = None
    requires: list[str] = field(default_factory=list)
    scored: bool = True
    extra: list[Extra] = field(default_factory=list)


@dataclass(frozen=True)
class SegmenterHints:
    """The `bench:` block of a segmenter.

    Args:
        backbone: For the table.
        extra: What it was given beyond ImageNet weights; its rows stand apart then.
    """

    backbone: str
    extra: list[Extra] = field(default_factory=list)


@dataclass(frozen=True)
class SegmenterFile(NetworkSpec):
    """`configs/segmenters/<name>.yaml`: the network that multi-stage methods train on their pseudo masks."""

    inference: dict[str, Any] = field(default_factory=dict)
    bench: SegmenterHints = field(kw_only=True)


@dataclass(frozen=True)
class Variant:
    """An ablation: a method with some of its values changed, as a row of its own.

    Args:
        method: Name of the method.
        override: The values.
        same_training: They concern prediction alone, so that the row takes the train stage of the method itself.
    """

    method: str
    override: dict[str, Any] = field(default_factory=dict)
    same_training: bool = False


@dataclass(frozen=True)
class Experiment:
    """`experiments/<name>.yaml`: a benchmark matrix.

    Args:
        methods: Names of `configs/methods`, or `"*"` for all of them.
        data: Names of `configs/data`.
        train_on: Another of them, with captions, that methods are trained on once for all of `data`; null trains on
            each data set that is scored.
        random_seeds: One run of every trained method for each.
        refiners: Names of `configs/refine`, applied to the seeds of multi-stage methods.
        pseudo_masks: The refiner among them whose masks the segmenter is trained on.
        segmenter: Name in `configs/segmenters`; null ends multi-stage methods at their pseudo masks.
        trainer: Name in `configs/trainer`.
        jobs: Stages at a time; null for one a core, or one a GPU.
        override: Values to change, by method.
        variants: Ablation rows, by row name.
    """

    methods: list[str] | str
    data: list[str]
    train_on: str | None = None
    random_seeds: list[int] = field(default_factory=lambda: [0])
    refiners: list[str] = field(default_factory=list)
    pseudo_masks: str | None = None
    segmenter: str | None = None
    trainer: str = "cpu"
    jobs: int | None = None
    override: dict[str, dict[str, Any]] = field(default_factory=dict)
    variants: dict[str, Variant] = field(default_factory=dict)


def read_experiment(path: Path) -> Experiment:
    """Read an experiment; its overrides and variants are checked when the matrix is expanded."""
    experiment = read_as(Experiment, read_yaml(path), path)
    if isinstance(experiment.methods, str) and experiment.methods != "*":
        raise ConfigError(f'{path}: methods: expected a list of methods or "*"; got {experiment.methods!r}')
    if (experiment.segmenter is None) != (experiment.pseudo_masks is None):
        raise ConfigError(
            f"{path}: segmenter and pseudo_masks go together: the segmenter is trained on the masks of the refiner "
            f"that pseudo_masks names; got segmenter {experiment.segmenter!r}, pseudo_masks {experiment.pseudo_masks!r}"
        )
    if experiment.pseudo_masks is not None and experiment.pseudo_masks not in experiment.refiners:
        known = experiment.refiners
        raise ConfigError(
            f"{path}: pseudo_masks: {experiment.pseudo_masks!r} is not one of refiners; "
            f"{nearest(experiment.pseudo_masks, known)}"
        )
    for key, values in (
        ("methods", experiment.methods),
        ("data", experiment.data),
        ("random_seeds", experiment.random_seeds),
    ):
        if not values:
            raise ConfigError(f"{path}: {key}: expected at least one; got an empty list")
        if isinstance(values, list) and len(set(values)) < len(values):
            raise ConfigError(f"{path}: {key}: {values} names one twice; keep one")
    return experiment


@dataclass(frozen=True)
class ConfigFolder:
    """The `configs` folder: finds files by name and reads them checked."""

    root: Path

    def methods(self) -> list[str]:
        """Names of all methods, overlays aside."""
        return sorted(path.stem for path in (self.root / "methods").glob("*.yaml") if "." not in path.stem)

    def method(
        self, name: str, dataset: str, trainer: dict[str, Any], *overrides: dict[str, Any]
    ) -> MethodFile:
        """A method as it runs on `dataset`: file, overlay, `trainer` and `overrides`, later ones winning."""
        content, files = self._layers("methods", name, dataset)
        if any(overrides):
            files += " with the experiment's overrides"
        return read_as(MethodFile, merge(content, {"trainer": trainer}, *overrides), files)

    def data(self, name: str) -> DataFile:
        """A data set and its protocol."""
        path = self._file("data", name)
        content = read_as(DataFile, read_yaml(path), path)
        read_as(ClassSpec, content.data.get("source"), path, "data.source")
        for split in (content.protocol.train_split, *content.protocol.eval_splits):
            if split and split not in content.protocol.counts:
                raise ConfigError(
                    f"{path}: protocol.counts: no count for split {split!r}; add the number of its images"
                )
        return content

    def trainer(self, name: str) -> dict[str, Any]:
        """Arguments of the trainer."""
        path = self._file("trainer", name)
        return read_as(TrainerFile, read_yaml(path), path).trainer

    def refiner(self, name: str, dataset: str, trainer: dict[str, Any]) -> RefinerFile:
        """A refiner as it runs on `dataset`, its network, if any, with `trainer`."""
        content, files = self._layers("refine", name, dataset)
        if "network" in content:
            content = merge(content, {"network": {"trainer": trainer}})
        refiner = read_as(RefinerFile, content, files)
        if (refiner.network is None) != (refiner.affinity_labels is None):
            raise ConfigError(
                f"{files}: network and affinity_labels go together: the masks of the refiner `affinity_labels` are what `network` "
                "is trained on; give both or none"
            )
        return refiner

    def segmenter(self, name: str, dataset: str, trainer: dict[str, Any]) -> SegmenterFile:
        """A segmenter as it runs on `dataset`."""
        content, files = self._layers("segmenters", name, dataset)
        return read_as(SegmenterFile, merge(content, {"trainer": trainer}), files)

    def _layers(self, folder: str, name: str, dataset: str) -> tuple[dict[str, Any], str]:
        """The file and its overlay merged, and how to name them in a message."""
        path = self._file(folder, name)
        overlay = path.with_name(f"{name}.{self.data(dataset).protocol.overlay or dataset}.yaml")
        if not overlay.is_file():
            return read_yaml(path), str(path)
        return merge(read_yaml(path), read_yaml(overlay)), f"{path} with {overlay.name}"

    def _file(self, folder: str, name: str) -> Path:
        path = self.root / folder / f"{name}.yaml"
        if not path.is_file():
            known = sorted(found.stem for found in path.parent.glob("*.yaml") if "." not in found.stem)
            raise ConfigError(
                f"{path} does not exist; {nearest(name, known) if known else 'the folder has no YAML files'}"
            )
        return path
