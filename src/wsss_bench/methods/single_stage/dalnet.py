"""DALNet (re-implementation): a single-stage ViT whose tokens are aligned with frozen text embeddings.

"DIAL: Dense Image-text ALignment for Weakly Supervised Semantic Segmentation", ECCV 2024,
https://arxiv.org/abs/2409.15801.

Three losses align image and text (`dalnet_losses.py`):
- GIA: the class token is pulled to the texts of the image's labels and pushed away from background texts.
- LEA: patch tokens are aligned with class texts, guided by an object-aware mask (`object_mask.py`).
- CCL: class prototypes and class texts are contrasted with the background, in both directions.
The decoder learns online from the CAMs of the classifier.

No code is published and parts of the paper could not be read. This is a reconstruction on the single-stage
network of ToCo (Ru et al., CVPR 2023); what the sources leave open is a key of the configuration. Its results
are ours, not the paper's. Departures from ToCo's training: no dense energy loss (it needs a C++ extension),
and the negatives of CCL come from all ranks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from wsss_bench.losses.ranks import image_noise
from wsss_bench.methods.optim import OptimConfig
from wsss_bench.methods.single_stage.base import SingleStageMethod
from wsss_bench.methods.single_stage.dalnet_losses import (
    CCLConfig,
    GIAConfig,
    LEAConfig,
    SimilarityMap,
    class_prototypes,
    global_implicit_alignment,
    image_to_text_contrast,
    local_explicit_alignment,
    text_to_image_contrast,
)
from wsss_bench.methods.single_stage.dalnet_texts import TextConfig, encode_texts
from wsss_bench.methods.single_stage.network import CAMConfig, CAMs, DecoderConfig
from wsss_bench.methods.single_stage.object_mask import MaskConfig, ObjectMask, object_mask
from wsss_bench.methods.single_stage.pseudo_labels import min_max_normalize, valid_patches
from wsss_bench.methods.single_stage.vit import Tokens
from wsss_bench.ranges import check_range
from wsss_bench.types import ImageBatch


@dataclass(frozen=True)
class ProjectionConfig:
    """Projections of the tokens into the space of the text embeddings.

    Args:
        kind: `linear`: one linear layer; `mlp`: two, with GELU.
        shared: One projection for class token and patch tokens.
    """

    kind: Literal["linear", "mlp"] = "linear"
    shared: bool = False


@dataclass(frozen=True)
class MixedCAMConfig(CAMConfig):
    """CAMs and pseudo labels in training, with an optional share of text similarity.

    Args:
        text_mix: Weight, in [0, 1], of the similarity maps of patches and class texts in the main CAM.
    """

    text_mix: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range("cam.text_mix", self.text_mix, 0, 1)


@dataclass(frozen=True)
class LossWeights:
    """Weights of the losses; a projection that only losses of weight 0 would train is frozen."""

    cls: float = 1.0
    aux: float = 1.0
    gia: float = 0.1
    lea: float = 0.1
    ccl: float = 0.1
    ptc: float = 0.2
    seg: float = 0.1


@dataclass(frozen=True)
class StartSteps:
    """First optimiser step of a loss; before it the loss is 0, with zero gradient.

    The other losses start at step 0.
    """

    lea: int = 1000
    ccl: int = 1000
    seg: int = 2001


class DALNet(SingleStageMethod):
    """Single-stage network with image-text alignment.

    Args:
        class_names: Foreground classes, in label order.
        optim: Optimiser; its learning rate is the encoder's.
        backbone: timm ViT name, or a recipe file.
        weights: `imagenet`, a checkpoint path, or None for random weights.
        aux_layer: Index of the block that feeds the auxiliary classifier, and so the mask; -3 is the tenth of
            twelve.
        decoder: The decoder.
        head_lr_scale: Learning rate of classifiers and projections over that of the encoder.
        text: Texts and text encoder.
        proj: Projections.
        cam: CAMs and pseudo labels.
        mask: Object-aware mask.
        similarity: How GIA and LEA turn a cosine into a probability.
        gia: Global implicit alignment.
        lea: Local explicit alignment.
        ccl: Cross-contrastive learning.
        loss: Loss weights.
        start: Start steps of the losses.

    Raises:
        ValueError: a class without a text, or an unknown list of texts.
    """

    supervision = "image+text"
    idle_at_first = ("network.decoder.", "local_projection.")

    text_foreground: Tensor
    text_background: Tensor
    text_class_backgrounds: Tensor
    text_is_class_name: Tensor

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
        for name, value in encode_texts(self.class_names, text)._asdict().items():
            self.register_buffer(f"text_{name}", value, persistent=name in ("foreground", "background"))
        widths = (self.network.encoder.channels, self.text_foreground.shape[1])
        self.global_projection = _projection(proj.kind, *widths)
        self.local_projection = self.global_projection if proj.shared else _projection(proj.kind, *widths)
        self._freeze_unused_projections(loss)
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
        """Main (mixed with text similarity by `cam.text_mix`) and auxiliary class maps `(B, C, h, w)`."""
        main, auxiliary = super().class_maps(tokens)
        if self.text_mix:
            similarity = torch.einsum("behw,ce->bchw", self._patch_embeddings(tokens), self.text_foreground)
            main, similarity = min_max_normalize(main.relu()), min_max_normalize(similarity.relu())
            main = (1 - self.text_mix) * main + self.text_mix * similarity
        return main, auxiliary

    def projections(self) -> list[nn.Module]:
        # with `proj.shared` both are one module, listed once
        projections = {id(p): p for p in (self.global_projection, self.local_projection)}
        return list(projections.values())

    def object_mask(self, batch: ImageBatch, cams: CAMs, step: int) -> ObjectMask:
        """The object-aware mask at `step`."""
        config = self.mask
        from_main = config.main_cam_after is not None and step >= config.main_cam_after
        return object_mask(
            cams.main if from_main else cams.auxiliary,
            batch.labels,
            valid_patches(batch.valid, self.network.encoder.patch_size),
            self.cam.low if config.low is None else config.low,
            self.cam.high if config.high is None else config.high,
            config.min_patches,
            config.class_agnostic,
        )

    def active_backgrounds(self, labels: Tensor) -> Tensor:
        """`(B, J)` bool: the background texts of each image, without those that name one of its classes."""
        return (labels @ self.text_class_backgrounds > 0) & ~(labels @ self.text_is_class_name > 0)

    def _alignment(self, batch: ImageBatch, tokens: Tokens, cams: CAMs, step: int) -> dict[str, Tensor]:
        """GIA, LEA and CCL, unweighted; losses of weight 0 are left out."""
        labels, active_backgrounds = batch.labels, self.active_backgrounds(batch.labels)
        texts = (self.text_foreground, self.text_background, labels, active_backgrounds)
        losses = {}
        if self.loss.gia:
            image = _unit(self.global_projection(tokens.class_token))  # (B, E)
            match, suppression = global_implicit_alignment(
                image, *texts, self.similarity, self.gia.bg_reduce, self.gia.bg_threshold
            )
            losses["gia"] = match + suppression
        if not (self.loss.lea or self.loss.ccl):
            return losses
        patches = self._patch_embeddings(tokens).flatten(2).transpose(1, 2)  # (B, N, E)
        mask = self.object_mask(batch, cams, step)
        if self.loss.lea:
            losses["lea"] = local_explicit_alignment(
                patches,
                *texts,
                _empty_before(self.start.lea, step, mask),
                self.similarity,
                self.lea.bg_repel,
                self.lea.bg_attract,
            )
        if self.loss.ccl:
            noise = None
            if self.ccl.bg_patches:
                noise = image_noise(batch.image_ids, step, patches.shape[1:2], patches.device)
            prototypes = class_prototypes(
                patches, _empty_before(self.start.ccl, step, mask), self.ccl.bg_patches, noise
            )
            to_text = image_to_text_contrast(prototypes, *texts, self.ccl.tau, self.ccl.class_negatives)
            to_image = text_to_image_contrast(prototypes, self.text_foreground, self.ccl.tau, self.ccl.gather)
            losses["ccl"] = 0.5 * (to_text + to_image)
        return losses

    def _patch_embeddings(self, tokens: Tokens) -> Tensor:
        """Projected patch tokens `(B, E, h, w)`, unit vectors in the space of the text embeddings."""
        projected = self.local_projection(tokens.patches.permute(0, 2, 3, 1))
        return _unit(projected).permute(0, 3, 1, 2)

    def _freeze_unused_projections(self, loss: LossWeights) -> None:
        """Freeze a projection that only losses of weight 0 would train.

        Data-parallel training needs a gradient for every parameter that is not frozen.
        """
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


def _empty_before(start: int, step: int, mask: ObjectMask) -> ObjectMask:
    """The mask; before step `start` an empty one, under which LEA and CCL are 0."""
    return mask if step >= start else ObjectMask(*map(torch.zeros_like, mask))
