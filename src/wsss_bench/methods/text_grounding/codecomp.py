"""CoDe: image-text co-decomposition. A region of the image and a segment of the caption, cut out by one noun, must match.

Wu et al., "Image-Text Co-Decomposition for Text-Supervised Semantic Segmentation", CVPR 2024,
https://arxiv.org/abs/2404.04231; https://github.com/072jiajia/Image-Text-Co-Decomposition (commit c49e3fa).

From each caption some nouns are drawn. The image segmenter predicts where a noun is, the text segmenter which words speak of
it. What lies outside is replaced by learned prompts, and frozen CLIP must match the highlighted image with the highlighted
caption and with the noun; TCL's terms for pooled features, smoothness and area come along. At inference only the image
segmenter and the learned noun prompt are used, beside frozen CLIP's own masks.

Departures, each told in docs/why_it_differs.md: nouns that differ in capitals are one; draws depend on seed, epoch and image
alone; the block is synchronised over ranks in the second stage; areas and means are over the global batch; query and key of a
block that attends to itself are left out; the last step is read, not the best on the scored sets.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn

from wsss_bench.losses.gather import gather_rows, rows_before
from wsss_bench.losses.ranks import mean_over_ranks, summed_over_ranks
from wsss_bench.methods.base import Method
from wsss_bench.methods.optim import OptimConfig, vectors_without_decay
from wsss_bench.methods.text_grounding.contrastive import LOG_SCALE, contrast
from wsss_bench.methods.text_grounding.draws import image_generator, uniform_draws
from wsss_bench.methods.text_grounding.grounding import Grounding, MaskReading
from wsss_bench.methods.text_grounding.highlight import RegionPrompt, WordPrompt
from wsss_bench.methods.text_grounding.image_segmenter import hard_masks
from wsss_bench.methods.text_grounding.losses import grounding_terms
from wsss_bench.methods.text_grounding.nouns import NounExtractor, noun_extractor
from wsss_bench.methods.text_grounding.text_segmenter import NO_TARGET, TextSegmenter, word_labels, word_masks
from wsss_bench.methods.text_grounding.word_segmentation import word_segmentation
from wsss_bench.nn.class_prompts import prompt_ensemble, require_known_words
from wsss_bench.nn.clip import CLIP
from wsss_bench.nn.clip_text import (
    NounPrompt,
    Tokens,
    embed_words,
    sentence_embedding,
    text_states,
    tokenize,
)
from wsss_bench.types import CaptionBatch
from wsss_bench.vocabulary import templates as prompt_templates

PATIENCE = 1000
"""Captions among which one must have enough nouns."""


@dataclass(frozen=True)
class LossWeights:
    """Weights and priors of CoDe's nine terms.

    Args:
        knowledge: L_kg, learned noun prompt against frozen CLIP's sentence.
        contrast: Of pooled features, and of the highlighted image, against the noun.
        highlight: L_hcl, highlighted image against highlighted caption.
        variation: Of the total variation of features, and of masks.
        area: Of a noun's own masks.
        area_prior: Their mean share of the image.
        negative_area: Of the masks of other pairs' nouns.
        words: L_seg^t, of the text segmenter.
        other_nouns: Weight, in that term, of tokens of nouns that were not drawn.
    """

    knowledge: float = 8.0
    contrast: float = 0.1
    highlight: float = 0.5
    variation: float = 1.0
    area: float = 0.5
    area_prior: float = 0.25
    negative_area: float = 0.05
    words: float = 1.0
    other_nouns: float = 0.5


class Sample(NamedTuple):
    """What is drawn of one image with enough nouns."""

    row: int  # in the batch
    caption: str
    nouns: list[str]  # all of the caption
    drawn: list[str]  # N of them
    sentences: list[str]  # a template filled with each
    generator: torch.Generator


class CoDe(Method):
    """Image and text segmenters trained on captions.

    Args:
        class_names: Foreground classes, in label order; the noun prompt reads them, as they are, at inference.
        optim: Optimiser; vectors have no weight decay.
        clip: Hub name, folder, or `package:mini/clip`.
        statistics: Normalise images as ImageNet's (published) or as CLIP was trained.
        nouns: What finds the nouns of a caption: `nltk`, or a vocabulary with nouns.
        nouns_per_caption: Drawn of each caption; one with fewer is left out of the batch.
        context: Words that the noun prompt starts from.
        context_length: Its learned vectors.
        noun_templates: Name of the prompt templates of L_kg.
        cosine_threshold: Cosine at which a mask is undecided, before training.
        loss_weights: Of the terms.
        decoder_only_steps: Step from which the copy of CLIP's block is trained too.
        reading: How masks are read.
    """

    supervision = "caption"
    batch_type = CaptionBatch
    open_vocabulary = True

    def __init__(
        self,
        class_names: Sequence[str],
        optim: OptimConfig = OptimConfig(name="adamw", lr=5e-6, weight_decay=0.05),
        clip: str = "openai/clip-vit-base-patch16",
        statistics: Literal["imagenet", "clip"] = "imagenet",
        nouns: str = "nltk",
        nouns_per_caption: int = 2,
        context: str = "a photo of",
        context_length: int = 16,
        noun_templates: str = "full_imagenet_80",
        cosine_threshold: float = 0.25,
        loss_weights: LossWeights = LossWeights(),
        decoder_only_steps: int = 30_000,
        reading: MaskReading = MaskReading(),
    ) -> None:
        super().__init__(class_names, optim)
        frozen = CLIP(clip)
        require_known_words(frozen, self.class_names)
        self.nouns = nouns
        self.nouns_per_caption = nouns_per_caption
        self.noun_templates = prompt_templates(noun_templates)
        self.grounding = Grounding(frozen, statistics, double=False, cosine_threshold=cosine_threshold)
        self.noun_prompt = NounPrompt(frozen, context, context_length)
        self.text_segmenter = TextSegmenter(frozen)
        self.region_prompt = RegionPrompt(frozen.image_size)
        self.word_prompt = WordPrompt(frozen.text_length, frozen.text_width)
        self.feature_noun_scale = nn.Parameter(torch.tensor(LOG_SCALE))
        self.image_noun_scale = nn.Parameter(torch.tensor(LOG_SCALE))
        self.highlight_scale = nn.Parameter(torch.tensor(LOG_SCALE))
        self.loss_weights = loss_weights
        self.decoder_only_steps = decoder_only_steps
        self.reading = reading
        with torch.no_grad():
            text = prompt_ensemble(frozen, self.class_names, prompt_templates(reading.templates))
        self.register_buffer("knowledge_text", text, persistent=False)
        self.knowledge_text: Tensor  # (C, D)
        self._prompted: tuple[tuple[int, torch.device], Tensor] | None = None
        self._shown = self._used = 0  # captions of this rank in this epoch

    def training_loss(self, batch: CaptionBatch) -> dict[str, Tensor]:
        samples = self._samples(batch)
        image = self.grounding.normalize(batch.image[[sample.row for sample in samples]])
        grid = self.grounding.mask_size(image)
        uniform = uniform_draws([s.generator for s in samples], (self.nouns_per_caption, *grid), image)
        return self._losses(image, samples, uniform)

    def seed_maps(
        self, image: Tensor, labels: Tensor | None = None, references: Sequence[Any] = ()
    ) -> Tensor:
        image = self.grounding.normalize(image)
        return self.grounding.scores(image, self._class_text(), self.knowledge_text, self.reading)

    def segmentation_logits(self, image: Tensor) -> Tensor:
        return self.grounding.segmentation_logits(self.seed_maps(image), self.reading.background)

    def parameter_groups(self) -> list[dict[str, Any]]:
        return vectors_without_decay(self.parameters())

    def on_after_backward(self) -> None:
        """First stage: the block rests."""
        if self.global_step < self.decoder_only_steps:
            self.grounding.drop_block_gradients()

    def on_train_epoch_end(self) -> None:
        """Say how many captions were left out."""
        (shown, used), _ = summed_over_ranks(torch.tensor([self._shown, self._used], device=self.device))
        self._shown = self._used = 0
        if self.global_rank == 0:
            print(
                f"{shown - used} of {shown} captions have fewer than {self.nouns_per_caption} nouns and were left out",
                flush=True,
            )

    @cached_property
    def _extract_nouns(self) -> NounExtractor:
        return noun_extractor(self.nouns)  # at the first training step: inference needs no tagger

    def _samples(self, batch: CaptionBatch) -> list[Sample]:
        """Nouns of the captions that have enough of them; an image without a caption has none.

        Raises:
            ValueError: the first `PATIENCE` captions all have too few.
        """
        seed = torch.initial_seed() - self.global_rank  # the base seeds every epoch, and the ranks apart
        samples = []
        for row, (image_id, caption) in enumerate(zip(batch.image_ids, batch.caption, strict=True)):
            nouns = self._extract_nouns(caption)
            if len(nouns) < self.nouns_per_caption:
                continue
            generator = image_generator(seed, image_id)
            order = torch.randperm(len(nouns), generator=generator).tolist()
            drawn = [nouns[k] for k in order[: self.nouns_per_caption]]
            chosen = torch.randint(len(self.noun_templates), (len(drawn),), generator=generator).tolist()
            sentences = [self.noun_templates[k].format(noun) for k, noun in zip(chosen, drawn, strict=True)]
            samples.append(Sample(row, caption, nouns, drawn, sentences, generator))
        self._shown += len(batch.caption)
        self._used += len(samples)
        if not self._used and self._shown >= PATIENCE:
            raise ValueError(
                f"none of {self._shown} captions has {self.nouns_per_caption} nouns, the last one is {batch.caption[-1]!r}; "
                f"set model.init_args.nouns (now {self.nouns!r}) to an extractor or a vocabulary that knows the nouns of "
                "these captions"
            )
        return samples

    def _losses(self, image: Tensor, samples: Sequence[Sample], uniform: Tensor) -> dict[str, Tensor]:
        """The nine terms. Pairs are noun-major: pair `k * B + b` is noun `k` of image `b`.

        Args:
            image: `(B, 3, H, W)`, normalised; one for each sample.
            samples: What was drawn of them.
            uniform: `(B, N, h, w)` draws of the hard masks.
        """
        clip, segmenter, weights = self.grounding.clip, self.grounding.segmenter, self.loss_weights
        count = self.nouns_per_caption
        noun = self.noun_prompt(clip, [s.drawn[k] for k in range(count) for s in samples])  # (P, D)
        known = self._encode(
            tokenize(clip, [s.sentences[k] for k in range(count) for s in samples])
        )  # (P, D)

        pixels = self.grounding.pixels(image)  # (B, D, h, w)
        nouns, first = gather_rows(noun), rows_before(noun)
        mask_logits = segmenter.mask_logits(pixels, nouns)  # (B, Q, h, w)
        terms = grounding_terms(
            pixels, mask_logits.sigmoid(), nouns, self.feature_noun_scale, weights.area_prior
        )
        pair = torch.arange(len(noun), device=noun.device)
        own = mask_logits[pair % max(len(samples), 1), first + pair]  # (P, h, w)
        region = hard_masks(own, uniform.transpose(0, 1).flatten(0, 1))
        seen = clip.encode_image(self.region_prompt(image.repeat(count, 1, 1, 1), region[:, None]))  # (P, D)

        tokens = tokenize(clip, [s.caption for s in samples])
        embedded = embed_words(clip, tokens.ids)  # (B, L, width)
        with torch.no_grad():
            states = text_states(clip, embedded)
        word_logits = self.text_segmenter(states, noun.unflatten(0, (count, len(samples))))  # (B, N + 1, L)
        words = word_masks(word_logits).flatten(0, 1)  # (P, L)
        end = tokens.end.repeat(count)
        said = sentence_embedding(
            clip, self.word_prompt(embedded.repeat(count, 1, 1), words, end), end
        )  # (P, D)

        return {
            "knowledge": weights.knowledge * mean_over_ranks(1 - (noun * known).sum(dim=1)),
            "feature_noun": weights.contrast * terms.feature_text,
            "image_noun": weights.contrast * mean_over_ranks(contrast(seen, noun, self.image_noun_scale)),
            "highlight": weights.highlight * mean_over_ranks(contrast(seen, said, self.highlight_scale)),
            "tv_features": weights.variation * terms.tv_features,
            "tv_masks": weights.variation * terms.tv_masks,
            "area": weights.area * terms.area,
            "negative_area": weights.negative_area * terms.negative_area,
            "words": weights.words
            * word_segmentation(word_logits, self._labels(samples, tokens), weights.other_nouns),
        }

    @torch.no_grad()
    def _encode(self, tokens: Tokens) -> Tensor:
        """`(N, D)`, frozen CLIP's own."""
        return sentence_embedding(
            self.grounding.clip, embed_words(self.grounding.clip, tokens.ids), tokens.end
        )

    def _labels(self, samples: Sequence[Sample], tokens: Tokens) -> Tensor:
        """`(B, L)` targets of the text segmenter."""
        labels = torch.full_like(tokens.ids, NO_TARGET)
        for row, sample in enumerate(samples):
            pieces = tokenize(self.grounding.clip, [*sample.nouns, *sample.drawn])
            ids = [pieces.words(k) for k in range(len(pieces.ids))]
            split = len(sample.nouns)
            labels[row] = word_labels(tokens.ids[row].tolist(), ids[:split], ids[split:]).to(labels)
        return labels

    def _class_text(self) -> Tensor:
        """`(C, D)`: the noun prompt's class embeddings, computed again when it has changed or moved."""
        context = self.noun_prompt.context
        key = (context._version, context.device)  # counts changes in place: optimiser steps, loading
        if self._prompted is None or self._prompted[0] != key or torch.is_grad_enabled():
            self._prompted = (key, self.noun_prompt(self.grounding.clip, self.class_names))
        return self._prompted[1]
