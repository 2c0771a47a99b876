"""ExCEL: an adapter and a decoder on a frozen, calibrated CLIP, trained on its own pseudo labels.

Yang et al., "Exploring CLIP's Dense Knowledge for Weakly Supervised Semantic Segmentation", CVPR 2025,
https://arxiv.org/abs/2503.20826, https://github.com/zwyang6/ExCEL.

Departures: pseudo labels are 255 on padding; training crops are drawn without a look at the pixel masks (the
authors draw again up to ten times where one value covers three quarters of the crop); at inference no image
depends on others (`feature_affinity.py`); the mirror image is a part of the seeds, as published, but CLIP's
second pass is not made (`calibrated_clip.py`), with equal results.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from wsss_bench.losses.pair_affinity import label_pairs, pair_affinity_loss, patch_labels
from wsss_bench.losses.ranks import channel_dropout
from wsss_bench.losses.segmentation import balanced_cross_entropy
from wsss_bench.methods.excel.calibrated_clip import Reading, Tokens
from wsss_bench.methods.excel.class_maps import merge_mirrored
from wsss_bench.methods.excel.feature_affinity import (
    affinity,
    calibration_bias,
    cosines,
    mean_of_batch,
    mean_of_images,
)
from wsss_bench.methods.excel.text_enrichment import Enrichment
from wsss_bench.methods.excel.training_free import ExCELStatic
from wsss_bench.methods.optim import OptimConfig
from wsss_bench.nn.attention_refinement import refined_attention
from wsss_bench.nn.competing_texts import Texts
from wsss_bench.nn.fusion_decoder import TokenFusion, TransformerDecoder
from wsss_bench.nn.online_labels import pseudo_labels
from wsss_bench.nn.par import PAR
from wsss_bench.ranges import check_range
from wsss_bench.transfer import HostCopy
from wsss_bench.types import IGNORE, ImageBatch


@dataclass(frozen=True)
class DecoderConfig:
    """Adapter and decoder.

    Args:
        width: Width of fused tokens, a multiple of `heads`.
        blocks: Number of transformer blocks of the decoder.
        heads: Number of their attention heads.
        dropout: Probability that a channel of the fused tokens of an image is dropped.
    """

    width: int = 256
    blocks: int = 3
    heads: int = 8
    dropout: float = 0.1

    def __post_init__(self) -> None:
        check_range("decoder.blocks", self.blocks, 1)
        check_range("decoder.heads", self.heads, 1)
        check_range("decoder.dropout", self.dropout, 0, below=1)
        if self.width < 1 or self.width % self.heads:
            raise ValueError(
                f"decoder.width is {self.width}; expected a multiple of decoder.heads, {self.heads}"
            )


class ExCEL(ExCELStatic):
    """Calibrated CLIP with a trained adapter, decoder, and learnable visual calibration (LVC).

    Args:
        class_names: Foreground classes, in label order.
        optim: Optimiser of adapter and decoder.
        clip, texts, enrichment, calibrated_blocks, attention_blocks, box_threshold: As in `ExCELStatic`.
        tokens: What the adapter gets of the blocks of CLIP (`calibrated_clip.Tokens`).
        decoder: Adapter and decoder.
        lvc_start: First step with learnable calibration, and with attention that the learned affinity
            chooses; None: never.
        self_pairs_start: First step at which the pairs of the affinity loss come from the decoder's own
            prediction in place of the pseudo label; None: never.
        affinity_radius: Largest distance of a pair, in patches.
        affinity_weight: Weight of the affinity loss (in the paper: diversity loss).
        par_iterations: Iterations of PAR, which refines pseudo labels by the colours; 0: no PAR.

    Raises:
        ValueError: as `ExCELStatic`, or a calibration that is learned where no block is calibrated.
    """

    batch_type = ImageBatch
    trained_steps: Tensor

    def __init__(
        self,
        class_names: Sequence[str],
        optim: OptimConfig = OptimConfig(),
        clip: str = "openai/clip-vit-base-patch16",
        texts: Texts = Texts(),
        enrichment: Enrichment = Enrichment(),
        calibrated_blocks: int = 5,
        attention_blocks: int = 6,
        box_threshold: float = 0.79,
        tokens: Tokens = "published",
        decoder: DecoderConfig = DecoderConfig(),
        lvc_start: int | None = 14000,
        self_pairs_start: int | None = 24000,
        affinity_radius: int = 8,
        affinity_weight: float = 0.1,
        par_iterations: int = 20,
    ) -> None:
        super().__init__(
            class_names,
            clip,
            texts,
            enrichment,
            calibrated_blocks,
            attention_blocks,
            box_threshold,
            optim,
        )
        if lvc_start is not None and calibrated_blocks == 0:
            raise ValueError(
                "lvc_start calibrates further what calibrated_blocks: 0 leaves as it is; "
                "set lvc_start: null, or calibrate some blocks"
            )
        check_range("lvc_start", lvc_start, 0)
        check_range("self_pairs_start", self_pairs_start, 0)
        check_range("affinity_radius", affinity_radius, 0)
        check_range("affinity_weight", affinity_weight, 0)
        check_range("par_iterations", par_iterations, 0)
        self.fusion = TokenFusion(self.clip.num_blocks, self.clip.width, decoder.width)
        self.decoder = TransformerDecoder(
            decoder.width, 1 + len(self.class_names), decoder.blocks, decoder.heads
        )
        self.par = PAR(par_iterations) if par_iterations else None
        self.tokens = tokens
        self.dropout = decoder.dropout
        self.lvc_start, self.self_pairs_start = lvc_start, self_pairs_start
        self.affinity_radius, self.affinity_weight = affinity_radius, affinity_weight
        # in the checkpoint, so that a trained method makes the seeds of its last step
        self.register_buffer("trained_steps", torch.zeros((), dtype=torch.int64))
        self._steps_on_host = HostCopy()

    def training_loss(self, batch: ImageBatch) -> dict[str, Tensor]:
        step, size = self.global_step, batch.image.shape[-2:]
        grid = self.clip.grid(batch.image)
        reading = self.read(batch.image, self.tokens)
        fused = self.fuse(reading)
        if self.dropout:
            fused = channel_dropout(fused, self.dropout, batch.image_ids, step)
        logits = F.interpolate(self.decoder(fused, grid).float(), size, mode="bilinear", align_corners=False)
        similarity = cosines(fused)
        mean = mean_of_batch(similarity)
        learned = affinity(similarity, mean)
        label = self._pseudo_label(batch, reading, similarity.detach(), mean.detach(), step)
        pair_label = label
        if reached(step, self.self_pairs_start):
            pair_label = logits.argmax(dim=1).masked_fill(~batch.valid, IGNORE)
        pairs = label_pairs(patch_labels(pair_label, grid), self.affinity_radius)
        return {
            "seg": balanced_cross_entropy(logits, label),
            "affinity": self.affinity_weight * pair_affinity_loss(learned, pairs),
        }

    def seed_maps(
        self, image: Tensor, labels: Tensor | None = None, references: Sequence[Any] = ()
    ) -> Tensor:
        steps = self.global_step if self.training else self._steps_on_host.of(self.trained_steps)
        if not reached(steps, self.lvc_start):
            return super().seed_maps(image, labels, references)
        reading = self.read(torch.cat([image, image.flip(-1)]), self.tokens)
        similarity = cosines(self.fuse(reading))  # (2 B, n, n)
        bias = calibration_bias(similarity, mean_of_images(similarity, views=2))
        maps = merge_mirrored(self.maps(reading.with_bias(bias), image))
        own = similarity[: len(image)]
        learned = affinity(own, mean_of_images(own))
        return self.refine(maps, refined_attention(reading.attention[:, : len(image)], learned))

    def segmentation_logits(self, image: Tensor) -> Tensor:
        return self.decoder(self.fuse(self.read(image, self.tokens)), self.clip.grid(image))

    def after_step(self) -> None:
        self.trained_steps.fill_(self.global_step + 1)

    def fuse(self, reading: Reading) -> Tensor:
        """The adapter: tokens of all blocks -> `(B, n, width)`, one token per patch."""
        return self.fusion([tokens[:, 1:] for tokens in reading.tokens])

    @torch.no_grad()
    def _pseudo_label(
        self, batch: ImageBatch, reading: Reading, similarity: Tensor, mean: Tensor, step: int
    ) -> Tensor:
        """`(B, H, W)` int64 in {0..C, 255}."""
        calibrated, attention = reading.calibrated, reading.attention.mean(dim=0)
        if reached(step, self.lvc_start):
            calibrated = reading.with_bias(calibration_bias(similarity, mean))
            attention = refined_attention(reading.attention, affinity(similarity, mean))
        maps = self.refine(self.maps(calibrated, batch.image), attention)
        return pseudo_labels(batch.image, maps, batch.labels, batch.valid, self.par, max(batch.num_labels))


def reached(step: int, start: int | None) -> bool:
    """Whether something that begins at step `start` is in use at `step`."""
    return start is not None and step >= start
