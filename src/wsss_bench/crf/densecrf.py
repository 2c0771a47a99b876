"""Fully connected CRF with Gaussian edge potentials: mean field inference on one image or on many.

Kraehenbuehl and Koltun, "Efficient Inference in Fully Connected CRFs with Gaussian Edge Potentials", NeurIPS
2011, https://arxiv.org/abs/1210.5644. It runs in `pydensecrf`, a C++ extension that is imported only when it
is used.

The CRF gets the maps of background and of the present classes only, K in number, not of all classes: mean
field inference treats an absent class as one with a probability near zero, and its cost grows with K. The
image is the raw uint8 one. (DeepLab's evaluation code passes the mean-subtracted image cast to uint8, whose
values wrap around.)
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from wsss_bench.artifacts.files import write_mask
from wsss_bench.crf.pool import ImagePool
from wsss_bench.ranges import check_range


@dataclass(frozen=True)
class CRFConfig:
    """Kernels and number of iterations; the defaults are those of DeepLabV2, CLIP-ES and ExCEL.

    Widths in pixels are meant for images of about 500 pixels.

    Args:
        gaussian_sxy: Width of the smoothness kernel, in pixels.
        gaussian_compat: Weight of the smoothness kernel.
        bilateral_sxy: Spatial width of the appearance kernel, in pixels.
        bilateral_srgb: Colour width of the appearance kernel, in grey levels of 0..255.
        bilateral_compat: Weight of the appearance kernel.
        iterations: Mean field iterations; 0 returns the normalised unary probabilities.
        floor: Probabilities are raised to this before the logarithm; the default is that of
            `pydensecrf.utils.unary_from_softmax`.

    Raises:
        ValueError: a width is not positive, a weight or `iterations` negative, or `floor` is not in (0, 1).
    """

    gaussian_sxy: float = 1
    gaussian_compat: float = 3
    bilateral_sxy: float = 67
    bilateral_srgb: float = 3
    bilateral_compat: float = 4
    iterations: int = 10
    floor: float = 1e-5

    def __post_init__(self) -> None:
        for name in ("gaussian_sxy", "bilateral_sxy", "bilateral_srgb"):
            check_range(f"crf.{name}", getattr(self, name), above=0)
        for name in ("gaussian_compat", "bilateral_compat", "iterations"):
            check_range(f"crf.{name}", getattr(self, name), 0)
        check_range("crf.floor", self.floor, above=0, below=1)


IRN_CRF = CRFConfig(3, 3, 50, 5, 10, 10)
"""The CRF with which IRN and CLIMS make pseudo labels."""


def available() -> bool:
    """Whether the extension `pydensecrf` is installed."""
    return find_spec("pydensecrf") is not None


def require_crf() -> None:
    """Raise `ValueError` if the extension `pydensecrf` is not installed."""
    if not available():
        raise ValueError(
            "the CRF needs the module pydensecrf, which is not installed; "
            "`make crf` builds it (a C++ compiler, Python 3.10 to 3.12)"
        )


def crf_inference(image: np.ndarray, probabilities: np.ndarray, config: CRFConfig) -> np.ndarray:
    """Mean field inference from class probabilities (the CRF of DeepLab and of PSA).

    Args:
        image: `(H, W, 3)` uint8 RGB.
        probabilities: `(K, H, W)` float32 in [0, 1], one map for background and each present class. The unary
            is -log p; the sum over K need not be 1.
        config: Kernels and iterations.

    Returns:
        `(K, H, W)` float32 probabilities.

    Raises:
        ValueError: image and probabilities differ in size, the image is not uint8, or the extension is
            missing.
    """
    _check(image, probabilities.shape[1:])
    unary = -np.log(np.clip(probabilities, config.floor, 1.0))
    return _mean_field(image, unary, config)


def crf_from_class_map(
    image: np.ndarray, class_map: np.ndarray, num_classes: int, config: CRFConfig, confidence: float = 0.7
) -> np.ndarray:
    """Mean field inference from one class for each pixel, with equal confidence everywhere.

    This is IRN's `crf_inference_label`.

    Args:
        image: `(H, W, 3)` uint8 RGB.
        class_map: `(H, W)` integers in {0..K-1}: 0 is background, k the k-th present class. These are
            positions, not mask values, and 0 is a class, not "unknown".
        num_classes: K, the number of present classes plus one for background.
        config: Kernels and iterations; IRN uses (3, 3) / (50, 5, 10), 10 iterations.
        confidence: Probability of the given class; the other K - 1 share the rest equally.

    Returns:
        `(H, W)` int64, again in {0..K-1}.

    Raises:
        ValueError: image and class map differ in size, a value is outside {0..K-1}, or the extension is
            missing.
    """
    _check(image, class_map.shape)
    if class_map.min() < 0 or class_map.max() >= num_classes:
        raise ValueError(
            f"the class map goes from {class_map.min()} to {class_map.max()}; expected 0..{num_classes - 1}"
        )
    if num_classes == 1:
        return np.zeros(class_map.shape, np.int64)
    given = np.arange(num_classes)[:, None, None] == class_map  # (K, H, W)
    unary = np.where(given, -np.log(confidence), -np.log((1 - confidence) / (num_classes - 1)))
    return _mean_field(image, unary, config).argmax(axis=0)


def _mean_field(image: np.ndarray, unary: np.ndarray, config: CRFConfig) -> np.ndarray:
    require_crf()
    from pydensecrf.densecrf import DenseCRF2D

    num_classes, height, width = unary.shape
    if num_classes == 1:
        return np.ones(unary.shape, np.float32)
    crf = DenseCRF2D(width, height, num_classes)
    crf.setUnaryEnergy(np.ascontiguousarray(unary.reshape(num_classes, -1), np.float32))
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
    """A process pool that runs `crf_inference` on many images and writes their masks.

    Args:
        config: Kernels and iterations, the same for all images that do not bring their own.
        workers: Number of processes; 0 computes in this process; None takes `available_workers()`.

    Raises:
        ValueError: the extension is missing.
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
        mask_values: np.ndarray,
        path: Path | str,
        config: CRFConfig | None = None,
    ) -> None:
        """Queue one image.

        Args:
            image_id: Named in error messages.
            image: `(H, W, 3)` uint8 RGB.
            probabilities: `(K, H, W)` float32, one map for each present class (background included).
            mask_values: `(K,)` in {0..C}: the mask value of each map, 0 for background, c + 1 for class c.
            path: PNG file to write, atomically.
            config: Kernels and iterations of this image; None: those of the pool.

        Raises:
            ValueError: no map, or not one mask value for each map.
        """
        if len(probabilities) != len(mask_values) or len(mask_values) == 0:
            raise ValueError(
                f"image {image_id!r} has {len(probabilities)} probability maps for "
                f"{len(mask_values)} mask values"
            )
        config = config or self.config
        self.run(image_id, write_crf_mask, image, probabilities, mask_values, config, Path(path))


def write_crf_mask(
    image: np.ndarray, probabilities: np.ndarray, mask_values: np.ndarray, config: CRFConfig, path: Path
) -> None:
    """`crf_inference`, argmax, and the mask `(H, W)` with values out of `mask_values` written to `path`."""
    best = crf_inference(image, probabilities, config).argmax(axis=0)
    write_mask(path.parent, path.stem, np.asarray(mask_values, np.uint8)[best])
