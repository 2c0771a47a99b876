"""Pretraining of the small ViT: which nouns an image shows, and which each quarter of a mosaic shows.

A ViT this small, trained to name one class, sends the evidence to patches off the object. ImageNet-21k's ViTs, for which it
stands, tell thousands of things apart, scenery among them. So this one names scenery too, from the spatial maximum of its
patches besides the class token; and every other step it sees four pictures in one, where a quarter is asked for its own, so
that a patch must not speak for what lies elsewhere. It is supervised by the nouns of images, as in captions; no mask is read.
"""

from __future__ import annotations

from typing import Any

import torch
from timm.layers import PatchDropout
from torch import Tensor, nn
from torch.nn import functional as F

from wsss_bench.mini.weights.classifier import (
    Architecture,
    ClassifierRecipe,
    augment,
    fit,
    readings,
    standardize,
    to_unit,
)
from wsss_bench.mini.weights.web import NOUNS, Web
from wsss_bench.mini.world.grammar import IMAGE_SIZE

MOSAICS = 40  # of a batch of 64: all their patches are kept, and they take as long
SMALLEST_PART = 64  # pixels of the side of a picture that a quarter shows, of 96

VIT = ClassifierRecipe(
    Architecture(
        "vit_tiny_patch16_224",
        {"img_size": IMAGE_SIZE, "patch_size": 8, "embed_dim": 96, "depth": 6, "num_heads": 3},
    ),
    head="head",
    steps=2000,
    lr=1.5e-3,
)
KEPT = 0.5  # share of the patches of a whole picture that a training step sees


def train_vit(web: Web, recipe: ClassifierRecipe, seed: int) -> Any:
    """Binary cross entropy of nouns on all images of the web; progress goes to standard error."""
    truth = torch.from_numpy(web.truth)
    some, every = PatchDropout(1 - KEPT), nn.Identity()

    def loss(model: Any, chosen: Tensor, step: int, rng: torch.Generator) -> Tensor:
        image, nouns = augment(to_unit(web.image[chosen.numpy()]), rng), truth[chosen]
        if step % 2 == 0:
            model.patch_drop = some
            logits = torch.stack(readings(model, standardize(image, recipe.architecture)), dim=1)  # (B, 2, K)
            return noun_cross_entropy(logits, nouns[:, None].expand_as(logits))
        model.patch_drop = every
        image, nouns = mosaic(image, nouns, MOSAICS, rng)
        logits = quarter_logits(model, standardize(image, recipe.architecture))  # (B, 4, K)
        return noun_cross_entropy(logits, nouns)

    return fit(recipe, len(NOUNS), len(truth), loss, seed)


def mosaic(image: Tensor, truth: Tensor, count: int, rng: torch.Generator) -> tuple[Tensor, Tensor]:
    """Four pictures in one.

    Args:
        image: (B, 3, S, S).
        truth: (B, K) of the images. A quarter shows a square of its picture, which may cut off what is true of the whole.
        count: Mosaics to make, at most B.
        rng: Generator of the choice.

    Returns:
        (count, 3, S, S), and (count, 4, K) the truth of the quarters in reading order.
    """
    size = image.shape[-1]
    quarters, truths = [], []
    for _ in range(4):
        order = torch.randperm(len(image), generator=rng)[:count]
        side = int(torch.randint(SMALLEST_PART * size // IMAGE_SIZE, size + 1, (1,), generator=rng))
        top, left = torch.randint(0, size - side + 1, (2,), generator=rng).tolist()
        part = image[order, :, top : top + side, left : left + side]
        quarters.append(
            F.interpolate(part, (size // 2, size // 2), mode="bilinear", antialias=True, align_corners=False)
        )
        truths.append(truth[order])
    rows = [torch.cat(quarters[row : row + 2], dim=3) for row in (0, 2)]
    return torch.cat(rows, dim=2), torch.stack(truths, dim=1)


def quarter_logits(model: Any, image: Tensor) -> Tensor:
    """(B, 4, K): the head on the maximum of each channel over the patches of each quarter, in reading order."""
    patches = model.forward_features(image)[:, 1:]  # (B, N, D)
    side = round(patches.shape[1] ** 0.5)
    grid = patches.transpose(1, 2).unflatten(2, (side, side))
    pooled = F.max_pool2d(grid, side // 2).flatten(2).transpose(1, 2)  # (B, 4, D)
    return model.head(pooled)


def noun_cross_entropy(logits: Tensor, truth: Tensor) -> Tensor:
    """Scalar: binary cross entropy, summed over the nouns of an image on average.

    Args:
        logits: (..., K).
        truth: (..., K) 1 visible, 0 not there, -1 not counted.
    """
    counted = truth != -1
    each = F.binary_cross_entropy_with_logits(logits, (truth == 1).float(), reduction="none")
    return truth.shape[-1] * (each * counted).sum() / counted.sum()
