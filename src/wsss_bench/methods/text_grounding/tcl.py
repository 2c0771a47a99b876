"""TCL: masks grounded in the text of image-caption pairs. The parent of CoDe.

Cha et al., "Learning to Generate Text-grounded Mask for Open-world Semantic Segmentation from Only Image-Text Pairs", CVPR
2023, https://arxiv.org/abs/2212.00785; https://github.com/kakaobrain/tcl.

A segmenter beside a frozen CLIP cuts out what the caption speaks of. CLIP must recognise the caption in the region (the rest
is blanked) and in the pooled pixel features, more than any other caption of the batch; the region covers about a prior
share of the image, and nothing where the caption is another image's.

Departures, each told in docs/why_it_differs.md: a frozen block's query and key are left out; the block is synchronised over
ranks in the second stage; areas and means are over the global batch; draws depend on seed, epoch and image alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from wsss_bench.losses.gather import gather_rows, rows_before
from wsss_bench.losses.ranks import mean_over_ranks
from wsss_bench.methods.base import Method
from wsss_bench.methods.optim import OptimConfig, vectors_without_decay
from wsss_bench.methods.text_grounding.contrastive import LOG_SCALE, contrast
from wsss_bench.methods.text_grounding.draws import image_generator, uniform_draws
from wsss_bench.methods.text_grounding.grounding import Grounding, MaskReading
from wsss_bench.methods.text_grounding.highlight import enlarge_mask
from wsss_bench.methods.text_grounding.image_segmenter import hard_masks
from wsss_bench.methods.text_grounding.losses import grounding_terms
from wsss_bench.nn.class_prompts import prompt_ensemble, require_known_words
from wsss_bench.nn.clip import CLIP
from wsss_bench.nn.clip_text import (
    embed_words,
    sentence_embedding,
    tokenize,
)
from wsss_bench.types import CaptionBatch
from wsss_bench.vocabulary import templates as prompt_templates


@dataclass(frozen=True)
class LossWeights:
    """Weights and priors of TCL.

    Args:
        contrast: Of masked image against caption, and of pooled features against caption.
        variation: Of the total variation of features, and of masks.
        area: Of the positive and of the negative area.
        area_prior: Share of the image that a caption's mask covers on average.
    """

    contrast: float = 0.1
    variation: float = 1.0
    area: float = 0.4
    area_prior: float = 0.4


class TCL(Method):
    """Image segmenter trained on captions.

    Args:
        class_names: Foreground classes, in label order; CLIP reads them at inference.
        optim: Optimiser; vectors have no weight decay.
        clip: Hub name, folder, or `package:mini/clip`.
        statistics: Normalise images as ImageNet's (published) or as CLIP was trained.
        cosine_threshold: Cosine at which a mask is undecided, before training.
        loss_weights: Of the terms.
        decoder_only_steps: Step from which the copy of CLIP's block is trained too.
        reading: How masks are read; both branches use its templates.
    """

    supervision = "caption"
    batch_type = CaptionBatch
    open_vocabulary = True

    def __init__(
        self,
        class_names: Sequence[str],
        optim: OptimConfig = OptimConfig(name="adamw", lr=7.5e-5, weight_decay=0.05),
        clip: str = "openai/clip-vit-base-patch16",
        statistics: Literal["imagenet", "clip"] = "imagenet",
        cosine_threshold: float = 0.25,
        loss_weights: LossWeights = LossWeights(),
        decoder_only_steps: int = 30_000,
        reading: MaskReading = MaskReading(),
    ) -> None:
        super().__init__(class_names, optim)
        frozen = CLIP(clip)
        require_known_words(frozen, self.class_names)
        self.grounding = Grounding(frozen, statistics, double=True, cosine_threshold=cosine_threshold)
        self.feature_text_scale = nn.Parameter(torch.tensor(LOG_SCALE))
        self.image_text_scale = nn.Parameter(torch.tensor(LOG_SCALE))
        self.loss_weights = loss_weights
        self.decoder_only_steps = decoder_only_steps
        self.reading = reading
        with torch.no_grad():
            text = prompt_ensemble(frozen, self.class_names, prompt_templates(reading.templates))
        self.register_buffer("class_text", text, persistent=False)
        self.class_text: Tensor  # (C, D)

    def training_loss(self, batch: CaptionBatch) -> dict[str, Tensor]:
        grounding, clip = self.grounding, self.grounding.clip
        kept = [row for row, caption in enumerate(batch.caption) if caption.strip()]
        image = grounding.normalize(batch.image[kept])
        tokens = tokenize(clip, [batch.caption[row] for row in kept])
        with torch.no_grad():
            text = sentence_embedding(clip, embed_words(clip, tokens.ids), tokens.end)  # (P, D)
        pixels = grounding.pixels(image)  # (P, D, h, w)
        all_text, first = gather_rows(text), rows_before(text)
        logits = grounding.segmenter.mask_logits(pixels, all_text)  # (P, Q, h, w)
        weights = self.loss_weights
        terms = grounding_terms(
            pixels, logits.sigmoid(), all_text, self.feature_text_scale, weights.area_prior
        )
        row = torch.arange(len(kept), device=logits.device)
        seed = torch.initial_seed() - self.global_rank  # the base seeds every epoch, and the ranks apart
        generators = [image_generator(seed, batch.image_ids[k]) for k in kept]
        uniform = uniform_draws(generators, pixels.shape[2:], pixels)
        mask = hard_masks(logits[row, first + row], uniform)  # (P, h, w)
        seen = clip.encode_image(image * enlarge_mask(mask[:, None], image))  # (P, D)
        return {
            "image_text": weights.contrast * mean_over_ranks(contrast(seen, text, self.image_text_scale)),
            "feature_text": weights.contrast * terms.feature_text,
            "tv_features": weights.variation * terms.tv_features,
            "tv_masks": weights.variation * terms.tv_masks,
            "area": weights.area * terms.area,
            "negative_area": weights.area * terms.negative_area,
        }

    def seed_maps(
        self, image: Tensor, labels: Tensor | None = None, references: Sequence[Any] = ()
    ) -> Tensor:
        image = self.grounding.normalize(image)
        return self.grounding.scores(image, self.class_text, self.class_text, self.reading)  # (B, C, 4h, 4w)

    def segmentation_logits(self, image: Tensor) -> Tensor:
        return self.grounding.segmentation_logits(self.seed_maps(image), self.reading.background)

    def parameter_groups(self) -> list[dict[str, Any]]:
        return vectors_without_decay(self.parameters())

    def on_after_backward(self) -> None:
        """First stage: the block rests."""
        if self.global_step < self.decoder_only_steps:
            self.grounding.drop_block_gradients()
