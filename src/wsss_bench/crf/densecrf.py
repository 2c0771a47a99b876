"""Fully connected CRF with Gaussian edge potentials: mean field inference on an image.

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
from typing import Any

import numpy as np

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


class ImageCRF:
    """The CRF of one image, for all of its scores.

    The kernels depend on the image alone, and cost about a third of an inference. They are made once for each
    number of classes: where two sets of scores have equally many, the second one only brings its unary. The
    result is that of a CRF of its own, bit for bit.

    Args:
        image: `(H, W, 3)` uint8 RGB; it may be read-only.
        config: Kernels and iterations.

    Raises:
        ValueError: the extension is missing, or the image is not uint8 RGB.
    """

    def __init__(self, image: np.ndarray, config: CRFConfig) -> None:
        require_crf()
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
            raise ValueError(
                f"the CRF takes the raw image as (H, W, 3) uint8; got {image.shape} {image.dtype}"
            )
        self.image = _writable(image, np.uint8)
        self.config = config
        self._by_classes: dict[int, Any] = {}

    def from_probabilities(self, probabilities: np.ndarray) -> np.ndarray:
        """Mean field inference from class probabilities (the CRF of DeepLab and of PSA).

        Args:
            probabilities: `(K, H, W)` float32 in [0, 1], one map for background and each present class. The
                unary is -log p; the sum over K need not be 1.

        Returns:
            `(K, H, W)` float32 probabilities.

        Raises:
            ValueError: the size is not that of the image.
        """
        self._check_size(probabilities.shape[1:])
        return self._mean_field(-np.log(np.clip(probabilities, self.config.floor, 1.0)))

    def from_class_map(self, class_map: np.ndarray, num_classes: int, confidence: float = 0.7) -> np.ndarray:
        """Mean field inference from one class for each pixel, with equal confidence everywhere.

        This is IRN's `crf_inference_label`.

        Args:
            class_map: `(H, W)` integers in {0..K-1}: 0 is background, k the k-th present class. These are
                positions, not mask values, and 0 is a class, not "unknown".
            num_classes: K, the number of present classes plus one for background.
            confidence: Probability of the given class; the other K - 1 share the rest equally.

        Returns:
            `(H, W)` int64, again in {0..K-1}.

        Raises:
            ValueError: the size is not that of the image, or a value is outside {0..K-1}.
        """
        self._check_size(class_map.shape)
        if class_map.min() < 0 or class_map.max() >= num_classes:
            raise ValueError(
                f"the class map goes from {class_map.min()} to {class_map.max()}; "
                f"expected 0..{num_classes - 1}"
            )
        if num_classes == 1:
            return np.zeros(class_map.shape, np.int64)
        given = np.arange(num_classes)[:, None, None] == class_map  # (K, H, W)
        unary = np.where(given, -np.log(confidence), -np.log((1 - confidence) / (num_classes - 1)))
        return self._mean_field(unary).argmax(axis=0)

    def _mean_field(self, unary: np.ndarray) -> np.ndarray:
        num_classes = len(unary)
        if num_classes == 1:
            return np.ones(unary.shape, np.float32)
        if num_classes not in self._by_classes:
            self._by_classes[num_classes] = self._with_kernels(num_classes)
        crf = self._by_classes[num_classes]
        crf.setUnaryEnergy(_writable(unary.reshape(num_classes, -1), np.float32))
        return np.array(crf.inference(self.config.iterations), np.float32).reshape(unary.shape)

    def _with_kernels(self, num_classes: int) -> Any:
        from pydensecrf.densecrf import DenseCRF2D

        height, width = self.image.shape[:2]
        crf = DenseCRF2D(width, height, num_classes)
        crf.addPairwiseGaussian(sxy=self.config.gaussian_sxy, compat=self.config.gaussian_compat)
        crf.addPairwiseBilateral(
            sxy=self.config.bilateral_sxy,
            srgb=self.config.bilateral_srgb,
            rgbim=self.image,
            compat=self.config.bilateral_compat,
        )
        return crf

    def _check_size(self, size: tuple[int, ...]) -> None:
        if self.image.shape[:2] != size:
            raise ValueError(
                f"the CRF takes the raw image at the size of the scores {size}; got {self.image.shape[:2]}"
            )


def _writable(array: np.ndarray, dtype: type) -> np.ndarray:
    """The array in rows and of a type; a copy if it is read-only, which the extension refuses."""
    return np.require(array, dtype, ["C_CONTIGUOUS", "ALIGNED", "WRITEABLE"])


def crf_inference(image: np.ndarray, probabilities: np.ndarray, config: CRFConfig) -> np.ndarray:
    """`ImageCRF.from_probabilities` of one image with one set of scores."""
    return ImageCRF(image, config).from_probabilities(probabilities)
