"""`wsss-bench import masks`: pseudo masks of another repository become a stage that a segmenter trains on."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from wsss_bench.artifacts.files import file_names, mask_path, write_mask
from wsss_bench.artifacts.layout import MASKS, require_files
from wsss_bench.data.sources.base import Source
from wsss_bench.exchange.checked_masks import read_fitting_mask
from wsss_bench.exchange.imported_stage import imported_stage


def import_masks(source: Source, split: str, masks: Path, out: Path, config: Mapping[str, Any]) -> None:
    """Write the masks of a split, indexed or grey, as those of a stage.

    Args:
        source: The data set; its images are read.
        split: The split; each of its images must have a mask.
        masks: Folder of `<image id>.png`.
        out: Stage folder to write: `masks/<image id>.png`.
        config: What the manifest records.

    Raises:
        FileNotFoundError: images without a mask.
        ValueError: a mask in colours, of another size than its image, or with values that are no class.
    """
    ids = source.ids(split)
    names = file_names(masks)
    require_files([image_id for image_id in ids if f"{image_id}.png" not in names], "mask", masks, split)
    files = [mask_path(masks, image_id) for image_id in ids]
    with imported_stage(out, config, source, split, ("images",), masks, files) as progress:
        for image_id in progress(ids):
            write_mask(out / MASKS, image_id, read_fitting_mask(masks, image_id, source))
