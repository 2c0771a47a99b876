"""A bright spot in the image, and networks that only sample it: where does a method draw it?

A convolution passes on its central pixel, a patch is the mean of its pixels, and attention, MLPs and norms do
nothing. What remains is where the cells lie and where they are drawn. The spot is smooth and wider than a
cell, so that the cells that see it have their centre of mass on its own.
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from wsss_bench.inference import Product, logits_of, predict, seeds_of
from wsss_bench.inference_config import InferenceConfig
from wsss_bench.methods.base import Method
from wsss_bench.nn.normalize import Normalize
from wsss_bench.types import InferenceSample

Rule = Literal["IRN", "Caffe", "stretched", "patches"]
SIZES = [(375, 500), (333, 500), (301, 417)]
"""Heights and widths that do not divide by a stride or a patch."""


class Unchanged(nn.Module):
    """A block of a transformer that does nothing."""

    def forward(self, tokens: Tensor) -> Tensor:
        return tokens


def sampling(method: Method) -> Method:
    """A copy of a method whose network only samples, with equal maps for all classes."""
    copy: Any = deepcopy(method).eval()  # its networks are looked for by name
    classes = len(method.class_names)

    def patch_means(image: Tensor, patch: int) -> Tensor:
        return F.avg_pool2d(image.mean(dim=1, keepdim=True), patch).expand(-1, classes, -1, -1)

    if grounding := getattr(copy, "grounding", None):  # TCL and CoDe: four scores on the side of a patch
        grounding.scores = lambda image, *_: F.interpolate(
            patch_means(image, grounding.clip.patch_size), scale_factor=4, mode="nearest"
        )
    elif hasattr(copy, "clip"):
        copy._cosines = lambda image: patch_means(image, copy.clip.patch_size)
    else:
        _only_sample(copy)
        if hasattr(copy, "coattention"):  # what is bright attends to what is bright, as after training
            copy.coattention.affinity.weight.data *= 100
        if hasattr(copy, "decoder"):  # the finest stage of a pyramid
            for lateral in copy.decoder.laterals[1:]:
                nn.init.zeros_(lateral.weight)
        copy.scales = ()  # DeepLabV2 without its smaller copies of the image
        logits_of = copy.segmentation_logits
        copy.segmentation_logits = lambda image: F.pad(0.1 * logits_of(image)[:, 1:], (0, 0, 0, 0, 1, 0))
    return copy


def _only_sample(module: nn.Module) -> None:
    for name, child in list(module.named_children()):
        if isinstance(child, nn.LayerNorm | nn.GroupNorm | Normalize):
            setattr(module, name, nn.Identity())
        elif type(child).__name__ == "Block":
            setattr(module, name, Unchanged())
        else:
            _only_sample(child)
    for name, parameter in module.named_parameters(recurse=False):
        # biases, position embeddings and class tokens are 0, the factors of BatchNorm 1
        parameter.data.fill_(1.0 if name == "weight" and parameter.ndim == 1 else 0.0)
    if isinstance(module, nn.AvgPool2d):  # of the shortcuts of the mini ResNet
        module.kernel_size = (1, 1)
    if isinstance(module, nn.BatchNorm2d):
        module.reset_running_stats()
    if isinstance(module, nn.Linear):
        module.weight.data.fill_(1 / module.in_features)
    if isinstance(module, nn.Conv2d):
        if module.kernel_size == module.stride:  # patches, and convolutions of one pixel
            module.weight.data.fill_(1 / module.weight[0].numel())
        else:
            row, column = (size // 2 for size in module.kernel_size)
            module.weight.data[..., row, column] = 1 / module.weight.shape[1]


def error(
    method: Method, product: Product, rule: Rule, config: InferenceConfig, size: tuple[int, int]
) -> np.ndarray:
    """Where a spot is drawn less where the rule draws it, in cells: (rows, columns).

    Args:
        method: With weights that only sample.
        product: Whose maps are read.
        rule: That of the paper or of its code; `patches`: cells see squares of the image and are drawn there.
        config: Of the method; one scale is read.
        size: Height and width of the image.
    """
    sides = _cell_sides(method, product, config, size)
    centre = [n - 4.5 * side - 7 if n > 14 * side else n / 2 + 3 for n, side in zip(size, sides, strict=True)]
    sample = InferenceSample("a", spot(size, centre, sides), np.eye(len(method.class_names))[0])
    config = replace(config, scales=(1.0,), multi_scales=(1.0,), flip=False)
    with torch.no_grad():
        (result,) = predict(method, [sample], product, config)
    # all classes have equal maps
    drawn = centre_of(result.scores[0] if product == "seed" else result["ss"][1].numpy())
    expected = [drawn_at(rule, *one) for one in zip(centre, size, sides, strict=True)]
    return (np.array(drawn) - expected) / sides


def _cell_sides(method: Any, product: Product, config: InferenceConfig, size: tuple[int, int]) -> list[float]:
    """Height and width of a cell in pixels of the image."""
    maps_of = seeds_of if product == "seed" else logits_of
    with torch.no_grad():
        side = 96 / maps_of(method, torch.zeros(1, 3, 96, 96)).shape[-1]
    if hasattr(method, "side"):  # MCIS resizes the image to a square
        return [n * side / 96 for n in size]
    if hasattr(method, "grounding"):  # TCL and CoDe enlarge the map of patches
        side = method.grounding.clip.patch_size
    return [side * (min(size) / config.short_side if config.short_side else 1)] * 2


def drawn_at(rule: Rule, pixel: float, length: int, stride: float) -> float:
    """Pixel at which what lies at `pixel` of a row of `length` pixels is drawn."""
    cells = -(-length // stride)
    return {
        "IRN": pixel + (stride - 1) / 2,
        "Caffe": pixel,
        "stretched": (pixel / stride + 0.5) * length / cells - 0.5,
        "patches": pixel,
    }[rule]


def spot(size: tuple[int, int], centre: list[float], sides: list[float]) -> np.ndarray:
    """`(H, W, 3)` uint8: a Gaussian of the width of a cell on black."""
    rows, columns = (
        np.exp(-(((np.arange(n) - c) / (1.1 * side)) ** 2) / 2)
        for n, c, side in zip(size, centre, sides, strict=True)
    )
    return np.repeat(np.round(255 * np.outer(rows, columns)).astype(np.uint8)[..., None], 3, axis=2)


def centre_of(scores: np.ndarray) -> list[float]:
    """Centre of mass of what is above the lowest score, row and column."""
    weight = scores.astype(float) - float(scores.min())
    weight = np.maximum(weight - 0.05 * weight.max(), 0)
    return [float(np.arange(n) @ weight.sum(1 - axis) / weight.sum()) for axis, n in enumerate(weight.shape)]
