"""DALNet (re-implementation): a single-stage ViT whose tokens are aligned with frozen texts.

"DIAL: Dense Image-text ALignment for Weakly Supervised Semantic Segmentation", ECCV 2024, https://arxiv.org/abs/2409.15801.

The class token is pulled to the texts of the labels and pushed from texts of background (GIA), patches are aligned with
texts under an object-aware mask (LEA), and prototypes of objects and texts are contrasted with the background in both
directions (CCL). The decoder learns online from the CAMs of the classifier.

No code is published and parts of the paper could not be read: this is a reconstruction on the machinery of ToCo (Ru et al.,
CVPR 2023), and what the sources leave open is a key of the configuration. Its figures are ours, not the paper's. Departures
from the machinery: no dense energy loss (it needs a C++ extension), and CCL's negatives come from all ranks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from wsss_bench.methods.optim import OptimConfig
from wsss_bench.methods.single_stage.alignment import SimilarityMap, global_alignment, local_alignment
from wsss_bench.methods.single_stage.alignment_texts import TextConfig, alignment_texts
from wsss_bench.methods.single_stage.base import SingleStageMethod
from wsss_bench.methods.single_stage.cross_contrast import image_to_text, prototypes, text_to_image
from wsss_bench.methods.single_stage.image_noise import image_noise
from wsss_bench.methods.single_stage.network import CAMConfig, CAMs, DecoderConfig
from wsss_bench.methods.single_stage.object_mask import ObjectMask, object_mask
from wsss_bench.methods.single_stage.pseudo_labels import normalize_range, valid_patches
from wsss_bench.methods.single_stage.vit import Tokens
from wsss_bench.types import ImageBatch


@dataclass(frozen=True)
class ProjectionConfig:
    """How tokens reach the space of the texts.

    Args:
        kind: One linear layer, or two with GELU.
        shared: One projection for class token and patches.
    """

    kind: Literal["linear", "mlp"] = "linear"
    shared: bool = False


@dataclass(frozen=True)
class MixedCAMConfig(CAMConfig):
    """CAMs and pseudo labels of the training, with texts.

    Args:
        text_mix: Share of the maps of text similarity in the main CAM, in [0, 1].
    """

    text_mix: float = 0.0


@dataclass(frozen=True)
class MaskConfig:
    """The object-aware mask.

    Args:
        low: Up to here rest; None as `cam.low`.
        high: Above here object; None as `cam.high`.
        agnostic: Objects of all labelled classes are one.
        min_patches: A labelled class with fewer patches gets its best ones.
        main_cam_after: Step from which the main CAM makes the mask in place of the auxiliary one; None for never.
    """

    low: float | None = None
    high: float | None = None
    agnostic: bool = False
    min_patches: int = 1
    main_cam_after: int | None = None


@dataclass(frozen=True)
class GIAConfig:
    """Global implicit alignment: how background texts count (`losses.alignment.global_alignment`)."""

    bg_reduce: Literal["mean", "max", "sum"] = "mean"
    bs_threshold: float | None = None


@dataclass(frozen=True)
class LEAConfig:
    """Local explicit alignment: what becomes of patches off the objects (`losses.alignment.local_alignment`)."""

    bg_repel: bool = True
    bg_attract: bool = False


@dataclass(frozen=True)
class CCLConfig:
    """Cross-contrastive learning.

    Args:
        tau: Temperature.
        class_negatives: Texts of absent classes are negatives of image to text.
        gather: Backgrounds of all ranks are negatives of text to image, so that several ranks train what one does.
        bg_patches: Random background patches of an image in place of their mean.
    """

    tau: float = 0.07
    class_negatives: bool = False
    gather: bool = True
    bg_patches: int = 0


@dataclass(frozen=True)
class LossWeights:
    """Weights of the terms; a part that only terms of weight 0 would train is frozen."""

    cls: float = 1.0
    aux: float = 1.0
    gia: float = 0.1
    lea: float = 0.1
    ccl: float = 0.1
    ptc: float = 0.2
    seg: float = 0.1


@dataclass(frozen=True)
class StartSteps:
    """Optimiser step from which a term counts; before it, it is 0 with zero gradient. The other terms count from the
    first."""

    lea: int = 1000
    ccl: int = 1000
    seg: int = 2000


class DALNet(SingleStageMethod):
    """Single-stage network with image-text alignment.

    Args:
        class_names: Foreground classes, in label order.
        optim: Optimiser; its learning rate is the encoder's.
        backbone: timm ViT name, or a recipe file.
        weights: `imagenet`, a checkpoint path, or None for random weights.
        aux_layer: Block that feeds the auxiliary classifier and with it the mask; -3 is the tenth of twelve.
        decoder: The decoder.
        head_lr_scale: Learning rate of heads and projections over that of the encoder.
        text: Texts.
        proj: Projections.
        cam: CAMs and pseudo labels.
        mask: Object-aware mask.
        similarity: How a cosine becomes a probability whose logarithm is taken.
        gia: Global implicit alignment.
        lea: Local explicit alignment.
        ccl: Cross-contrastive learning.
        loss: Weights.
        start: Start steps.

    Raises:
        ValueError: a class without a text, or unknown lists.
    """

    supervision = "image+text"

    text_foreground: Tensor
    text_background: Tensor
    text_suppressed_by: Tensor
    text_names_class: Tensor

    def __init__(
        self,
        class_names: Sequence[str],
        optim: OptimConfig = OptimConfig(),
        backbone: str = "vit_base_patch16_224.orig_in21k_ft_in1k",
        weights: str | None = "imagenet",
        aux_layer: int = -3,
        decoder: DecoderConfig = DecoderConfig(),
        head_lr_scale: float = 10.0,
        text: TextConfig = TextConfig(),
        proj: ProjectionConfig = ProjectionConfig(),
        cam: MixedCAMConfig = MixedCAMConfig(),
        mask: MaskConfig = MaskConfig(),
        similarity: SimilarityMap = "affine",
        gia: GIAConfig = GIAConfig(),
        lea: LEAConfig = LEAConfig(),
        ccl: CCLConfig = CCLConfig(),
        loss: LossWeights = LossWeights(),
        start: StartSteps = StartSteps(),
    ) -> None:
        super().__init__(class_names, optim, backbone, weights, aux_layer, decoder, head_lr_scale, cam)
        self.text_mix = cam.text_mix
        for name, value in alignment_texts(self.class_names, text)._asdict().items():
            self.register_buffer(f"text_{name}", value, persistent=name in ("foreground", "background"))
        widths = (self.network.encoder.channels, self.text_foreground.shape[1])
        self.global_projection = _projection(proj.kind, *widths)
        self.local_projection = self.global_projection if proj.shared else _projection(proj.kind, *widths)
        self._train_only_what_counts(loss)
        self.mask, self.similarity = mask, similarity
        self.gia, self.lea, self.ccl = gia, lea, ccl
        self.loss, self.start = loss, start

    def training_loss(self, batch: ImageBatch) -> dict[str, Tensor]:
        tokens = self.network.encode(batch.image)
        cams = self.cams(batch, tokens)
        losses = {
            **self.shared_losses(batch, tokens, cams, self.start.seg),
            **self._alignment(batch, tokens, cams, self.global_step),
        }
        return {name: getattr(self.loss, name) * value for name, value in losses.items()}

    def class_maps(self, tokens: Tokens) -> tuple[Tensor, Tensor]:
        """Main (with the share of text similarity) and auxiliary class maps `(B, C, h, w)`."""
        main, auxiliary = super().class_maps(tokens)
        if self.text_mix:
            similar = torch.einsum("behw,ce->bchw", self._patch_embeddings(tokens), self.text_foreground)
            main = (1 - self.text_mix) * normalize_range(main.relu()) + self.text_mix * normalize_range(
                similar.relu()
            )
        return main, auxiliary

    def own_heads(self) -> list[nn.Module]:
        projections = {id(p): p for p in (self.global_projection, self.local_projection)}  # may be one
        return list(projections.values())

    def object_mask(self, batch: ImageBatch, cams: CAMs, step: int) -> ObjectMask:
        """Patches of the labelled classes, and of none of them."""
        config = self.mask
        from_main = config.main_cam_after is not None and step >= config.main_cam_after
        return object_mask(
            cams.main if from_main else cams.auxiliary,
            batch.labels,
            valid_patches(batch.valid, self.network.encoder.patch_size),
            self.cam.low if config.low is None else config.low,
            self.cam.high if config.high is None else config.high,
            config.min_patches,
            config.agnostic,
        )

    def suppressed(self, labels: Tensor) -> Tensor:
        """`(B, J)` bool: the background texts of each image, without those that name one of its classes."""
        return (labels @ self.text_suppressed_by > 0) & ~(labels @ self.text_names_class > 0)

    def _alignment(self, batch: ImageBatch, tokens: Tokens, cams: CAMs, step: int) -> dict[str, Tensor]:
        """GIA, LEA and CCL, those of weight above 0."""
        labels, suppressed = batch.labels, self.suppressed(batch.labels)
        texts = (self.text_foreground, self.text_background, labels, suppressed)
        losses = {}
        if self.loss.gia:
            image = _unit(self.global_projection(tokens.class_token))  # (B, E)
            match, suppression = global_alignment(
                image, *texts, self.similarity, self.gia.bg_reduce, self.gia.bs_threshold
            )
            losses["gia"] = match + suppression
        if not (self.loss.lea or self.loss.ccl):
            return losses
        patches = self._patch_embeddings(tokens).flatten(2).transpose(1, 2)  # (B, N, E)
        mask = self.object_mask(batch, cams, step)
        if self.loss.lea:
            losses["lea"] = local_alignment(
                patches,
                *texts,
                _from(self.start.lea, step, mask),
                self.similarity,
                self.lea.bg_repel,
                self.lea.bg_attract,
            )
        if self.loss.ccl:
            noise = None
            if self.ccl.bg_patches:
                noise = image_noise(batch.image_ids, step, patches.shape[1:2], patches.device)
            found = prototypes(patches, _from(self.start.ccl, step, mask), self.ccl.bg_patches, noise)
            both = image_to_text(found, *texts, self.ccl.tau, self.ccl.class_negatives) + text_to_image(
                found, self.text_foreground, self.ccl.tau, self.ccl.gather
            )
            losses["ccl"] = 0.5 * both
        return losses

    def _patch_embeddings(self, tokens: Tokens) -> Tensor:
        """Unit vectors `(B, E, h, w)` in the space of the texts."""
        projected = self.local_projection(tokens.patches.permute(0, 2, 3, 1))
        return _unit(projected).permute(0, 3, 1, 2)

    def _train_only_what_counts(self, loss: LossWeights) -> None:
        """Freeze a projection that only terms of weight 0 would train: several ranks need a gradient for the others."""
        local = bool(loss.lea or loss.ccl)
        shared = self.global_projection is self.local_projection
        self.global_projection.requires_grad_(bool(loss.gia) or (shared and local))
        self.local_projection.requires_grad_(local or (shared and bool(loss.gia)))


def _projection(kind: str, channels: int, width: int) -> nn.Module:
    if kind == "linear":
        return nn.Linear(channels, width)
    return nn.Sequential(nn.Linear(channels, channels), nn.GELU(), nn.Linear(channels, width))


def _unit(vectors: Tensor) -> Tensor:
    return F.normalize(vectors.float(), dim=-1)


def _from(start: int, step: int, mask: ObjectMask) -> ObjectMask:
    """The mask, empty before `start`."""
    return mask if step >= start else ObjectMask(*map(torch.zeros_like, mask))
