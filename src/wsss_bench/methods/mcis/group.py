"""MCIS in groups of three: an experiment that its authors left in their repository.

`CoattentionModel10` of https://github.com/GuoleiSun/MCIS_wsss (commit 1fc8f75); neither the paper (Sun et al., ECCV 2020) nor
a released script uses it, and no figure is known. Three images of one class send each other co-attention messages; the classes
that they have in common must be read off what comes out.

The network is theirs. Ours, because nothing is released: the labels (the classes that all three have in common), the loss
(basic plus common), and the seeds (the image in a group with its mirror image and its smaller view, and in one with each
reference and the one after it, fused as in MCIS).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from wsss_bench.methods.base import Method
from wsss_bench.methods.mcis.features import PairFeatures, he_fan_out
from wsss_bench.methods.mcis.group_coattention import GroupCoAttention
from wsss_bench.methods.mcis.localization import fuse_maps, related_maps, squash
from wsss_bench.methods.mcis.losses import stacked_loss
from wsss_bench.methods.optim import OptimConfig
from wsss_bench.types import GroupBatch, Reference


class MCISGroup(Method):
    """Classifier with co-attention messages among three images.

    Args:
        class_names: Foreground classes, in label order.
        optim: Optimiser of the encoder.
        backbone: timm name, or recipe file, of a VGG, a ResNet or a ViT (`nn/pair_features.py`).
        weights: `imagenet`, a checkpoint path, or None.
        output_stride: Of a ResNet.
        dilated: Of a ResNet: dilate what has lost its stride.
        frozen_stages: Of a ResNet: stages without gradient, from the stem on.
        width: Channels of the features that are compared.
        rounds: Rounds of messages.
        new_lr_scale: Learning rate of what is not pretrained over that of the encoder.
        side: Side of the square that images are squashed to for their seeds, in pixels.
    """

    supervision = "image"
    batch_type = GroupBatch

    def __init__(
        self,
        class_names: Sequence[str],
        optim: OptimConfig = OptimConfig("sgd", 1e-3, 5e-4, momentum=0.9, nesterov=True),
        backbone: str = "vgg16.tv_in1k",
        weights: str | None = "imagenet",
        output_stride: int = 16,
        dilated: bool = True,
        frozen_stages: int = 0,
        width: int = 512,
        rounds: int = 3,
        new_lr_scale: float = 10.0,
        side: int = 256,
    ) -> None:
        super().__init__(class_names, optim)
        self.features = PairFeatures(backbone, weights, width, output_stride, dilated, frozen_stages)
        self.head = nn.Conv2d(width, len(self.class_names), 1)
        self.head.apply(he_fan_out)
        self.group = GroupCoAttention(width, len(self.class_names), rounds)
        self.new_lr_scale = new_lr_scale
        self.side = side

    def training_loss(self, batch: GroupBatch) -> dict[str, Tensor]:
        features = [self.features(images.image) for images in batch.images]
        labels = [images.labels for images in batch.images]
        common = labels[0] * labels[1] * labels[2]
        basic = [self.head(feature).mean(dim=(2, 3)) for feature in features]
        shared = [maps.mean(dim=(2, 3)) for maps in self.group(features)]
        return {"basic": stacked_loss(basic, labels), "common": stacked_loss(shared, [common] * 3)}

    def seed_maps(
        self, image: Tensor, labels: Tensor | None = None, references: Sequence[Reference] = ()
    ) -> Tensor:
        """`(B, 3, H, W)` -> `(B, C, h, w)` over the whole image, squashed to a square: `inference.pad_to: 1` reads them so."""
        square = squash(image, self.side)
        anchor = self.features(square)
        views = [self.features(square.flip(-1)), self.features(squash(image, round(0.75 * self.side)))]
        maps = [self.group([anchor, *views])[0]]
        if references:
            maps.append(
                related_maps(lambda others: self._beside(anchor, others), references, self.side, image)
            )
        return fuse_maps(torch.stack(maps))

    def parameter_groups(self) -> list[dict[str, Any]]:
        pretrained = list(self.features.encoder.parameters())
        known = {id(parameter) for parameter in pretrained}
        new = [parameter for parameter in self.parameters() if id(parameter) not in known]
        return [{"params": pretrained}, {"params": new, "lr_scale": self.new_lr_scale}]

    def _beside(self, anchor: Tensor, others: Tensor) -> Tensor:
        """Maps of the B anchors, each in a group with one of `(R, 3, side, side)` images and the next; `(B, R, K, h, w)`."""
        features = self.features(others)
        following = [*range(1, len(features)), 0]
        maps = [
            self.group([anchor, *(features[k : k + 1].expand_as(anchor) for k in pair)])[0]
            for pair in enumerate(following)
        ]
        return torch.stack(maps, dim=1)
