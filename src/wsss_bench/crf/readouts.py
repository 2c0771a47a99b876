"""Masks with CRF of an image, from the probabilities of its read-outs on disk."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from wsss_bench.artifacts.files import write_mask
from wsss_bench.artifacts.probabilities import LEAST, read_probabilities
from wsss_bench.crf.densecrf import CRFConfig, ImageCRF


@dataclass(frozen=True)
class ReadoutCRF:
    """The CRF of a read-out, and the image that it takes.

    Args:
        crf: Kernels and iterations.
        crf_subtract: Colour, RGB in 0..255, that the authors' code subtracts from the image of the CRF before
            it casts it to uint8, where negative values wrap around (deeplab-pytorch). None: the raw image.

    Raises:
        ValueError: `crf.floor` is below the least probability that is told from 0.
    """

    crf: CRFConfig
    crf_subtract: tuple[float, float, float] | None = None

    def __post_init__(self) -> None:
        if self.crf.floor < LEAST:
            raise ValueError(
                f"crf.floor is {self.crf.floor}, but probabilities below {LEAST} are not stored; set it to "
                f"{LEAST} or more"
            )

    def image(self, image: np.ndarray) -> np.ndarray:
        """The `(H, W, 3)` uint8 image that the CRF is given."""
        if self.crf_subtract is None:
            return image
        shifted = image.astype(np.float32) - np.array(self.crf_subtract, np.float32)
        return shifted.astype(np.int32).astype(np.uint8)  # towards zero, then modulo 256, as on x86


class MadeMasks(NamedTuple):
    """The masks with CRF that are made of one prediction.

    Args:
        probabilities: Folder of the probabilities.
        masks: Folder of a folder of masks for each read-out.
        readouts: Name in the probabilities, name of the folder of masks, and CRF, of each read-out.
    """

    probabilities: Path
    masks: Path
    readouts: Sequence[tuple[str, str, ReadoutCRF]]


def write_masks_with_crf(image: np.ndarray, image_id: str, predictions: Sequence[MadeMasks]) -> None:
    """Write the masks of an image. The kernels of a CRF are made once for all read-outs that have the same.

    Args:
        image: `(H, W, 3)` uint8.
        image_id: Id of the image.
        predictions: What is made of it.

    Raises:
        FileNotFoundError, ValueError: there are no probabilities, or they are damaged or of another size.
    """
    crfs: dict[ReadoutCRF, ImageCRF] = {}
    for prediction in predictions:
        names = [name for name, _, _ in prediction.readouts]
        stored = read_probabilities(prediction.probabilities, image_id, names)
        for name, folder, settings in prediction.readouts:
            if settings not in crfs:
                crfs[settings] = ImageCRF(settings.image(image), settings.crf)
            best = crfs[settings].from_probabilities(stored[name].probabilities()).argmax(axis=0)
            write_mask(prediction.masks / folder, image_id, stored[name].labels[best])
