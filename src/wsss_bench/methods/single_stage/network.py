"""The network of the single-stage methods: ViT, two classifiers, and a decoder that learns from their CAMs.

Ru et al., ToCo, CVPR 2023, https://arxiv.org/abs/2303.01267, https://github.com/rulixiang/ToCo; SeCo, DuPL
and MoRe use the same network.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from wsss_bench.methods.single_stage.pseudo_labels import (
    cam_to_label,
    multi_scale_cams,
    refine_pseudo_label,
    valid_patches,
)
from wsss_bench.methods.single_stage.vit import Tokens, VisionTransformer
from wsss_bench.nn.largefov import LargeFOV
from wsss_bench.nn.normalize import ImageNetNormalize
from wsss_bench.nn.par import PAR
from wsss_bench.ranges import check_range, check_ranges
from wsss_bench.types import IGNORE, ImageBatch


@dataclass(frozen=True)
class CAMConfig:
    """CAMs and pseudo labels in training.

    Args:
        scales: Scales of the CAMs relative to the training crop; crop size times scale must be a multiple of
            the patch size.
        low: Low background threshold in [0, 1]: CAM values up to it are background.
        high: High background threshold in [0, 1]: CAM values above it are foreground; values between are
            uncertain.
        aux_cam_until: Step before which the pseudo labels of the decoder come from the auxiliary CAM; from
            this step on they come from the main CAM.
    """

    scales: tuple[float, ...] = (1.0, 0.5, 1.5)
    low: float = 0.25
    high: float = 0.7
    aux_cam_until: int = 0

    def __post_init__(self) -> None:
        check_ranges("cam.scales", self.scales, above=0)
        check_range("cam.high", self.high, 0, 1)
        check_range("cam.low", self.low, 0, self.high)
        check_range("cam.aux_cam_until", self.aux_cam_until, 0)


@dataclass(frozen=True)
class DecoderConfig:
    """The LargeFOV decoder.

    Args:
        width: Hidden channels.
        dilation: Dilation of the 3x3 convolutions, in patches.
        lr_scale: Learning rate of the decoder over that of the encoder.
    """

    width: int = 512
    dilation: int = 5
    lr_scale: float = 10.0

    def __post_init__(self) -> None:
        check_range("decoder.width", self.width, 1)
        check_range("decoder.dilation", self.dilation, 1)
        check_range("decoder.lr_scale", self.lr_scale, 0)


class CAMs(NamedTuple):
    """Normalised CAMs of a batch, `(B, C, H, W)` in [0, 1]."""

    main: Tensor
    auxiliary: Tensor


class SingleStageNetwork(nn.Module):
    """ViT encoder, main and auxiliary classifier without bias, and a LargeFOV decoder.

    Images are `(B, 3, H, W)` in [0, 1]. They are normalised here with ImageNet's mean and standard deviation,
    whatever normalisation the ViT was pretrained with.

    Args:
        num_classes: Foreground classes `C`.
        backbone: timm ViT name, or a recipe file.
        weights: `imagenet`, a checkpoint path, or None for random weights.
        aux_layer: Index of the block that feeds the auxiliary classifier.
        decoder: The decoder.
    """

    def __init__(
        self, num_classes: int, backbone: str, weights: str | None, aux_layer: int, decoder: DecoderConfig
    ) -> None:
        super().__init__()
        self.normalize = ImageNetNormalize()
        self.encoder = VisionTransformer(backbone, weights, aux_layer)
        channels = self.encoder.channels
        self.classifier = nn.Conv2d(channels, num_classes, 1, bias=False)
        self.aux_classifier = nn.Conv2d(channels, num_classes, 1, bias=False)
        self.decoder = LargeFOV(channels, 1 + num_classes, decoder.dilation, decoder.width)
        self.decoder_lr_scale = decoder.lr_scale
        self.par = PAR()

    def encode(self, image: Tensor) -> Tokens:
        """`(B, 3, H, W)` in [0, 1] -> tokens."""
        return self.encoder(self.normalize(image))

    def class_logits(self, tokens: Tokens) -> tuple[Tensor, Tensor]:
        """Main and auxiliary logits `(B, C)`: classifiers after global max pooling of the patch tokens."""
        main, auxiliary = (maps.amax(dim=(2, 3), keepdim=True) for maps in (tokens.patches, tokens.auxiliary))
        return self.classifier(main).flatten(1), self.aux_classifier(auxiliary).flatten(1)

    def class_maps(self, tokens: Tokens) -> tuple[Tensor, Tensor]:
        """Main and auxiliary class maps `(B, C, h, w)`: the classifiers applied to every patch token."""
        return self.classifier(tokens.patches), self.aux_classifier(tokens.auxiliary)

    def cams(
        self,
        class_maps: Callable[[Tokens], Sequence[Tensor]],
        image: Tensor,
        tokens: Tokens,
        config: CAMConfig,
    ) -> CAMs:
        """Normalised multi-scale CAMs, without gradient.

        Args:
            class_maps: Tokens -> main and auxiliary class maps.
            image: `(B, 3, H, W)` in [0, 1].
            tokens: Tokens of `image` at scale 1, already computed.
            config: Scales.
        """

        def forward(image: Tensor) -> Sequence[Tensor]:
            return class_maps(self.encode(image))

        with torch.no_grad():
            return CAMs(*multi_scale_cams(forward, image, config.scales, known=class_maps(tokens)))

    def segment(self, tokens: Tokens, size: Sequence[int] | None = None) -> Tensor:
        """Decoder logits `(B, 1 + C, h, w)`, resized to `size` if given (bilinear, align_corners=False)."""
        logits = self.decoder(tokens.patches)
        return (
            logits
            if size is None
            else F.interpolate(logits, tuple(size), mode="bilinear", align_corners=False)
        )

    def patch_labels(self, batch: ImageBatch, cam: Tensor, config: CAMConfig) -> Tensor:
        """Pseudo labels of the patches, `(B, h, w)` in {0..C, 255}, from a CAM `(B, C, H, W)`."""
        valid = valid_patches(batch.valid, self.encoder.patch_size)
        cam = F.interpolate(cam, valid.shape[1:], mode="bilinear", align_corners=False)
        return cam_to_label(cam, batch.labels, valid, config.low, config.high)

    def pseudo_label(self, batch: ImageBatch, cams: CAMs, config: CAMConfig, step: int, start: int) -> Tensor:
        """Pseudo labels of the decoder at `step`, `(B, H, W)` in {0..C, 255}; all 255 before step `start`."""
        if step < start:
            return torch.full_like(batch.valid, IGNORE, dtype=torch.long)
        cam = cams.auxiliary if step < config.aux_cam_until else cams.main
        return refine_pseudo_label(
            batch.image,
            cam,
            batch.labels,
            batch.valid,
            config.low,
            config.high,
            self.par,
            max(batch.num_labels),
        )

    def parameter_groups(self, head_lr_scale: float, *projections: nn.Module) -> list[dict[str, Any]]:
        """Groups for the optimiser: encoder, heads, decoder.

        Classifiers and `projections` (the heads) have `head_lr_scale` times the encoder's learning rate, the
        decoder `DecoderConfig.lr_scale` times.
        """
        heads = nn.ModuleList([self.classifier, self.aux_classifier, *projections])
        return [
            {"params": list(self.encoder.parameters())},
            {"params": list(heads.parameters()), "lr_scale": head_lr_scale},
            {"params": list(self.decoder.parameters()), "lr_scale": self.decoder_lr_scale},
        ]
