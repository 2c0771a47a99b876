"""MCIS in groups of three: an unpublished experiment in the repository of its authors.

`CoattentionModel10` of https://github.com/GuoleiSun/MCIS_wsss (commit 1fc8f75). Neither the paper (Sun et
al., ECCV 2020) nor a released script uses it, and no result is known. Three images of one class exchange
co-attention messages; the resulting features are classified as the common classes of the group.

The network is theirs. The rest is ours, because nothing is released: the labels (the classes that all three
images have in common), the loss (basic plus common), and the seeds. For seeds, the image forms one group with
its mirror image and its smaller view, and one group with each pair of consecutive references; the maps are
fused as in MCIS.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from wsss_bench.methods.base import Method
from wsss_bench.methods.mcis.features import PairFeatures, he_fan_out
from wsss_bench.methods.mcis.group_coattention import GroupCoAttention
from wsss_bench.methods.mcis.localization import fuse_maps, mean_reference_maps, resize_to_square
from wsss_bench.methods.mcis.losses import classification_loss
from wsss_bench.methods.mcis.reference_features import ReferenceFeatures
from wsss_bench.methods.optim import OptimConfig
from wsss_bench.nn.precision import step_in_float32
from wsss_bench.types import GroupBatch, Reference


class MCISGroup(Method):
    """Classifier with co-attention messages between three images.

    Args:
        class_names: Foreground classes, in label order.
        optim: Optimiser of the encoder.
        backbone: timm name, or recipe file, of a VGG, a ResNet or a ViT (`features.py`).
        weights: `imagenet`, a checkpoint path, or None.
        output_stride: For a ResNet: stride of the features.
        dilated: For a ResNet: replace removed strides by dilation.
        frozen_stages: For a ResNet: number of stages without gradient; 1 freezes the stem.
        width: Number of feature channels for co-attention.
        rounds: Number of message-passing rounds.
        new_lr_scale: Learning rate of parameters that are not pretrained, divided by that of the encoder.
        side: Side of the square that images are resized to for seeds, in pixels.
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
        self._reference_features = ReferenceFeatures(self.features, side)

    @step_in_float32
    def training_loss(self, batch: GroupBatch) -> dict[str, Tensor]:
        features = [self.features(images.image) for images in batch.images]
        labels = [images.labels for images in batch.images]
        common = labels[0] * labels[1] * labels[2]
        basic_logits = [self.head(feature).mean(dim=(2, 3)) for feature in features]
        common_logits = [maps.mean(dim=(2, 3)) for maps in self.group(features)]
        return {
            "basic": classification_loss(basic_logits, labels),
            "common": classification_loss(common_logits, [common] * 3),
        }

    def seed_maps(
        self, image: Tensor, labels: Tensor | None = None, references: Sequence[Reference] = ()
    ) -> Tensor:
        """`(B, 3, H, W)` -> `(B, C, h, w)` maps of the whole image, which is resized to a square first."""
        square = resize_to_square(image, self.side)
        anchor = self.features(square)
        smaller = resize_to_square(image, round(0.75 * self.side))
        views = [self.features(square.flip(-1)), self.features(smaller)]
        maps = [self.group([anchor, *views])[0]]
        if references:
            features = self._reference_features(references, image)
            maps.append(
                mean_reference_maps(lambda partners: self._maps_with(partners, anchor), features, references)
            )
        return fuse_maps(torch.stack(maps))

    def parameter_groups(self) -> list[dict[str, Any]]:
        pretrained = list(self.features.encoder.parameters())
        pretrained_ids = {id(parameter) for parameter in pretrained}
        new = [parameter for parameter in self.parameters() if id(parameter) not in pretrained_ids]
        return [{"params": pretrained}, {"params": new, "lr_scale": self.new_lr_scale}]

    def _maps_with(self, references: Tensor, anchor: Tensor) -> Tensor:
        """Class maps `(B, R, K, h, w)` of B anchors, each in R groups with two references.

        Group r holds the anchor and references r and r + 1 of `(R, C, h, w)`; the last reference is followed
        by the first.
        """
        successor = [*range(1, len(references)), 0]
        maps = [
            self.group([anchor, *(references[k : k + 1].expand_as(anchor) for k in pair)])[0]
            for pair in enumerate(successor)
        ]
        return torch.stack(maps, dim=1)
