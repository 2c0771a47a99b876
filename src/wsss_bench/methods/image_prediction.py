"""`method.predict(image)`: what the predict stage computes for one image, from Python."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from jsonargparse import ArgumentParser
from PIL import Image

from wsss_bench.artifacts.images import read_image, rgb_array
from wsss_bench.inference import Product, image_tensor, predict
from wsss_bench.inference_config import InferenceConfig
from wsss_bench.methods.checked_maps import CheckedMaps
from wsss_bench.ranges import check_range
from wsss_bench.readout import full_size_scores, threshold_mask
from wsss_bench.types import InferenceSample, Reference

if TYPE_CHECKING:
    from wsss_bench.methods.base import Method

BACKGROUND = "background"
"""Name of the first score map of a segmentation."""
AUTOCAST = {"bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}
"""The type that CUDA devices compute in, by the precision of the trainer."""


@dataclass(frozen=True)
class PredictionSettings:
    """How a trained method predicts; it is in its checkpoint.

    Args:
        inference: Scales, windows, padding, and what the data set decides.
        threshold: Background threshold of its seeds, in [0, 1]; None if nobody has said one.
        precision: Precision of the trainer. Mixed precisions apply on CUDA devices.
    """

    inference: InferenceConfig = InferenceConfig()
    threshold: float | None = None
    precision: str = "32-true"

    def __post_init__(self) -> None:
        check_range("threshold", self.threshold, 0, 1)

    @classmethod
    def from_plain(cls, content: dict[str, Any]) -> PredictionSettings:
        """From JSON types; keys that are absent have their defaults.

        Raises:
            ValueError, TypeError: an unknown key, or a value of the wrong type or out of range.
        """
        parser = ArgumentParser(exit_on_error=False)
        parser.add_class_arguments(cls, "prediction")
        settings: PredictionSettings = parser.instantiate(
            parser.parse_object({"prediction": content})
        ).prediction
        return settings

    def to_plain(self) -> dict[str, Any]:
        """In JSON types."""
        content = asdict(self)
        content["inference"] = {
            key: list(value) if isinstance(value, tuple) else value
            for key, value in content["inference"].items()
        }
        return content


@dataclass(frozen=True)
class ImagePrediction:
    """Mask and scores of one image of `H` x `W` pixels.

    Args:
        mask: `(H, W)` uint8: 0 background, `c + 1` for class `c`.
        scores: Maps `(H, W)` by class name. Seeds have one in [0, 1] for each labelled class. A segmentation
            has a probability for `background` and for every class.
        class_names: All classes of the method, in label order.
    """

    mask: np.ndarray
    scores: dict[str, np.ndarray]
    class_names: tuple[str, ...]

    @property
    def found(self) -> list[str]:
        """The classes in the mask, in label order."""
        return [self.class_names[value - 1] for value in np.unique(self.mask) if value]


@torch.inference_mode()
def predict_image(
    method: Method,
    image: Image.Image | np.ndarray | str | Path,
    labels: Sequence[str] | None,
    product: Product | None,
    scales: Literal["ss", "ms"],
    threshold: float | None,
    references: Sequence[Reference],
) -> ImagePrediction:
    """`Method.predict`, which describes the arguments."""
    pixels, name = _pixels(image)
    product = _product(method, labels, product)
    if scales not in ("ss", "ms"):
        raise ValueError(f"scales is {scales!r}; expected 'ss' or 'ms'")
    method.eval()
    settings, checked = method.prediction_settings, CheckedMaps(method)
    dtype = AUTOCAST.get(settings.precision)
    with torch.autocast(method.device.type, dtype, enabled=bool(dtype) and method.device.type == "cuda"):
        if product == "seed":
            limit = _limit(method, threshold)
            given = _multi_hot(method, _found_by_classifier(method, pixels) if labels is None else labels)
            sample = InferenceSample(name, pixels, given, tuple(references))
            (maps,) = predict(checked, [sample], product, settings.inference)
            mask, names = threshold_mask(maps, limit), [method.class_names[c - 1] for c in maps.classes]
            arrays = full_size_scores(maps)
        else:
            sample = InferenceSample(name, pixels, None)
            (probabilities,) = predict(checked, [sample], product, settings.inference)
            arrays = probabilities[scales].cpu().numpy()
            mask, names = arrays.argmax(axis=0).astype(np.uint8), [BACKGROUND, *method.class_names]
    return ImagePrediction(mask, dict(zip(names, arrays, strict=True)), method.class_names)


def _pixels(image: Any) -> tuple[np.ndarray, str]:
    """The image as `(H, W, 3)` uint8 RGB, and its name for messages."""
    if isinstance(image, (str, Path)):
        if not Path(image).is_file():
            raise FileNotFoundError(f"there is no image {image}; check the path")
        return read_image(Path(image)), str(image)
    if isinstance(image, Image.Image):
        return rgb_array(image, "the image"), "the image"
    expected = "expected (H, W, 3) uint8 RGB, a PIL image or a path"
    if not isinstance(image, np.ndarray):
        raise TypeError(f"image is a {type(image).__name__}; {expected}")
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
        raise ValueError(f"image is an array {image.shape} {image.dtype}; {expected}")
    return image, "the image"


def _product(method: Method, labels: Sequence[str] | None, product: Product | None) -> Product:
    """The product that is made; a segmentation if the method makes one and nothing asks for seeds."""
    kind = type(method).__name__
    if product is None:
        product = "segmentation" if labels is None and method.makes("segmentation") else "seed"
        if not method.makes(product):
            raise ValueError(f"{kind} makes no seeds, which are what labels are for; leave labels out")
    if product not in ("seed", "segmentation"):
        raise ValueError(f"product is {product!r}; expected 'seed' or 'segmentation'")
    if not method.makes(product):
        raise ValueError(f"{kind} makes no {product}; choose another product or method")
    if not method.class_names:
        raise ValueError(
            f"{kind} was trained without classes; give class_names to wsss_bench.load, the classes to predict"
        )
    return product


def _limit(method: Method, threshold: float | None) -> float:
    """The background threshold of seeds."""
    limit = method.prediction_settings.threshold if threshold is None else threshold
    if limit is None:
        raise ValueError(
            f"no background threshold is known for the seeds of this {type(method).__name__}; give "
            "threshold, from 0 to 1"
        )
    check_range("threshold", limit, 0, 1)
    return limit


def _multi_hot(method: Method, labels: Sequence[str]) -> np.ndarray:
    """Class names as `(C,)` float32."""
    names = [labels] if isinstance(labels, str) else list(labels)
    for name in names:
        if name not in method.class_names:
            close = get_close_matches(str(name), method.class_names, n=1)
            hint = f"did you mean {close[0]!r}? " if close else ""
            raise ValueError(
                f"label {name!r} is no class of this {type(method).__name__}; {hint}"
                f"Known: {', '.join(method.class_names)}"
            )
    return np.array([name in names for name in method.class_names], np.float32)


def _found_by_classifier(method: Method, pixels: np.ndarray) -> list[str]:
    """The classes that the method's own classifier finds; all of them if it has none."""
    logits = method.class_logits(image_tensor(pixels, method.device))
    if logits is None:
        warnings.warn(
            f"{type(method).__name__} has no classifier and got no labels: its seeds show all classes, "
            "whether they are in the image or not",
            stacklevel=5,
        )
        return list(method.class_names)
    return [name for name, logit in zip(method.class_names, logits[0].tolist(), strict=True) if logit > 0]
