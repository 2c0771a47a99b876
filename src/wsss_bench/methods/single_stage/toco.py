"""ToCo: token contrast for single-stage weakly supervised segmentation.

Ru et al., "Token Contrast for Weakly-Supervised Semantic Segmentation", CVPR 2023, https://arxiv.org/abs/2303.01267,
https://github.com/rulixiang/ToCo.

A ViT classifier with an auxiliary head on an earlier block, whose CAM tells which patches belong together: patch tokens are
contrasted by it (PTC), and class tokens of local crops agree with those of the whole image or, where a crop shows mostly
background, do not (CTC). A decoder learns online from the CAM of the main head.

Departures: one mirroring, and padding known pixel by pixel (the authors' code mirrors once more after noting the box of the
image, and applies a box of pixels to the grid of patches); the second global view is a random crop of the training crop, not
of the picture, and views keep their colours; no dense energy loss, which needs a C++ extension. Kept: the teacher is the
student's encoder under an averaged projection head, and the extra term of CTC (`losses/class_token_contrast.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from wsss_bench.methods.optim import OptimConfig
from wsss_bench.methods.single_stage.base import SingleStageMethod
from wsss_bench.methods.single_stage.class_token_contrast import class_token_contrast
from wsss_bench.methods.single_stage.image_noise import image_noise
from wsss_bench.methods.single_stage.local_crops import local_crops, region_mask, resized_view
from wsss_bench.methods.single_stage.network import CAMConfig, DecoderConfig
from wsss_bench.methods.single_stage.projection_head import ProjectionHead
from wsss_bench.methods.single_stage.vit import Tokens
from wsss_bench.types import ImageBatch


@dataclass(frozen=True)
class CTCConfig:
    """Class token contrast.

    Args:
        crops: Local crops of an image.
        crop_size: Their side in pixels, a multiple of the patch size.
        temperature: 0.5 on VOC, 1.0 on COCO.
        momentum: Of the averaged projection head.
        hidden: Width inside the projection heads.
    """

    crops: int = 8
    crop_size: int = 96
    temperature: float = 0.5
    momentum: float = 0.9
    hidden: int = 2048


@dataclass(frozen=True)
class LossWeights:
    """Weights of the terms."""

    cls: float = 1.0
    aux: float = 1.0
    ptc: float = 0.2
    ctc: float = 0.5
    seg: float = 0.1


@dataclass(frozen=True)
class StartSteps:
    """Optimiser step from which a term counts; before it, it is 0 with zero gradient."""

    ptc: int = 0
    ctc: int = 0
    seg: int = 2001


class ToCo(SingleStageMethod):
    """Single-stage network with patch and class token contrast.

    Args:
        class_names: Foreground classes, in label order.
        optim: Optimiser; its learning rate is the encoder's.
        backbone: timm ViT name, or a recipe file.
        weights: `imagenet`, a checkpoint path, or None for random weights.
        aux_layer: Block that feeds the auxiliary classifier; -3 is the tenth of twelve.
        decoder: The decoder.
        head_lr_scale: Learning rate of heads and projection over that of the encoder.
        cam: CAMs and pseudo labels.
        ctc: Class token contrast.
        loss: Weights.
        start: Start steps.
    """

    supervision = "image"

    def __init__(
        self,
        class_names: Sequence[str],
        optim: OptimConfig = OptimConfig(),
        backbone: str = "vit_base_patch16_224.orig_in21k_ft_in1k",
        weights: str | None = "imagenet",
        aux_layer: int = -3,
        decoder: DecoderConfig = DecoderConfig(),
        head_lr_scale: float = 10.0,
        cam: CAMConfig = CAMConfig(),
        ctc: CTCConfig = CTCConfig(),
        loss: LossWeights = LossWeights(),
        start: StartSteps = StartSteps(),
    ) -> None:
        super().__init__(class_names, optim, backbone, weights, aux_layer, decoder, head_lr_scale, cam)
        self.projection = ProjectionHead(self.network.encoder.channels, ctc.hidden)
        self.teacher = deepcopy(self.projection).requires_grad_(False)
        self.ctc, self.loss, self.start = ctc, loss, start

    def training_loss(self, batch: ImageBatch) -> dict[str, Tensor]:
        step = self.global_step
        tokens = self.network.encode(batch.image)
        cams = self.cams(batch, tokens)
        losses = {
            **self.shared_losses(batch, tokens, cams, self.start.seg),
            "ctc": self._class_token_contrast(batch, tokens, cams.auxiliary, step),
        }
        waiting = {"ptc": step < self.start.ptc, "ctc": step < self.start.ctc}
        return {
            name: getattr(self.loss, name) * (0.0 if waiting.get(name) else 1.0) * value
            for name, value in losses.items()
        }

    def own_heads(self) -> list[nn.Module]:
        return [self.projection]

    def _class_token_contrast(
        self, batch: ImageBatch, tokens: Tokens, auxiliary_cam: Tensor, step: int
    ) -> Tensor:
        """CTC of the image, another view of it and its local crops; the image's own tokens are used again."""
        self._average_teacher()
        image, count = batch.image, self.ctc.crops
        noise = image_noise(batch.image_ids, step, [5 + image.shape[2] * image.shape[3]], image.device)
        region = region_mask(auxiliary_cam, batch.labels, self.cam.low, self.cam.high)
        crops = local_crops(image, region, noise[:, 5:], count, self.ctc.crop_size)
        second = self.network.encode(resized_view(image, noise[:, :5])).class_token
        local = self.network.encode(crops.image.flatten(0, 1)).class_token
        whole = torch.stack([tokens.class_token, second], dim=1)  # (B, 2, D)
        student = torch.cat([whole, local.unflatten(0, (len(image), count))], dim=1)  # (B, 2 + K, D)
        positive = F.pad(crops.positive, (2, 0), value=True)
        return class_token_contrast(
            self.projection(student), self.teacher(whole.detach()), positive, self.ctc.temperature
        )

    @torch.no_grad()
    def _average_teacher(self) -> None:
        for mean, current in zip(self.teacher.parameters(), self.projection.parameters(), strict=True):
            mean.lerp_(current, 1 - self.ctc.momentum)
