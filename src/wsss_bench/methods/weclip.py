"""WeCLIP: one pass through a frozen CLIP gives a decoder its features and its pseudo labels.

Zhang et al., "Frozen CLIP: A Strong Backbone for Weakly Supervised Semantic Segmentation", CVPR 2024,
https://arxiv.org/abs/2406.11189, https://github.com/zbf1991/WeCLIP.

- Class maps are those of CLIP-ES (CVPR 2023): GradCAM of the last block, spread along CLIP's attention.
- A decoder on the tokens of all other blocks is trained on them, and the affinity of its fused tokens on
  their pairs.
- From step `refine_from` on, this affinity refines the attention that the class maps are spread along.

Only the decoder is trained. Departures, besides those of docs/why_it_differs.md:
- Image labels come from the data source, not from masks; padding is 255 in the pseudo labels.
- The refinement starts at a step; the authors' counter counts validation too, and restarts with a resume.
- A training step is in float32 in every precision, the attention's output projection too. Predictions have
  that of the trainer, but for GradCAM and affinities.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from wsss_bench.losses.pair_affinity import label_pairs, pair_affinity_loss, patch_labels
from wsss_bench.losses.ranks import channel_dropout
from wsss_bench.losses.segmentation import balanced_cross_entropy
from wsss_bench.methods.base import Method
from wsss_bench.methods.optim import OptimConfig
from wsss_bench.nn.attention_affinity import spread_along
from wsss_bench.nn.attention_refinement import refined_attention
from wsss_bench.nn.clip import CLIP, Positions
from wsss_bench.nn.competing_texts import Texts, embed_competing_texts
from wsss_bench.nn.frozen import Frozen
from wsss_bench.nn.fusion_decoder import TokenFusion, TransformerDecoder
from wsss_bench.nn.grad_cam import grad_cam
from wsss_bench.nn.normalize import ImageNetNormalize
from wsss_bench.nn.online_labels import pseudo_labels
from wsss_bench.nn.par import PAR
from wsss_bench.nn.precision import in_float32, step_in_float32
from wsss_bench.ranges import check_range
from wsss_bench.transfer import HostCopy
from wsss_bench.types import ImageBatch

POSITIONS: Positions = "bilinear_half"
"""How position embeddings are resized, in training too: 320 pixels are not CLIP's own size."""


@dataclass(frozen=True)
class DecoderConfig:
    """The trained part.

    Args:
        width: Width of fused tokens and of the transformer.
        blocks: Number of transformer blocks.
        heads: Attention heads of a block; they divide the width.
        dropout: Probability that a channel of the fused tokens is dropped in training.
    """

    width: int = 256
    blocks: int = 3
    heads: int = 8
    dropout: float = 0.1

    def __post_init__(self) -> None:
        for name in ("width", "blocks", "heads"):
            check_range(f"decoder.{name}", getattr(self, name), 1)
        check_range("decoder.dropout", self.dropout, 0, below=1)
        if self.width % self.heads:
            raise ValueError(
                f"decoder.width is {self.width}, which does not divide into {self.heads} heads; change "
                "decoder.width or decoder.heads"
            )


class Encoded(NamedTuple):
    """A batch of images after all blocks of CLIP but the last, without gradient."""

    tokens: Tensor
    """`(B, 1 + n, width)`, the input of the last block."""
    patch_tokens: list[Tensor]
    """`(B, n, width)` after each block, without the class token."""
    attention: list[Tensor]
    """`(B, n, n)` between patches, of the blocks that class maps are spread along."""
    grid: tuple[int, int]
    """Rows and columns of the `n` patches."""


class WeCLIP(Method):
    """Decoder on a frozen CLIP, trained on CLIP's class maps.

    Args:
        class_names: Foreground classes, in label order.
        optim: Optimiser of the decoder.
        clip: Hub name, folder, or `package:mini/clip`.
        texts: Texts of classes and backgrounds.
        decoder: The decoder.
        affinity_blocks: Number of last blocks of CLIP whose attention is averaged.
        box_threshold: Share of the maximum of a map whose regions have a box; what lies outside of the boxes
            does not spread. null: no boxes.
        refine_from: First step at which the attention is refined by the decoder; null: never.
        refine_blocks: Number of last blocks of CLIP among which the refinement chooses.
        pair_radius: Largest distance, in patches, of the pairs of the affinity loss.
        affinity_weight: Weight of the affinity loss; the segmentation loss has 1.

    Raises:
        ValueError: a number out of range, or texts that do not fit the classes or CLIP.
    """

    supervision = "image"
    batch_type = ImageBatch
    gradients_at_inference = True

    class_texts: Tensor
    background_texts: Tensor
    refining: Tensor

    def __init__(
        self,
        class_names: Sequence[str],
        optim: OptimConfig = OptimConfig(
            name="adamw", lr=2e-3, weight_decay=1e-2, power=1.0, warmup_steps=50
        ),
        clip: str = "openai/clip-vit-base-patch16",
        texts: Texts = Texts(),
        decoder: DecoderConfig = DecoderConfig(),
        affinity_blocks: int = 8,
        box_threshold: float | None = 0.4,
        refine_from: int | None = 9145,
        refine_blocks: int = 6,
        pair_radius: int = 8,
        affinity_weight: float = 0.1,
    ) -> None:
        super().__init__(class_names, optim)
        self.clip = Frozen(CLIP(clip))
        network = self.clip.network
        check_range("model.init_args.affinity_blocks", affinity_blocks, 1, network.num_blocks)
        check_range("model.init_args.refine_blocks", refine_blocks, 1, network.num_blocks)
        check_range("model.init_args.box_threshold", box_threshold, 0, 1)
        check_range("model.init_args.refine_from", refine_from, 0)
        check_range("model.init_args.pair_radius", pair_radius, 1)
        check_range("model.init_args.affinity_weight", affinity_weight, 0)
        embedded = embed_competing_texts(network, self.class_names, texts)
        self.register_buffer("class_texts", embedded.classes, persistent=False)
        self.register_buffer("background_texts", embedded.backgrounds, persistent=False)
        self.normalize = ImageNetNormalize()
        self.fusion = TokenFusion(network.num_blocks - 1, network.width, decoder.width)
        self.decoder = TransformerDecoder(
            decoder.width, 1 + len(self.class_names), decoder.blocks, decoder.heads
        )
        self.dropout = decoder.dropout
        self.affinity_blocks, self.refine_blocks = affinity_blocks, refine_blocks
        self.box_threshold = box_threshold
        self.refine_from = refine_from
        self.pair_radius = pair_radius
        self.affinity_weight = affinity_weight
        self.par = PAR(iterations=20)
        # in the checkpoint: seeds of a trained method are refined if those of its last step were
        self.register_buffer("refining", torch.tensor(False))
        self._refining_on_host = HostCopy()

    @step_in_float32
    def training_loss(self, batch: ImageBatch) -> dict[str, Tensor]:
        refined = self._refines_now()
        encoded = self._encode(batch.image, self._blocks_of_attention(refined))
        fused = self.fusion(encoded.patch_tokens)
        if self.training:
            fused = channel_dropout(fused, self.dropout, batch.image_ids, self.global_step, "fusion")
        affinity = token_affinity(fused)
        most = max(batch.num_labels)
        maps = self._class_maps(encoded, batch.labels, affinity.detach() if refined else None, most)
        labels = pseudo_labels(batch.image, maps, batch.labels, batch.valid, self.par, most)
        logits = self.decoder(fused, encoded.grid)
        logits = F.interpolate(logits, batch.image.shape[-2:], mode="bilinear", align_corners=False)
        pairs = label_pairs(patch_labels(labels, encoded.grid), self.pair_radius)
        return {
            "seg": balanced_cross_entropy(logits, labels),
            "affinity": self.affinity_weight * pair_affinity_loss(affinity, pairs),
        }

    @torch.no_grad()
    def seed_maps(
        self, image: Tensor, labels: Tensor | None = None, references: Sequence[Any] = ()
    ) -> Tensor:
        if labels is None:
            raise ValueError(
                "the class maps of WeCLIP need the labels of an image: classes compete among them"
            )
        refined = bool(self._refining_on_host.of(self.refining))
        encoded = self._encode(image, self._blocks_of_attention(refined))
        affinity = token_affinity(self.fusion(encoded.patch_tokens)) if refined else None
        return self._class_maps(encoded, labels, affinity)  # (B, C, h, w)

    @torch.no_grad()
    def segmentation_logits(self, image: Tensor) -> Tensor:
        encoded = self._encode(image, blocks_of_attention=0)
        return self.decoder(self.fusion(encoded.patch_tokens), encoded.grid)  # (B, 1 + C, h, w)

    def after_step(self) -> None:
        self.refining.fill_(self._refines_now())

    def _refines_now(self) -> bool:
        """Whether the attention is refined at this step of the training."""
        return self.refine_from is not None and self.global_step >= self.refine_from

    def _blocks_of_attention(self, refined: bool) -> int:
        return self.refine_blocks if refined else self.affinity_blocks

    @torch.no_grad()
    def _encode(self, image: Tensor, blocks_of_attention: int) -> Encoded:
        """Run all blocks of CLIP but the last; only class maps need that one, and GradCAM runs it.

        Args:
            image: `(B, 3, H, W)` in [0, 1].
            blocks_of_attention: Number of last blocks, the very last one included, whose attention is read.
        """
        clip = self.clip.network
        last = clip.num_blocks - 1
        read = range(clip.num_blocks - blocks_of_attention, last)
        outputs = list(clip.block_outputs(self.normalize(image), read, POSITIONS, blocks=last))
        return Encoded(
            outputs[-1].tokens,
            [output.tokens[:, 1:] for output in outputs],
            [output.attention[:, 1:, 1:] for output in outputs if output.attention is not None],
            clip.grid(image),
        )

    @torch.no_grad()
    def _class_maps(
        self, encoded: Encoded, labels: Tensor, affinity: Tensor | None, most_labels: int | None = None
    ) -> Tensor:
        """Maps of the labelled classes `(B, C, h, w)` in [0, 1), refined if there is an affinity."""
        texts = self.class_texts, self.background_texts
        cam = grad_cam(
            self.clip.network, encoded.tokens, encoded.grid, *texts, labels, most_labels=most_labels
        )
        blocks = torch.stack([*encoded.attention, cam.attention[:, 1:, 1:]])  # (L, B, n, n)
        attention = blocks.mean(dim=0) if affinity is None else refined_attention(blocks, affinity)
        return spread_along(attention, cam.maps, self.box_threshold)


@in_float32
def token_affinity(tokens: Tensor) -> Tensor:
    """Probability `(B, n, n)` that two places belong together: sigmoid of the dot products, not scaled."""
    return (tokens @ tokens.mT).sigmoid()
