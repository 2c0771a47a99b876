"""ToCo: token contrast for single-stage weakly supervised segmentation.

Ru et al., "Token Contrast for Weakly-Supervised Semantic Segmentation", CVPR 2023,
https://arxiv.org/abs/2303.01267, https://github.com/rulixiang/ToCo.

A ViT classifier with an auxiliary classifier on an earlier block. Pseudo labels from the auxiliary CAM
supervise the patch tokens (patch token contrast, PTC). Class tokens of local crops are contrasted with those
of the whole image (class token contrast, CTC): crops that may show an object are positives, crops of
background negatives. A decoder learns online from the main CAM.

Kept from the code: teacher and student share the encoder, only the teacher's projection head is an
exponential moving average; and the extra term of CTC (`class_token_contrast.py`).

Departures:
- An image is mirrored once, and padding is known for every pixel. The authors' code mirrors again after
  recording the box of the image, and applies that box, in pixels, to the grid of patches.
- The second global view is a random crop of the training crop, not of the full image, and views have no
  colour jitter of their own.
- No dense energy loss, which needs a C++ extension.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from wsss_bench.losses.ranks import image_noise
from wsss_bench.methods.optim import OptimConfig
from wsss_bench.methods.single_stage.base import SingleStageMethod
from wsss_bench.methods.single_stage.class_token_contrast import (
    ProjectionHead,
    class_token_contrast,
    global_view,
    local_crops,
    region_mask,
)
from wsss_bench.methods.single_stage.network import CAMConfig, DecoderConfig
from wsss_bench.methods.single_stage.vit import Tokens
from wsss_bench.ranges import check_range
from wsss_bench.types import ImageBatch


@dataclass(frozen=True)
class CTCConfig:
    """Class token contrast.

    Args:
        crops: Number of local crops of an image.
        crop_size: Side of a local crop in pixels, a multiple of the patch size.
        temperature: 0.5 on VOC, 1.0 on COCO.
        momentum: Momentum of the moving average of the teacher's projection head.
        hidden: Hidden width of the projection heads.
    """

    crops: int = 8
    crop_size: int = 96
    temperature: float = 0.5
    momentum: float = 0.9
    hidden: int = 2048

    def __post_init__(self) -> None:
        for name in ("crops", "crop_size", "hidden"):
            check_range(f"ctc.{name}", getattr(self, name), 1)
        check_range("ctc.temperature", self.temperature, above=0)
        check_range("ctc.momentum", self.momentum, 0, 1)


@dataclass(frozen=True)
class LossWeights:
    """Weights of the losses."""

    cls: float = 1.0
    aux: float = 1.0
    ptc: float = 0.2
    ctc: float = 0.5
    seg: float = 0.1


@dataclass(frozen=True)
class StartSteps:
    """First optimiser step of each loss; before it the loss is 0, with zero gradient."""

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
        aux_layer: Index of the block that feeds the auxiliary classifier; -3 is the tenth of twelve.
        decoder: The decoder.
        head_lr_scale: Learning rate of classifiers and projection over that of the encoder.
        cam: CAMs and pseudo labels.
        ctc: Class token contrast.
        loss: Loss weights.
        start: Start steps of the losses.
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
        self.teacher_projection = deepcopy(self.projection).requires_grad_(False)
        self.ctc, self.loss, self.start = ctc, loss, start

    def training_loss(self, batch: ImageBatch) -> dict[str, Tensor]:
        step = self.global_step
        tokens = self.network.encode(batch.image)
        cams = self.cams(batch, tokens)
        losses = {
            **self.shared_losses(batch, tokens, cams, self.start.seg),
            "ctc": self._class_token_contrast(batch, tokens, cams.auxiliary, step),
        }
        not_started = {"ptc": step < self.start.ptc, "ctc": step < self.start.ctc}
        return {
            name: getattr(self.loss, name) * (0.0 if not_started.get(name) else 1.0) * value
            for name, value in losses.items()
        }

    def projections(self) -> list[nn.Module]:
        return [self.projection]

    def _class_token_contrast(
        self, batch: ImageBatch, tokens: Tokens, auxiliary_cam: Tensor, step: int
    ) -> Tensor:
        """CTC of two global views, the training crop and a random crop of it, and of local crops.

        `tokens` are those of the training crop.
        """
        self._update_teacher()
        image, count = batch.image, self.ctc.crops
        noise = image_noise(batch.image_ids, step, [5 + image.shape[2] * image.shape[3]], image.device)
        region = region_mask(auxiliary_cam, batch.labels, self.cam.low, self.cam.high)
        crops = local_crops(image, region, noise[:, 5:], count, self.ctc.crop_size)
        second_token = self.network.encode(global_view(image, noise[:, :5])).class_token
        local_tokens = self.network.encode(crops.image.flatten(0, 1)).class_token
        global_tokens = torch.stack([tokens.class_token, second_token], dim=1)  # (B, 2, D)
        local_tokens = local_tokens.unflatten(0, (len(image), count))  # (B, K, D)
        student_tokens = torch.cat([global_tokens, local_tokens], dim=1)  # (B, 2 + K, D)
        positive = F.pad(crops.positive, (2, 0), value=True)
        return class_token_contrast(
            self.projection(student_tokens),
            self.teacher_projection(global_tokens.detach()),
            positive,
            self.ctc.temperature,
        )

    @torch.no_grad()
    def _update_teacher(self) -> None:
        """Exponential moving average of the student's projection head."""
        pairs = zip(self.teacher_projection.parameters(), self.projection.parameters(), strict=True)
        for teacher, student in pairs:
            teacher.lerp_(student, 1 - self.ctc.momentum)
