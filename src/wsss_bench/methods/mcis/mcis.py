"""MCIS: a classifier with co-attention between images.

Sun, Wang, Dai and Van Gool, "Mining Cross-Image Semantics for Weakly Supervised Semantic Segmentation", ECCV
2020, https://arxiv.org/abs/2007.01947; https://github.com/GuoleiSun/MCIS_wsss (commit 1fc8f75), which decides
where paper and code differ.

For two images that share a class, co-attention rebuilds each feature map from the features of the partner
(`coattention.py`). The attended features are classified as the common classes of the pair (co-attention). The
features outside the mask of the common objects are classified as the unshared classes (contrastive
co-attention). Each image is also paired with views of itself: mirrored, smaller and larger. Seeds are the
maps of the common classes, fused over these views and over reference images of the class.

Departures from the authors' code, explained in docs/why_it_differs.md: the features of the first image (the
anchor) are computed once for its four pairs (the same numbers in fewer passes); whether a contrastive loss is
active is decided over all ranks; maps stay in floating point.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from wsss_bench.methods.base import Method
from wsss_bench.methods.mcis.coattention import CoAttention
from wsss_bench.methods.mcis.features import PairFeatures, he_fan_out
from wsss_bench.methods.mcis.localization import (
    fuse_maps,
    mean_reference_maps,
    resize_maps,
    resize_to_square,
)
from wsss_bench.methods.mcis.losses import (
    classification_loss,
    common_and_unshared_labels,
    contrastive_coattention_loss,
)
from wsss_bench.methods.mcis.reference_features import ReferenceFeatures
from wsss_bench.methods.optim import OptimConfig
from wsss_bench.nn.precision import step_in_float32
from wsss_bench.types import PairBatch, Reference

PUBLISHED = OptimConfig("sgd", 1e-3, 5e-4, momentum=0.9, nesterov=True, milestones=(5 / 11, 10 / 11))
"""Schedule of the authors' code for 11 epochs: learning rate divided by 10 at the start of epochs 5 and 10.

They run 15 epochs and use the checkpoint after 11, which gives the same weights.
"""


class MCIS(Method):
    """Classifier with a co-attention between the two images of a pair.

    Args:
        class_names: Foreground classes, in label order.
        optim: Optimiser of the encoder; see `new_lr_scale` and `bias_lr_scale` for the other parameters.
        backbone: timm name, or recipe file, of a VGG, a ResNet or a ViT (`features.py`).
        weights: `imagenet`, a checkpoint path, or None.
        output_stride: For a ResNet: stride of the features.
        dilated: For a ResNet: replace removed strides by dilation.
        frozen_stages: For a ResNet: number of stages without gradient; 1 freezes the stem.
        width: Number of feature channels for co-attention.
        contrastive_from_epoch: First epoch, counted from 0, with the contrastive co-attention losses.
        new_lr_scale: Learning rate of parameters that are not pretrained, divided by that of the encoder.
        bias_lr_scale: Learning rate of biases divided by that of the weights of the same layer.
        side: Side of the square that images are resized to for seeds, in pixels.
        self_scales: Scales of further views of the image for seeds, as multiples of `side`.
    """

    supervision = "image"
    batch_type = PairBatch

    def __init__(
        self,
        class_names: Sequence[str],
        optim: OptimConfig = PUBLISHED,
        backbone: str = "vgg16.tv_in1k",
        weights: str | None = "imagenet",
        output_stride: int = 16,
        dilated: bool = True,
        frozen_stages: int = 0,
        width: int = 512,
        contrastive_from_epoch: int = 2,
        new_lr_scale: float = 10.0,
        bias_lr_scale: float = 2.0,
        side: int = 256,
        self_scales: tuple[float, ...] = (0.75, 2.0),
    ) -> None:
        super().__init__(class_names, optim)
        self.features = PairFeatures(backbone, weights, width, output_stride, dilated, frozen_stages)
        self.head = nn.Conv2d(width, len(self.class_names), 1)
        self.head.apply(he_fan_out)
        self.coattention = CoAttention(width, len(self.class_names))
        self.contrastive_from_epoch = contrastive_from_epoch
        self.new_lr_scale = new_lr_scale
        self.bias_lr_scale = bias_lr_scale
        self.side = side
        self.self_scales = self_scales
        self._reference_features = ReferenceFeatures(self.features, side)

    @step_in_float32
    def training_loss(self, batch: PairBatch) -> dict[str, Tensor]:
        labels, partner_labels = batch.first.labels, batch.second.labels
        # F_1 (B, C, h, w), used in the pair with the partner and in all pairs with self views
        anchor = self.features(batch.first.image)
        partner = self.features(batch.second.image)
        logits = _logits(self.head(anchor))
        common, unshared, partner_unshared = common_and_unshared_labels(labels, partner_labels)

        attended, partner_attended = self.coattention(anchor, partner)
        losses = {
            "basic": classification_loss([logits, _logits(self.head(partner))], [labels, partner_labels]),
            "common": classification_loss(
                [self._common_logits(attended), self._common_logits(partner_attended)], [common, common]
            ),
        }
        for name, image in batch.self_views.items():
            view = self.features(image)
            # the mean of a linear map is the map of the mean
            view_attended = self.coattention.means(anchor, view)
            losses[f"basic_{name}"] = classification_loss(
                [logits, _logits(self.head(view))], [labels, labels]
            )
            losses[f"common_{name}"] = classification_loss(
                [self._common_logits(means) for means in view_attended], [labels, labels]
            )

        # zero during warm-up, but not absent: in the authors' code the mask has weight decay from the start
        active = float(self.current_epoch >= self.contrastive_from_epoch)
        for name, features, attended_features, unshared_labels in (
            ("contrast_first", anchor, attended, unshared),
            ("contrast_second", partner, partner_attended, partner_unshared),
        ):
            unshared_logits = _logits(self.coattention.unshared_class_maps(features, attended_features))
            losses[name] = active * contrastive_coattention_loss(unshared_logits, unshared_labels)
        return losses

    def seed_maps(
        self, image: Tensor, labels: Tensor | None = None, references: Sequence[Reference] = ()
    ) -> Tensor:
        """`(B, 3, H, W)` -> `(B, C, h, w)` maps of the whole image, which is resized to a square first."""
        square = resize_to_square(image, self.side)
        anchor = self.features(square)
        mirrored = self.features(square.flip(-1))
        maps = [
            self.coattention.class_maps_of_first(anchor, mirrored),
            self.coattention.class_maps_of_second(anchor, mirrored).flip(-1),
        ]
        for scale in self.self_scales:
            view = self.features(resize_to_square(image, round(self.side * scale)))
            view_maps = self.coattention.class_maps_of_second(anchor, view)
            maps.append(resize_maps(view_maps, anchor.shape[2:]))
        if references:
            features = self._reference_features(references, image)
            maps.append(
                mean_reference_maps(lambda partners: self._maps_with(partners, anchor), features, references)
            )
        return fuse_maps(torch.stack(maps))

    def parameter_groups(self) -> list[dict[str, Any]]:
        pretrained = {id(parameter) for parameter in self.features.encoder.parameters()}
        groups: dict[float, list[nn.Parameter]] = {}
        for name, parameter in self.named_parameters():
            scale = (1.0 if id(parameter) in pretrained else self.new_lr_scale) * (
                self.bias_lr_scale if name.endswith("bias") else 1.0
            )
            groups.setdefault(scale, []).append(parameter)
        return [{"params": parameters, "lr_scale": scale} for scale, parameters in groups.items()]

    def _common_logits(self, attended: Tensor) -> Tensor:
        return _logits(self.coattention.common_class_maps(attended))

    def _maps_with(self, references: Tensor, anchor: Tensor) -> Tensor:
        """`(B, R, K, h, w)` maps of B anchors, each paired with each of `(R, C, h, w)` references."""
        size = (len(anchor), len(references))
        partners = references.repeat(size[0], 1, 1, 1)
        anchors = anchor.repeat_interleave(size[1], dim=0)
        return self.coattention.class_maps_of_first(anchors, partners).unflatten(0, size)


def _logits(maps: Tensor) -> Tensor:
    """`(B, K, h, w)` class maps -> `(B, K)`."""
    return maps.mean(dim=(2, 3))
