"""Pseudo labels from seeds and a saliency map, as MCIS and OAA make them.

Sun et al., "Mining Cross-Image Semantics for Weakly Supervised Semantic Segmentation", ECCV 2020,
https://arxiv.org/abs/2007.01947 (`gen_gt.py` of https://github.com/GuoleiSun/MCIS_wsss), with the saliency
maps published with Jiang et al., ICCV 2019, https://github.com/PengtaoJiang/OAA-PyTorch. The networks that
predict such saliency maps were trained on masks of salient objects. This is additional supervision, which the
table shows in the column `extra`.

Departure: class maps are read in floating point; the authors' code rounds them to 256 levels.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from wsss_bench.artifacts.files import mask_path
from wsss_bench.ranges import check_range
from wsss_bench.readout import full_size_scores
from wsss_bench.refine.base import Refiner
from wsss_bench.types import IGNORE, ScoreMaps
from wsss_bench.variables import expand_variables


class SaliencyRefiner(Refiner):
    """Argmax over the class scores and the background score 1 - saliency; 255 where the two are
    contradictory.

    Args:
        folder: Saliency maps `<id>.png`, 8 bit grey, 0..255, at the size of the images. Environment variables
            are expanded.
        score_threshold: Scores below this, in [0, 1], are set to 0; for classes and for background.
        conflict_threshold: A pixel with two scores above this becomes 255.
        background_score_limit: A background pixel with a class score above this becomes 255.
        background_saliency_limit: A background pixel with this saliency or more, of 255, becomes 255.
        min_foreground: An image with a smaller share of foreground pixels becomes 255 everywhere.
        no_ignore: Leave out the three rules that set 255. The masks can then be scored, but are not the
            published training labels.

    Raises:
        FileNotFoundError: the folder does not exist.
    """

    seed_parts = ("scores",)

    def __init__(
        self,
        folder: str,
        score_threshold: float = 0.3,
        conflict_threshold: float = 0.99,
        background_score_limit: float = 0.95,
        background_saliency_limit: int = 32,
        min_foreground: float = 0.01,
        no_ignore: bool = False,
    ) -> None:
        for name, value in (
            ("score_threshold", score_threshold),
            ("conflict_threshold", conflict_threshold),
            ("background_score_limit", background_score_limit),
            ("min_foreground", min_foreground),
        ):
            check_range(f"refiner.init_args.{name}", value, 0, 1)
        check_range("refiner.init_args.background_saliency_limit", background_saliency_limit, 0, 255)
        self.folder = Path(expand_variables(folder)).expanduser()
        if not self.folder.is_dir():
            raise FileNotFoundError(
                f"no folder of saliency maps {self.folder}; name one with <id>.png for every image in "
                "refiner.init_args.folder (configs/refine/saliency.yaml), or use a refiner without saliency"
            )
        self.score_threshold = score_threshold
        self.conflict_threshold = conflict_threshold
        self.background_score_limit = background_score_limit
        self.background_saliency_limit = background_saliency_limit
        self.min_foreground = min_foreground
        self.no_ignore = no_ignore

    def missing_files(self, image_ids: Sequence[str]) -> list[Path]:
        paths = (mask_path(self.folder, image_id) for image_id in image_ids)
        return [path for path in paths if not path.is_file()]

    def __call__(self, image: np.ndarray, maps: ScoreMaps) -> np.ndarray:
        return self.label(full_size_scores(maps).astype(np.float64), maps.classes, self._saliency(maps))

    def label(self, scores: np.ndarray, classes: np.ndarray, saliency: np.ndarray) -> np.ndarray:
        """Make the mask of one image by the published rule.

        Args:
            scores: `(K, H, W)` >= 0, in any range; each map is scaled to [0, 1].
            classes: `(K,)` mask values in {1..C}, ascending.
            saliency: `(H, W)` uint8.

        Returns:
            `(H, W)` uint8 in {0..C, 255}.
        """
        low, high = (
            scores.min(axis=(1, 2), keepdims=True, initial=np.inf),
            scores.max(axis=(1, 2), keepdims=True, initial=0),
        )
        class_scores = (scores - low) / (high - low + 1e-8)
        all_scores = np.concatenate(
            [1 - saliency[None] / 255, class_scores]
        )  # (1 + K, H, W), background first
        all_scores[all_scores < self.score_threshold] = 0
        best = all_scores.argmax(axis=0)
        mask = np.concatenate([[0], classes]).astype(np.uint8)[best]
        if self.no_ignore:
            return mask
        conflict = (all_scores > self.conflict_threshold).sum(axis=0) > 1
        salient = saliency >= self.background_saliency_limit
        activated = (class_scores > self.background_score_limit).any(axis=0)
        mask[conflict | ((mask == 0) & (salient | activated))] = IGNORE
        if ((mask > 0) & (mask < IGNORE)).mean() < self.min_foreground:
            mask[:] = IGNORE
        return mask

    def _saliency(self, maps: ScoreMaps) -> np.ndarray:
        """Read the `(H, W)` uint8 saliency map of an image."""
        path = mask_path(self.folder, maps.image_id)
        if not path.is_file():
            raise FileNotFoundError(
                f"no saliency map {path}; make one for every image of the split, "
                f"or leave image {maps.image_id!r} out of it"
            )
        try:
            with Image.open(path) as file:
                mode, saliency = file.mode, np.asarray(file)
        except OSError as error:
            raise ValueError(f"saliency map {path} cannot be decoded ({error}); make it again") from error
        # the indices of a palette (mode P) are not grey levels
        if mode != "L":
            raise ValueError(f"saliency map {path} is a {mode} image; save it as 8 bit grey (L), 0..255")
        if saliency.shape != maps.size:
            raise ValueError(
                f"saliency map {path} is {saliency.shape} (height, width), its image is {maps.size}; "
                "make it from the image at its own size"
            )
        return saliency
