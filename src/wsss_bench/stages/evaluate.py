"""The evaluate stage: `wsss-bench evaluate --config FILE` scores seeds or masks under a protocol.

Every reported score is made here. It also scores any folder of indexed PNGs:
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
from wsss_bench.metrics.per_image import ConfusionWriter
from wsss_bench.stages.panels import write_panels
from wsss_bench.stages.parser import BY_HAND, FunctionParser
from wsss_bench.stages.protocol import EvaluationProtocol
from wsss_bench.stages.score import OnProgress
from wsss_bench.stages.score_table import score_table
from wsss_bench.stages.scored_files import ScoredFiles, ScoredMasks, ScoredSeeds
from wsss_bench.tracking import log_evaluation


def evaluate(
    source: Source,
    split: str,
    seeds: Path | None = None,
    masks: Path | None = None,
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
    _check_options(seeds, masks, threshold)
    ids = _ids_of(source, split, count)
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
            files = ScoredMasks(masks, protocol.readout)
        files.require_files_of(ids, split)
        on_progress: OnProgress = partial(run.progress, unit="images") if run is not None else _no_progress
        with ConfusionWriter(files.n_rows, out) as writer:
            scores, curve = files.score(source, ids, writer, on_progress)
            rows = tuple(protocol.row(score, source) for score in scores)
            kind = product or files.product
            metrics = Metrics(name, split, kind, tuple(source.class_names), rows, curve)
            if run is not None:
                write_metrics(run.path, metrics)
                writer.save(run.path / CONFUSIONS, ids)
                write_panels(run.path / PANELS, source, ids, files.mask)
                log_evaluation(run.path, stage, resolved, metrics)
                run.record(image_count=len(ids))
    print(score_table(metrics), flush=True)


def _check_options(seeds: Path | None, masks: Path | None, threshold: float | None) -> None:
    if (seeds is None) == (masks is None):
        raise ValueError("evaluate takes either seeds or masks; give exactly one of --seeds and --masks")
    if seeds is not None and threshold is None:
        raise ValueError("seeds need --threshold, the fixed background threshold that ranks them, in [0, 1]")
    if seeds is None and threshold is not None:
        raise ValueError("masks have no background threshold; leave out --threshold")


def _ids_of(source: Source, split: str, count: int | None) -> list[str]:
    """All images of a split; `ValueError` if there are none, or not as many as the protocol says."""
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
    return ids


def _no_progress(done: int, total: int) -> None:
    """Progress is reported only for a stage that has a folder."""


def parse(config: dict[str, Any]) -> None:
    """Check the configuration of a stage without building anything."""
    FunctionParser(evaluate).check(config)


def main(argv: list[str]) -> int:
    """Score one split; see `wsss-bench evaluate --help`."""
    FunctionParser(evaluate).run(argv)
    return 0
