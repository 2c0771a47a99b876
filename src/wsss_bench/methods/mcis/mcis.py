"""MCIS: a classifier that compares images.

Sun, Wang, Dai and Van Gool, "Mining Cross-Image Semantics for Weakly Supervised Semantic Segmentation", ECCV 2020,
https://arxiv.org/abs/2007.01947; https://github.com/GuoleiSun/MCIS_wsss (commit 1fc8f75), which decides where paper and code
differ.

Two images that share a class are drawn anew from each other's features (`nn/coattention.py`). The drawings must be classified
as the classes in common; what a mask leaves of an image without them, as the classes that its partner has not. An image also
has itself as partner: mirrored, smaller and larger. Seeds are the maps of the common classes, over these views and over other
images of the class.

Departures, each told in docs/why_it_differs.md: the features of the anchor are computed once for its four pairs (the same
numbers in fewer passes); whether a contrastive loss is open is decided over all ranks; maps stay in floating point.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from wsss_bench.methods.base import Method
from wsss_bench.methods.mcis.coattention import CoAttention
from wsss_bench.methods.mcis.features import PairFeatures, he_fan_out
from wsss_bench.methods.mcis.localization import fuse_maps, related_maps, resize_maps, squash
from wsss_bench.methods.mcis.losses import common_and_different, contrast_loss, stacked_loss
from wsss_bench.methods.optim import OptimConfig
from wsss_bench.types import PairBatch, Reference

PUBLISHED = OptimConfig("sgd", 1e-3, 5e-4, momentum=0.9, nesterov=True, milestones=(5 / 11, 10 / 11))
"""Of the authors' code, for 11 epochs: a tenth of the rate from the start of epochs 5 and 10. They run 15 epochs and take the
checkpoint after 11, which is the same."""


class MCIS(Method):
    """Classifier with a co-attention between the two images of a pair.

    Args:
        class_names: Foreground classes, in label order.
        optim: Optimiser of the encoder; see `new_lr_scale` and `bias_lr_scale` for the rest.
        backbone: timm name, or recipe file, of a VGG, a ResNet or a ViT (`nn/pair_features.py`).
        weights: `imagenet`, a checkpoint path, or None.
        output_stride: Of a ResNet.
        dilated: Of a ResNet: dilate what has lost its stride.
        frozen_stages: Of a ResNet: stages without gradient, from the stem on.
        width: Channels of the features that are compared.
        contrastive_from_epoch: First epoch, from 0, with the contrastive losses.
        new_lr_scale: Learning rate of what is not pretrained over that of the encoder.
        bias_lr_scale: Learning rate of biases over that of the weights beside them.
        side: Side of the square that images are squashed to for their seeds, in pixels.
        self_scales: Sides of further views of the image at that, over `side`.
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

    def training_loss(self, batch: PairBatch) -> dict[str, Tensor]:
        labels, partner_labels = batch.first.labels, batch.second.labels
        anchor = self.features(batch.first.image)  # F_1 (B, C, h, w), shared by the pair and all self pairs
        partner = self.features(batch.second.image)
        logits = _logits(self.head(anchor))
        common, alone, partner_alone = common_and_different(labels, partner_labels)

        drawn, partner_drawn = self.coattention(anchor, partner)
        losses = {
            "basic": stacked_loss([logits, _logits(self.head(partner))], [labels, partner_labels]),
            "common": stacked_loss(
                [self._common(drawn), self._common(partner_drawn)],
                [common, common],
            ),
        }
        for name, image in batch.self_views.items():
            view = self.features(image)
            both = self.coattention(anchor, view)
            losses[f"basic_{name}"] = stacked_loss([logits, _logits(self.head(view))], [labels, labels])
            losses[f"common_{name}"] = stacked_loss([self._common(one) for one in both], [labels, labels])

        # during warm-up zero, but not absent: the authors' mask decays in it
        is_open = float(self.current_epoch >= self.contrastive_from_epoch)
        for name, features, its_drawn, difference in (
            ("contrast_first", anchor, drawn, alone),
            ("contrast_second", partner, partner_drawn, partner_alone),
        ):
            remaining = _logits(self.coattention.contrast_maps(features, its_drawn))
            losses[name] = is_open * contrast_loss(remaining, difference)
        return losses

    def seed_maps(
        self, image: Tensor, labels: Tensor | None = None, references: Sequence[Reference] = ()
    ) -> Tensor:
        """`(B, 3, H, W)` -> `(B, C, h, w)` over the whole image, squashed to a square: `inference.pad_to: 1` reads them so."""
        square = squash(image, self.side)
        anchor = self.features(square)
        drawn, mirror_drawn = self.coattention(anchor, self.features(square.flip(-1)))
        maps = [self.coattention.common_maps(drawn), self.coattention.common_maps(mirror_drawn).flip(-1)]
        for scale in self.self_scales:
            view = self.features(squash(image, round(self.side * scale)))
            view_maps = self.coattention.common_maps(self.coattention(anchor, view)[1])
            maps.append(resize_maps(view_maps, anchor.shape[2:]))
        if references:
            maps.append(
                related_maps(lambda others: self._beside(anchor, others), references, self.side, image)
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

    def _common(self, drawn: Tensor) -> Tensor:
        return _logits(self.coattention.common_maps(drawn))

    def _beside(self, anchor: Tensor, others: Tensor) -> Tensor:
        """Maps of the B anchors beside each of `(R, 3, side, side)` images, `(B, R, K, h, w)`."""
        size = (len(anchor), len(others))
        beside = self.features(others).repeat(size[0], 1, 1, 1)
        drawn, _ = self.coattention(anchor.repeat_interleave(size[1], dim=0), beside)
        return self.coattention.common_maps(drawn).unflatten(0, size)


def _logits(maps: Tensor) -> Tensor:
    """`(B, K, h, w)` class maps -> `(B, K)`."""
    return maps.mean(dim=(2, 3))
