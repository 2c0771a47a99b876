"""Pseudo labels from class maps and a saliency map, as MCIS and OAA make them.

Sun et al., ECCV 2020, https://arxiv.org/abs/2007.01947 (`gen_gt.py` of https://github.com/GuoleiSun/MCIS_wsss), with the
saliency maps that Jiang et al., ICCV 2019, https://github.com/PengtaoJiang/OAA-PyTorch, give out. The networks behind such
maps were trained on masks of salient objects, which makes them supervision: the table names them.

Departures: class maps are read in floating point, not in 256 levels.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from wsss_bench.artifacts.files import mask_path
from wsss_bench.readout import full_size_scores
from wsss_bench.refine.base import Refiner
from wsss_bench.types import IGNORE, ScoreMaps


class SaliencyRefiner(Refiner):
    """Class by argmax where the image is salient; 255 where maps and saliency disagree, unless every pixel is to be decided.

    Args:
        folder: Saliency maps `<id>.png`, 8 bit grey, 0..255, at the size of the images; environment variables are filled in.
        foreground: Scores below this are no evidence for a class, nor for background.
        conflict: A pixel with two scores above this is 255.
        attention: Background whose best class score is above this is 255.
        salient: Background of at least this saliency, of 255, is 255.
        smallest: An image with a smaller share of foreground is 255 as a whole.
        decide: Leave out the three rules that make 255: masks that can be scored, in place of published training labels.

    Raises:
        FileNotFoundError: no such folder.
    """

    def __init__(
        self,
        folder: str,
        foreground: float = 0.3,
        conflict: float = 0.99,
        attention: float = 0.95,
        salient: int = 32,
        smallest: float = 0.01,
        decide: bool = False,
    ) -> None:
        self.folder = Path(os.path.expandvars(folder)).expanduser()
        if not self.folder.is_dir():
            raise FileNotFoundError(
                f"no folder of saliency maps {self.folder}; name one with <id>.png for every image in "
                "refiner.init_args.folder (configs/refine/saliency.yaml), or use a refiner without saliency"
            )
        self.foreground = foreground
        self.conflict = conflict
        self.attention = attention
        self.salient = salient
        self.smallest = smallest
        self.decide = decide

    def missing_files(self, image_ids: Sequence[str]) -> list[Path]:
        paths = (mask_path(self.folder, image_id) for image_id in image_ids)
        return [path for path in paths if not path.is_file()]

    def __call__(self, image: np.ndarray, maps: ScoreMaps) -> np.ndarray:
        return self.label(full_size_scores(maps).astype(np.float64), maps.classes, self._saliency(maps))

    def label(self, scores: np.ndarray, classes: np.ndarray, saliency: np.ndarray) -> np.ndarray:
        """The published rule.

        Args:
            scores: `(K, H, W)` >= 0, of any scale; each map is stretched to [0, 1].
            classes: `(K,)` mask values, ascending.
            saliency: `(H, W)` uint8.

        Returns:
            `(H, W)` uint8 in {0..C, 255}.
        """
        low, high = (
            scores.min(axis=(1, 2), keepdims=True, initial=np.inf),
            scores.max(axis=(1, 2), keepdims=True, initial=0),
        )
        attention = (scores - low) / (high - low + 1e-8)
        evidence = np.concatenate([1 - saliency[None] / 255, attention])  # (1 + K, H, W), background first
        evidence[evidence < self.foreground] = 0
        best = evidence.argmax(axis=0)
        label = np.concatenate([[0], classes]).astype(np.uint8)[best]
        if self.decide:
            return label
        disputed = (evidence > self.conflict).sum(axis=0) > 1
        doubtful = (label == 0) & ((saliency >= self.salient) | (attention > self.attention).any(axis=0))
        label[disputed | doubtful] = IGNORE
        if ((label > 0) & (label < IGNORE)).mean() < self.smallest:
            label[:] = IGNORE
        return label

    def _saliency(self, maps: ScoreMaps) -> np.ndarray:
        path = mask_path(self.folder, maps.image_id)
        if not path.is_file():
            raise FileNotFoundError(
                f"no saliency map {path}; make one for every image of the split, or leave image {maps.image_id!r} out of it"
            )
        try:
            with Image.open(path) as file:
                mode, saliency = file.mode, np.asarray(file)
        except OSError as error:
            raise ValueError(f"saliency map {path} cannot be decoded ({error}); make it again") from error
        if mode != "L":  # the indices of a palette are no grey levels
            raise ValueError(f"saliency map {path} is a {mode} image; save it as 8 bit grey (L), 0..255")
        if saliency.shape != maps.size:
            raise ValueError(
                f"saliency map {path} is {saliency.shape} (height, width), its image is {maps.size}; make it from the "
                "image at its own size"
            )
        return saliency
