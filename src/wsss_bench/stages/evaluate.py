"""The evaluate stage: `wsss-bench evaluate --config FILE` scores seeds or masks under a protocol.

Every reported score is made here, without torch, whose import takes longer than scoring VOC val and more
memory than all images of COCO. It also scores any folder of indexed PNGs:
`wsss-bench evaluate --masks DIR --source.class_path ... --split val` prints the scores, and writes them where
`--out` is given.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any, Literal

from wsss_bench.artifacts.data_reads import data_reads
from wsss_bench.artifacts.metrics import CONFUSIONS, PANELS, Metrics, write_metrics
from wsss_bench.artifacts.run import StageInfo, StageRun, open_stage
from wsss_bench.data.listing import checked_digests
from wsss_bench.data.sources.base import Source
from wsss_bench.data.sources.class_lists import check_class_names
from wsss_bench.metrics.per_image import ConfusionWriter
from wsss_bench.ranges import check_range
from wsss_bench.stages.panels import examples, write_panels
from wsss_bench.stages.parser import BY_HAND, FunctionParser, Instantiators
from wsss_bench.stages.plausible import check_numbering, check_truth
from wsss_bench.stages.protocol import EvaluationProtocol
from wsss_bench.stages.score_table import score_table
from wsss_bench.stages.scored_files import ScoredFiles, ScoredMasks, ScoredSeeds
from wsss_bench.tracking.evaluation import log_evaluation


def evaluate(
    source: Source,
    split: str,
    seeds: Path | None = None,
    masks: Path | None = None,
    crf_masks: Path | None = None,
    dataset: str | None = None,
    product: Literal["seed", "pseudo_mask", "segmentation"] | None = None,
    image_labels: Literal["given", "none"] = "none",
    scales: Literal["ss", "ms"] = "ss",
    post: str = "raw",
    threshold: float | None = None,
    holdout: int = 0,
    count: int | None = None,
    checkpoint_rule: str = "last",
    out: Path | None = None,
    stage: StageInfo = BY_HAND,
    *,
    resolved: dict[str, Any],
) -> None:
    """Score the seeds or the masks of one split.

    Args:
        source: Where the ground truth is.
        split: Split to score, always as a whole.
        seeds: Seed stage, or a folder of seed files. Give this or `masks`.
        masks: Refine or predict stage, or a folder of indexed PNGs.
        crf_masks: crf stage of the same prediction, whose masks are scored too.
        dataset: Name of the data set in the protocol id; the class of the source if absent.
        product: What is scored; by default seed for seeds, segmentation for masks.
        image_labels: Whether image labels were given when it was made.
        scales: Single or multi-scale; the read-outs of a predict stage are named after their own.
        post: Post-processing: raw, crf or the name of a refiner; the read-outs of a predict stage are named
            after their own.
        threshold: Fixed background threshold of seeds in [0, 1]; required with seeds, meaningless with masks.
        holdout: Images that the `heldout` threshold is chosen on and that its score leaves out; 0 gives no
            such score.
        count: Number of images that the split must have; anything else is refused.
        checkpoint_rule: How the checkpoint was chosen.
        out: Stage folder to write: metrics.json, confusions.npz, panels.png. Only prints if absent.
        stage: What the plan records about the stage.
        resolved: These options, for the manifest.
    """
    _check_options(seeds, masks, crf_masks, threshold)
    check_class_names(source.class_names, f"class_names of {type(source).__name__}")
    ids = _ids_of(source, split, count, holdout)
    name = dataset or type(source).__name__.lower()
    protocol = EvaluationProtocol(name, split, image_labels, scales, post, checkpoint_rule)
    opened: AbstractContextManager[StageRun | None] = nullcontext()
    if out is not None:
        data = checked_digests(source, data_reads("evaluate", resolved), stage.data, out)
        opened = open_stage(out, "evaluate", resolved, stage, data)
    with opened as run:
        files: ScoredFiles
        if seeds is not None and threshold is not None:
            files = ScoredSeeds(seeds, threshold, holdout, protocol.readout)
        else:
            assert masks is not None
            files = ScoredMasks(masks, protocol.readout, crf_masks)
        files.require_files_of(ids, split)
        on_progress = partial(run.progress, unit="images") if run is not None else _no_progress
        with ConfusionWriter(files.n_rows, out) as writer:
            scores, curve = files.score(source, ids, writer, on_progress)
            matrix = scores[0].matrix
            check_truth(matrix, source, ids, split)
            check_numbering(matrix, source.class_names)
            rows = tuple(protocol.row(score, source) for score in scores)
            kind = product or files.product
            metrics = Metrics(name, split, kind, tuple(source.class_names), rows, curve)
            if run is not None:
                write_metrics(run.path, metrics)
                writer.save(run.path / CONFUSIONS, ids)
                shown = examples(source, ids, files.mask)
                write_panels(run.path / PANELS, shown)
                log_evaluation(run.path, stage, resolved, metrics, shown)
                run.record(image_count=len(ids))
    print(score_table(metrics), flush=True)


def _check_options(
    seeds: Path | None, masks: Path | None, crf_masks: Path | None, threshold: float | None
) -> None:
    if (seeds is None) == (masks is None):
        raise ValueError("evaluate takes either seeds or masks; give exactly one of --seeds and --masks")
    if seeds is not None and crf_masks is not None:
        raise ValueError("crf_masks are made of predicted masks; leave out --crf_masks, or give --masks")
    if seeds is not None and threshold is None:
        raise ValueError("seeds need --threshold, the fixed background threshold that ranks them, in [0, 1]")
    if seeds is None and threshold is not None:
        raise ValueError("masks have no background threshold; leave out --threshold")
    check_range("threshold", threshold, 0, 1)


def _ids_of(source: Source, split: str, count: int | None, holdout: int) -> list[str]:
    """All images of a split.

    Raises:
        ValueError: there are none, not as many as the protocol says, or no more than are held out.
    """
    ids = source.ids(split)
    if not ids:
        raise ValueError(
            f"split {split!r} is empty; there is nothing to score. Choose another split or fill it"
        )
    if count is not None and len(ids) != count:
        raise ValueError(
            f"split {split!r} has {len(ids)} images, the protocol says {count}; "
            "restore the published list, or change protocol.counts for another protocol"
        )
    check_range(f"holdout (of the {len(ids)} images of split {split!r})", holdout, 0, below=len(ids))
    return ids


def _no_progress(done: int, total: int) -> None:
    """Progress is reported only for a stage that has a folder."""


def parse(config: dict[str, Any]) -> None:
    """Check the configuration of a stage without building anything."""
    FunctionParser(evaluate).parse(config)


def try_out(config: dict[str, Any], instantiators: Instantiators) -> None:
    """Build what the stage needs and check what can be known before it runs."""
    built = FunctionParser(evaluate).build(config, instantiators)
    _check_options(built.seeds, built.masks, built.crf_masks, built.threshold)
    _ids_of(built.source, built.split, built.count, built.holdout)


def main(argv: list[str]) -> int:
    """Score one split; see `wsss-bench evaluate --help`."""
    FunctionParser(evaluate).run(argv)
    return 0
