"""What each kind of YAML file of a benchmark holds, as dataclasses."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from wsss_bench.ranges import check_range, check_ranges

Extra = Literal[
    "clip", "saliency", "single_label_images", "web_images", "coco_masks", "imagenet_21k", "sam", "dino",
    "diffusion", "llm_text",
]  # fmt: skip
"""What a method was given beyond ImageNet weights and its supervision: pretrained models, data, annotations.

The values of the column `extra` of the table. The list is closed, so that rows with equal values are
comparable.
"""


@dataclass(frozen=True)
class ClassSpec:
    """A class and what it is built with."""

    class_path: str
    init_args: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class PublishedResult:
    """A published mIoU, compared with ours in the table.

    It is compared with the score of ours that was measured in the same way, and with no other. One that does
    not say how it was measured stands in the table without a gap.

    Args:
        dataset: Name of the data set in protocol ids.
        split: What it was measured on.
        product: What was scored.
        miou: In percent.
        source: Paper or repository.
        rule: Of seeds: how the background threshold was set.
        refiner: Of pseudo masks, and of a segmentation by a segmenter: the refiner that made the pseudo
            masks.
        segmenter: Of a segmentation by a segmenter: its name in `configs/segmenters`.
        readout: Of a segmentation: `ss-raw`, `ss-crf`, `ms-raw` or `ms-crf` where the authors measure as this
            suite does, else a name in `readouts` of the method or of the segmenter.
    """

    dataset: str
    split: str
    product: Literal["seed", "pseudo_mask", "segmentation"]
    miou: float
    source: str
    rule: Literal["fixed", "heldout", "oracle"] | None = None
    refiner: str | None = None
    segmenter: str | None = None
    readout: str | None = None

    def __post_init__(self) -> None:
        check_range("miou", self.miou, 0, 100)


@dataclass(frozen=True)
class Deviation:
    """How a method may deviate from a check of the contract, and why.

    Without `tolerance`, `precision` and `waits` the check is left out.

    Args:
        reason: Why; printed by `wsss-bench contract`.
        tolerance: Of `two_ranks`: largest difference between two ranks and one process, as a fraction of the
            step. 0.01 for others.
        precision: Of `two_ranks`: `trainer.precision` of the compared trainings. `32-true` for others.
        waits: Of `steps_do_not_wait_for_a_gpu` and `maps_do_not_wait_for_a_gpu`: how often a step, or the
            maps of a batch, may wait. 0 for others.
    """

    reason: str
    tolerance: float | None = None
    precision: Literal["32-true", "64-true"] | None = None
    waits: int | None = None

    def __post_init__(self) -> None:
        check_range("waits", self.waits, 1)
        check_range("tolerance", self.tolerance, above=0, below=1)
        if not self.reason.strip():
            raise ValueError("reason is empty; say why the method deviates from the contract")


@dataclass(frozen=True)
class MethodHints:
    """The `bench:` block of a method: what the plan and the table need to know about it.

    Args:
        pipeline: Which stages a cell of this method has. `multi_stage`: seeds, pseudo masks, a segmenter
            trained on them. `single_stage` and `zero_shot`: segmentations by the method itself, and
            its seeds if it has a threshold. `upper_bound`: segmentations only.
        supervision: The annotation that it is trained with; decides the track of its row.
        backbone: Column `backbone` of the table.
        trains: False for a method without a train stage.
        role: `method` competes; `floor` and `ceiling` are references, which the table names and the chart
            draws as lines. By default `ceiling` for pipeline `upper_bound`, and `method` for all others.
        extra: What it was given beyond ImageNet weights and its supervision.
        threshold: The fixed background threshold of its seeds, in [0, 1]; null for a method without seeds.
        warm_start: Another method, trained first on the same data with the same random seed; training starts
            from its weights.
        refine: Settings of refiners that differ for the seeds of this method, by name of the refiner, with
            the keys of its file. What is said for one data set (`irn.mini.yaml`, `clims.coco.yaml`) wins over
            what is said for all, and the method over the refiner.
        shares: Name of a frozen network, as in `model.init_args`. Methods without training that have the same
            one, and predict the same images under the same `inference`, are predicted in one process, which
            computes what they have in common once.
        remark: A note for readers of the table, in brackets behind the name of the row: `re-implementation`.
        paper: Published results.
        contract: Deviations from the contract, by name of the check (`wsss-bench contract`).
    """

    pipeline: Literal["multi_stage", "single_stage", "zero_shot", "upper_bound"]
    supervision: Literal["none", "image", "image+text", "caption", "mask"]
    backbone: str
    trains: bool = True
    role: Literal["floor", "ceiling", "method"] | None = None
    extra: list[Extra] = field(default_factory=list)
    threshold: float | None = None
    warm_start: str | None = None
    refine: dict[str, dict[str, Any]] = field(default_factory=dict)
    shares: str | None = None
    remark: str = ""
    paper: list[PublishedResult] = field(default_factory=list)
    contract: dict[str, Deviation] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_range("threshold", self.threshold, 0, 1)
        if self.supervision == "mask" and self.role in ("floor", "method"):
            raise ValueError(
                f"role is {self.role!r}, but supervision is 'mask'; set role: ceiling, since a method "
                "that learns from true masks is no competitor"
            )

    @property
    def reference(self) -> str:
        """`floor` or `ceiling` for a reference, else empty."""
        role = self.role or ("ceiling" if self.pipeline == "upper_bound" else "method")
        return "" if role == "method" else role

    @property
    def learns_from_captions(self) -> bool:
        """Whether `train_on` of an experiment says what the method is trained on."""
        return self.supervision == "caption"


@dataclass(frozen=True)
class MethodFile:
    """`configs/methods/<name>.yaml`.

    All keys but `bench` are passed on to the stages, which check them. `readouts` has the published read-outs
    of a segmentation by name (`published_readout.PublishedReadout`); those are made that a published result
    in `bench.paper` names.
    """

    model: ClassSpec
    bench: MethodHints
    data: dict[str, Any] = field(default_factory=dict)
    trainer: dict[str, Any] = field(default_factory=dict)
    inference: dict[str, Any] = field(default_factory=dict)
    readouts: dict[str, dict[str, Any]] = field(default_factory=dict)


@dataclass(frozen=True)
class Protocol:
    """What is scored on a data set, and how; the same for every method.

    Args:
        dataset: Name of the data set in protocol ids.
        counts: Number of images of each split; a split of another length is refused.
        train_split: Split whose seeds are made, with image labels given, and scored. Empty for a data set
            that is used for evaluation only or for training only.
        eval_splits: Splits that are predicted without image labels; methods are ranked on the first one.
            Empty for a data set that is used for training only.
        holdout: Number of images of `train_split` that the held-out threshold is chosen on.
        scales: Scales of the multi-scale read-out, which also flips and averages probabilities.
        crf: The CRF setting of the data set.
        prepare: Arguments of the `wsss-bench` command that makes the data; empty for data that the user
            downloads.
        unscored: Splits without masks: what is made of their images gets no score, and the table says so.
        ss_raw_only: Splits of `eval_splits` that are predicted at scale 1 without CRF only: methods are not
            ranked on them, and no table shows more.
        overlay: Data set whose overlays apply to this one; its own if empty.
    """

    dataset: str
    counts: dict[str, int]
    train_split: str = ""
    eval_splits: list[str] = field(default_factory=list)
    holdout: int = 0
    scales: list[float] = field(default_factory=lambda: [0.75, 1.0, 1.25])
    crf: dict[str, Any] = field(default_factory=dict)
    prepare: list[str] = field(default_factory=list)
    unscored: list[str] = field(default_factory=list)
    ss_raw_only: list[str] = field(default_factory=list)
    overlay: str = ""

    def __post_init__(self) -> None:
        for split, count in self.counts.items():
            check_range(f"counts.{split}", count, 1)
        check_range("holdout", self.holdout, 0)
        if self.holdout and self.holdout >= self.counts.get(self.train_split, self.holdout + 1):
            raise ValueError(
                f"holdout is {self.holdout}; expected fewer images than {self.train_split!r} has "
                f"({self.counts[self.train_split]}), since the others are scored"
            )
        check_ranges("scales", self.scales, above=0, most=16)
        if set(self.ss_raw_only) & set(self.eval_splits[:1]):
            raise ValueError(
                f"ss_raw_only has {self.eval_splits[0]!r}, on which methods are ranked; expected other "
                f"splits of eval_splits: {', '.join(self.eval_splits[1:]) or 'there are none'}"
            )


@dataclass(frozen=True)
class DataFile:
    """`configs/data/<name>.yaml`.

    Args:
        data: The class of the source, and further arguments of the data module, the same for every method.
        protocol: What is scored, and how.
    """

    data: dict[str, Any]
    protocol: Protocol

    @property
    def source(self) -> dict[str, Any]:
        """Class and arguments of the source."""
        source: dict[str, Any] = self.data["source"]
        return source

    @property
    def training_split(self) -> str:
        """The split that networks are trained on; it may hold more images than the one that is scored."""
        return str(self.data.get("train_split") or self.protocol.train_split or "train")


@dataclass(frozen=True)
class TrainerFile:
    """`configs/trainer/<name>.yaml`: Lightning's own arguments, the same for every method."""

    trainer: dict[str, Any]


@dataclass(frozen=True)
class NetworkSpec:
    """A network trained on masks: a segmenter, or the network of a refiner. `fit` checks its values."""

    model: ClassSpec
    data: dict[str, Any] = field(default_factory=dict)
    trainer: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class RefinerFile:
    """`configs/refine/<name>.yaml`: how pseudo masks are made from seeds.

    Args:
        refiner: The class; an init argument `threshold: null` takes the fixed threshold of the method.
        affinity_labels: Another refiner; `network` is trained on its masks.
        network: The network of a refiner that trains one (IRNet, AffinityNet).
        requires: Modules that must be installed. If one is not, the cells of this refiner say so in the
            table, and everything else runs.
        uses_gpu: Whether the class computes on a GPU (its attribute of this name), so that the bench gives it
            one where the trainer has one.
        scored: False for masks that hold 255 (undecided pixels): a segmenter can be trained on them, but they
            are not a prediction.
        extra: What the masks were made with beyond the seeds, for the column `extra` of these masks and of a
            segmenter trained on them.
    """

    refiner: ClassSpec
    affinity_labels: ClassSpec | None = None
    network: NetworkSpec | None = None
    requires: list[str] = field(default_factory=list)
    uses_gpu: bool = False
    scored: bool = True
    extra: list[Extra] = field(default_factory=list)


@dataclass(frozen=True)
class SegmenterHints:
    """The `bench:` block of a segmenter.

    Args:
        backbone: For the table.
        extra: What it was given beyond ImageNet weights, for the column `extra`.
    """

    backbone: str
    extra: list[Extra] = field(default_factory=list)


@dataclass(frozen=True)
class SegmenterFile(NetworkSpec):
    """`configs/segmenters/<name>.yaml`: the network trained on the pseudo masks of multi-stage methods.

    `readouts` as in `MethodFile`.
    """

    inference: dict[str, Any] = field(default_factory=dict)
    readouts: dict[str, dict[str, Any]] = field(default_factory=dict)
    bench: SegmenterHints = field(kw_only=True)


@dataclass(frozen=True)
class Variant:
    """An ablation: a method with some values changed, in a row of its own.

    Args:
        method: Name of the method.
        override: The changed values.
        same_training: The changed values affect prediction only, so the row uses the train stage of the
            method.
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
        train_on: Another of these names, with captions: methods that learn from captions are trained on it
            once and scored on all of `data`. All others, and with null these too, are trained on each data
            set that is scored.
        random_seeds: Every method that trains runs once for each.
        refiners: Names of `configs/refine`, applied to the seeds of multi-stage methods.
        pseudo_masks: The one of `refiners` on whose masks the segmenter is trained.
        segmenter: Name in `configs/segmenters`; null ends multi-stage methods at their pseudo masks.
        trainer: Name in `configs/trainer`.
        jobs: Number of stages that run at a time, on cores and on GPUs each; null for one per core, or one
            per GPU.
        override: Values to change, by method.
        variants: Ablation rows, by name of the row.
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

    def __post_init__(self) -> None:
        check_range("jobs", self.jobs, 1)
        check_ranges("random_seeds", self.random_seeds, 0, 2**32 - 1, empty=True)
