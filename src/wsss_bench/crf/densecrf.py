"""x"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from wsss_bench.artifacts.files import write_mask
from wsss_bench.crf.pool import ImagePool

SMALLEST_PROBABILITY = 1e-5
"""Probabilities are raised to this before the logarithm, as in `pydensecrf.utils.unary_from_softmax`."""


@dataclass(frozen=True)
class CRFConfig:
    """Kernels and iterations; the defaults are those of DeepLabV2, CLIP-ES and ExCEL on 500 pixel images.

    Args:
        gaussian_sxy: Width of the smoothness kernel in pixels.
        gaussian_compat: Its weight.
        bilateral_sxy: Width of the appearance kernel in pixels.
        bilateral_srgb: Width of the appearance kernel in grey levels of 0..255.
        bilateral_compat: Its weight.
        iterations: Mean field steps.
    """

    gaussian_sxy: float = 1
    gaussian_compat: float = 3
    bilateral_sxy: float = 67
    bilateral_srgb: float = 3
    bilateral_compat: float = 4
    iterations: int = 10

    def __post_init__(self) -> None:
        if min(self.gaussian_sxy, self.bilateral_sxy, self.bilateral_srgb) <= 0 or self.iterations < 0:
            raise ValueError(f"CRF kernel widths are positive and iterations >= 0, got {self}")


IRN_LABELS = CRFConfig(3, 3, 50, 5, 10, 10)
"""IRN's and CLIMS' CRF for pseudo labels."""


def available() -> bool:
    """Whether the extension is installed."""
    return find_spec("pydensecrf") is not None


def require_crf() -> None:
    """Raise `ValueError` where the extension is missing."""
    if not available():
        raise ValueError(
            "the CRF needs the module pydensecrf, which is not installed; "
            "`make crf` builds it (a C++ compiler, Python 3.10 to 3.12)"
        )


def crf_inference(image: np.ndarray, probabilities: np.ndarray, config: CRFConfig) -> np.ndarray:
    """Mean field inference from class probabilities (the CRF of DeepLab and of PSA).

    Args:
        image: `(H, W, 3)` uint8 RGB.
        probabilities: `(K, H, W)` float32 in [0, 1]; the unary is -log p. The sum over K need not be 1.
        config: Kernels and iterations.

    Returns:
        `(K, H, W)` float32 probabilities.
    """
    _check(image, probabilities.shape[1:])
    unary = -np.log(np.clip(probabilities, SMALLEST_PROBABILITY, 1.0))
    return _mean_field(image, unary, config)


def crf_hard_labels(
    image: np.ndarray, labels: np.ndarray, num_labels: int, config: CRFConfig, confidence: float = 0.7
) -> np.ndarray:
    """Mean field inference from a label map, each pixel trusted alike (IRN, `crf_inference_label`).

    Args:
        image: `(H, W, 3)` uint8 RGB.
        labels: `(H, W)` integers in {0..K-1}; 0 is a label, not "unknown".
        num_labels: K, the classes of the image and background.
        config: Kernels and iterations; IRN uses (3, 3) / (50, 5, 10), 10 iterations.
        confidence: Probability of the given label; the others share the rest.

    Returns:
        `(H, W)` int64 labels.
    """
    _check(image, labels.shape)
    if labels.min() < 0 or labels.max() >= num_labels:
        raise ValueError(f"labels go from {labels.min()} to {labels.max()}; expected 0..{num_labels - 1}")
    if num_labels == 1:
        return np.zeros(labels.shape, np.int64)
    given = np.arange(num_labels)[:, None, None] == labels  # (K, H, W)
    unary = np.where(given, -np.log(confidence), -np.log((1 - confidence) / (num_labels - 1)))
    return _mean_field(image, unary, config).argmax(axis=0)


def _mean_field(image: np.ndarray, unary: np.ndarray, config: CRFConfig) -> np.ndarray:
    require_crf()
    from pydensecrf.densecrf import DenseCRF2D

    labels, height, width = unary.shape
    if labels == 1:
        return np.ones(unary.shape, np.float32)
    crf = DenseCRF2D(width, height, labels)
    crf.setUnaryEnergy(np.ascontiguousarray(unary.reshape(labels, -1), np.float32))
    crf.addPairwiseGaussian(sxy=config.gaussian_sxy, compat=config.gaussian_compat)
    crf.addPairwiseBilateral(
        sxy=config.bilateral_sxy,
        srgb=config.bilateral_srgb,
        rgbim=np.ascontiguousarray(image),
        compat=config.bilateral_compat,
    )
    return np.array(crf.inference(config.iterations), np.float32).reshape(unary.shape)


def _check(image: np.ndarray, size: tuple[int, ...]) -> None:
    if image.dtype != np.uint8 or image.shape != (*size, 3):
        raise ValueError(
            f"the CRF takes the raw image as (H, W, 3) uint8 at the size of the scores {size}; "
            f"got {image.shape} {image.dtype}"
        )


class CRFPool(ImagePool):
    """Runs `crf_inference` on many images and writes the masks.

    Args:
        config: One setting for all images.
        workers: Processes; 0 computes in this process; None takes what is available.
    """

    def __init__(self, config: CRFConfig, workers: int | None = None) -> None:
        require_crf()
        super().__init__(workers)
        self.config = config

    def __enter__(self) -> CRFPool:
        return self

    def submit(
        self,
        image_id: str,
        image: np.ndarray,
        probabilities: np.ndarray,
        labels: np.ndarray,
        path: Path | str,
    ) -> None:
        """Queue one image.

        Args:
            image_id: For messages.
            image: `(H, W, 3)` uint8 RGB.
            probabilities: `(K, H, W)` float32 of the present labels.
            labels: `(K,)` their mask values, in 0..C.
            path: The PNG to write, atomically.
        """
        if len(probabilities) != len(labels) or len(labels) == 0:
            raise ValueError(
                f"image {image_id!r} has {len(probabilities)} probability maps for {len(labels)} labels"
            )
        self.run(image_id, write_crf_mask, image, probabilities, labels, self.config, Path(path))


def write_crf_mask(
    image: np.ndarray, probabilities: np.ndarray, labels: np.ndarray, config: CRFConfig, path: Path
) -> None:
    """`crf_inference`, argmax, and the mask on disk."""
    best = crf_inference(image, probabilities, config).argmax(axis=0)
    write_mask(path.parent, path.stem, np.asarray(labels, np.uint8)[best])
