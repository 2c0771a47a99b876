"""Pretraining of the small ViT: predict the nouns of an image, and the nouns of each quarter of a mosaic.

In a ViT this small that is trained to predict one class, patches off the object carry the evidence for the
class. The ViTs of ImageNet-21k, whose place it takes, distinguish thousands of classes, scenery among them.
Therefore this one predicts the background materials, too, from the class token and from the maximum of each
channel over the patch tokens. In every second step it gets mosaics of four images and predicts the nouns of
each quarter from the patches of this quarter, so that a patch must not represent what is elsewhere. The
supervision is the nouns of the images, as captions have them; no mask is read.
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
    readout_logits,
    standardize,
    to_unit_range,
    train_classifier,
)
from wsss_bench.mini.weights.web_images import NOUNS, WebImages
from wsss_bench.mini.world.scenes import IMAGE_SIZE

# Mosaics made from a batch of 64 images. All their patches are kept, so a step takes about as long as one
# with the 64 images and half of the patches.
MOSAICS = 40
MIN_CROP = 64  # pixels of 96: least side of the square crop of an image that a quarter shows

VIT = ClassifierRecipe(
    Architecture(
        "vit_tiny_patch16_224",
        {"img_size": IMAGE_SIZE, "patch_size": 8, "embed_dim": 96, "depth": 6, "num_heads": 3},
    ),
    head="head",
    steps=700,
    lr=1.5e-3,
)
KEPT_PATCHES = 0.5  # share of the patches that are kept in a training step without mosaics


def train_vit(web: WebImages, recipe: ClassifierRecipe, random_seed: int) -> Any:
    """Train with binary cross entropy of the nouns; progress is printed to standard error."""
    all_presence = torch.from_numpy(web.presence)
    drop_patches, keep_patches = PatchDropout(1 - KEPT_PATCHES), nn.Identity()

    def batch_loss(model: Any, batch: Tensor, step: int, rng: torch.Generator) -> Tensor:
        images, presence = augment(to_unit_range(web.images[batch.numpy()]), rng), all_presence[batch]
        if step % 2 == 0:
            model.patch_drop = drop_patches
            outputs = readout_logits(model, standardize(images, recipe.architecture))
            logits = torch.stack(outputs, dim=1)  # (B, 2, K)
            return noun_cross_entropy(logits, presence[:, None].expand_as(logits))
        model.patch_drop = keep_patches
        images, presence = make_mosaics(images, presence, MOSAICS, rng)
        logits = quarter_logits(model, standardize(images, recipe.architecture))  # (B, 4, K)
        return noun_cross_entropy(logits, presence)

    return train_classifier(recipe, len(NOUNS), len(all_presence), batch_loss, random_seed)


def make_mosaics(images: Tensor, presence: Tensor, count: int, rng: torch.Generator) -> tuple[Tensor, Tensor]:
    """Mosaics of four images each.

    Args:
        images: (B, 3, S, S).
        presence: (B, K) nouns of the images. A quarter shows a square crop of its image, which may lack a
            noun of the whole image; this is ignored.
        count: Number of mosaics, at most B.
        rng: Decides which images and which crops are used.

    Returns:
        Mosaics (count, 3, S, S), and (count, 4, K) the nouns of their quarters, row by row.
    """
    size = images.shape[-1]
    quarters, quarter_presence = [], []
    for _ in range(4):
        order = torch.randperm(len(images), generator=rng)[:count]
        side = int(torch.randint(MIN_CROP * size // IMAGE_SIZE, size + 1, (1,), generator=rng))
        top, left = torch.randint(0, size - side + 1, (2,), generator=rng).tolist()
        crops = images[order, :, top : top + side, left : left + side]
        quarters.append(
            F.interpolate(crops, (size // 2, size // 2), mode="bilinear", antialias=True, align_corners=False)
        )
        quarter_presence.append(presence[order])
    rows = [torch.cat(quarters[row : row + 2], dim=3) for row in (0, 2)]
    return torch.cat(rows, dim=2), torch.stack(quarter_presence, dim=1)


def quarter_logits(model: Any, images: Tensor) -> Tensor:
    """Logits of the quarters: classifier layer on the maximum of each channel over the patches of a quarter.

    Args:
        model: A timm ViT.
        images: (B, 3, S, S), standardized.

    Returns:
        (B, 4, K), quarters row by row.
    """
    patches = model.forward_features(images)[:, 1:]  # (B, N, D)
    side = round(patches.shape[1] ** 0.5)
    grid = patches.transpose(1, 2).unflatten(2, (side, side))
    pooled = F.max_pool2d(grid, side // 2).flatten(2).transpose(1, 2)  # (B, 4, D)
    return model.head(pooled)


def noun_cross_entropy(logits: Tensor, presence: Tensor) -> Tensor:
    """Binary cross entropy of the nouns.

    Args:
        logits: (..., K).
        presence: (..., K) 1 present, 0 absent, -1 uncertain (ignored).

    Returns:
        Scalar: the mean over the nouns that count, times K.
    """
    counted = presence != -1
    each = F.binary_cross_entropy_with_logits(logits, (presence == 1).float(), reduction="none")
    return presence.shape[-1] * (each * counted).sum() / counted.sum()
