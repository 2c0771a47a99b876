"""The evaluate stage: `wsss-bench evaluate --config FILE` scores seeds or masks under a protocol.

The only source of a reported figure. Also scores any folder of indexed PNGs:
`wsss-bench evaluate --masks DIR --source.class_path ... --split val` prints the figures, and writes them
where `--out` is given.
"""

from __future__ import annotations

from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any, Literal

from wsss_bench.artifacts.files import mask_path, read_mask, read_seed, seed_path, write_json
from wsss_bench.artifacts.layout import mask_folders, require_files, seed_folder
from wsss_bench.artifacts.run import StageInfo, open_stage
from wsss_bench.data.sources.base import Source
from wsss_bench.metrics.per_image import ConfusionWriter
from wsss_bench.readout import threshold_mask
from wsss_bench.stages.panels import write_panels
from wsss_bench.stages.parser import BY_HAND, FunctionParser
from wsss_bench.stages.score import Figure, score_masks, score_seeds
from wsss_bench.tracking import log_evaluation

PANELS = 8


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
        scales: Single or multi-scale; a predict stage says it for each of its read-outs.
        post: Post-processing: raw, crf or the name of a refiner; a predict stage says it for each of its
            read-outs.
        threshold: Fixed background threshold of seeds in [0, 1]; required with seeds, meaningless with masks.
        holdout: Images that the `heldout` threshold is chosen on and that its figure leaves out; 0 gives no
            such figure.
        count: Number of images that the split must have; anything else is refused.
        checkpoint_rule: How the checkpoint was chosen.
        out: Stage folder to write: metrics.json, confusions.npz, panels.png. Only prints if absent.
        stage: What the plan knows of the stage.
        resolved: These options, for the manifest.
    """
    if (seeds is None) == (masks is None):
        raise ValueError("evaluate takes either seeds or masks; give exactly one of --seeds and --masks")
    if (seeds is None) != (threshold is None):
        raise ValueError(
            "seeds need --threshold, the fixed background threshold that ranks them, in [0, 1]"
            if seeds is not None
            else "masks have no background threshold; leave out --threshold"
        )
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
    head = {"dataset": dataset or type(source).__name__.lower(), "split": split}
    with open_stage(out, "evaluate", resolved, stage) if out is not None else nullcontext() as run:
        tell = partial(run.progress, unit="images") if run is not None else lambda done, total: None
        curve = None
        if seeds is not None and threshold is not None:
            folder = seed_folder(seeds)
            absent = [image_id for image_id in ids if not seed_path(folder, image_id).is_file()]
            require_files(absent, "seed", folder, split)
            writer = ConfusionWriter(3 if holdout else 2, out)
        else:
            assert masks is not None
            folders = mask_folders(masks, (scales, post))
            for folder in folders.values():
                absent = [image_id for image_id in ids if not mask_path(folder, image_id).is_file()]
                require_files(absent, "mask", folder, split)
            headline = ("ss", "raw") if ("ss", "raw") in folders else next(iter(folders))
            folder = folders[headline]
            writer = ConfusionWriter(len(folders), out)
        with writer:
            if threshold is not None:
                figures, curve = score_seeds(
                    source, ids, folder, threshold, holdout, scales, post, writer, tell
                )
            else:
                figures = score_masks(source, ids, folders, headline, writer, tell)
            names = ("background", *source.class_names)
            rows = [describe(figure, head, image_labels, checkpoint_rule, names) for figure in figures]
            if run is not None:
                kind = product or ("seed" if seeds is not None else "segmentation")
                content = {
                    **head,
                    "product": kind,
                    "class_names": list(source.class_names),
                    "figures": rows,
                    "curve": curve,
                }
                write_json(run.path / "metrics.json", content)
                writer.save(run.path / "confusions.npz", ids)
                write_panels(run.path / "panels.png", panel_rows(source, ids, folder, threshold))
                log_evaluation(run.path, stage, resolved, content)
                run.record(image_count=len(ids))
    print(table(rows, names), flush=True)


def describe(
    figure: Figure, head: dict[str, str], image_labels: str, checkpoint_rule: str, names: tuple[str, ...]
) -> dict[str, Any]:
    """A figure as metrics.json holds it, with its protocol id."""
    values = figure.values()
    known = list(zip(names, values["iou"], strict=True))[0 if figure.background else 1 :]
    protocol = (
        f"{head['dataset']}-{head['split']}/n{figure.n_images}/labels-{image_labels}/{figure.scales}/{figure.post}/"
        f"{figure.threshold_id}/{checkpoint_rule}"
    )
    return {
        "protocol": protocol,
        "image_labels": image_labels,
        "scales": figure.scales,
        "post": figure.post,
        "rule": figure.rule,
        "threshold": figure.threshold,
        "checkpoint": checkpoint_rule,
        "n_images": figure.n_images,
        **values,
        "absent": [name for name, value in known if value is None],
        "headline": figure.headline,
    }


def panel_rows(source: Source, ids: list[str], folder: Path, threshold: float | None) -> list[Any]:
    """Image, truth and headline prediction of up to eight images, evenly spread over the split."""
    rows = []
    for image_id in ids[:: -(-len(ids) // PANELS)]:
        if threshold is not None:
            prediction = threshold_mask(read_seed(folder, image_id), threshold)
        else:
            prediction = read_mask(mask_path(folder, image_id))
        rows.append((source.image(image_id), source.mask(image_id), prediction))
    return rows


def table(rows: list[dict[str, Any]], names: tuple[str, ...]) -> str:
    """IoU per class, a column for each figure, and a line for each protocol id; in percent."""

    def percent(value: float | None) -> str:
        return f"{'-' if value is None else f'{100 * value:.2f}':>14}"

    first = max(len("FN background"), *(len(name) for name in names))
    titles = [row["rule"] if row["rule"] != "na" else f"{row['scales']}-{row['post']}" for row in rows]
    lines = [" " * first + "".join(f"{title:>14}" for title in titles)]
    for index, name in enumerate(names):
        lines.append(f"{name:<{first}}" + "".join(percent(row["iou"][index]) for row in rows))
    for name, key in (
        ("FP background", "false_positive_background"),
        ("FN background", "false_negative_background"),
    ):
        lines.append(f"{name:<{first}}" + "".join(percent(row[key]) for row in rows))
    lines.append(f"{'mIoU':<{first}}" + "".join(percent(row["miou"]) for row in rows))
    for row in rows:
        chosen = f" (t = {row['threshold']:.2f})" if row["rule"] in ("heldout", "oracle") else ""
        lines.append(
            f"{row['protocol']}: mIoU {percent(row['miou']).strip()}{chosen}"
            + (" *" if row["headline"] else "")
        )
    return "\n".join(lines)


def parse(config: dict[str, Any]) -> None:
    """Check the configuration of a stage without building anything."""
    FunctionParser(evaluate).check(config)


def main(argv: list[str]) -> int:
    """Score one split; see `wsss-bench evaluate --help`."""
    FunctionParser(evaluate).run(argv)
    return 0
