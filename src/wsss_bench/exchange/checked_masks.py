"""Folders of masks: which one of a stage is meant, and whether a mask fits its image and the data set."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from wsss_bench.artifacts.files import mask_path, read_mask
from wsss_bench.artifacts.layout import mask_folders, readout_folder
from wsss_bench.data.sources.base import Source, unknown_values
from wsss_bench.types import IGNORE


def one_folder(masks: Path, readout: str | None = None) -> Path:
    """The folder of `<image id>.png` files of a stage, or `masks` itself if it is one.

    Args:
        masks: Stage or folder.
        readout: Name of the folder, where a predict or crf stage has several.

    Raises:
        FileNotFoundError: `masks` is no folder.
        ValueError: several folders and no name, or a name that is not there.
    """
    folders = mask_folders(masks, ("ss", "raw"))
    named = {readout_folder(*key): folder for key, folder in folders.items()}
    if readout is None and len(named) == 1:
        return next(iter(named.values()))
    if readout not in named:
        raise ValueError(
            f"{masks} has {'no read-out ' + repr(readout) if readout else 'several read-outs'}; name one of "
            f"{', '.join(named)} with --readout (those with CRF are in the crf stage of a prediction)"
        )
    return named[readout]


def read_fitting_mask(folder: Path, image_id: str, source: Source) -> np.ndarray:
    """The mask `(H, W)` uint8 of an image, in {0..C, 255}.

    Raises:
        ValueError: another size than that of the image, or other values.
    """
    path = mask_path(folder, image_id)
    mask = read_mask(path)
    size = source.image(image_id).shape[:2]
    if mask.shape != size:
        raise ValueError(
            f"mask {path} is {mask.shape[0]}x{mask.shape[1]} (height x width), the image {image_id!r} is "
            f"{size[0]}x{size[1]}; make it again at the size of the image"
        )
    if unknown := unknown_values(mask, len(source.class_names)):
        raise ValueError(
            f"mask {path} holds the values {unknown}; expected 0 (background), 1..{len(source.class_names)} "
            f"(classes) and {IGNORE} (ignored). Does it belong to another data set?"
        )
    return mask
