"""CoDe: image-text co-decomposition. A noun selects an image segment and a word segment, which must match.

Wu et al., "Image-Text Co-Decomposition for Text-Supervised Semantic Segmentation", CVPR 2024,
https://arxiv.org/abs/2404.04231; https://github.com/072jiajia/Image-Text-Co-Decomposition (commit c49e3fa).

Some nouns are drawn from each caption. The image segmenter predicts the region of a noun, the text segmenter
the words that belong to it. Learned prompts replace everything else, and contrastive losses match frozen
CLIP's embedding of the highlighted image with that of the highlighted text and with the noun. TCL's terms for
pooled features, total variation and area are added. Inference uses the image segmenter with the learned noun
prompt, and frozen CLIP's own masks.

Departures, each described in docs/why_it_differs.md: nouns that differ in capitals only are one; random
choices depend on random seed, epoch and image alone; the block is synchronised over ranks in the second
stage; areas and means are over the global batch; query and key of the self-only block are left out; the last
step is kept, not the best on the scored data sets.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import torch
from torch import Tensor, nn

from wsss_bench.losses.ranks import gather_rows, mean_over_ranks, rows_before, summed_over_ranks
from wsss_bench.methods.base import Method
from wsss_bench.methods.optim import OptimConfig, vectors_without_decay
from wsss_bench.methods.text_grounding.grounding import Grounding, MaskInference
from wsss_bench.methods.text_grounding.image_random import rows_of, uniform_noise
from wsss_bench.methods.text_grounding.image_segmenter import hard_masks, unit_pixels
from wsss_bench.methods.text_grounding.info_nce import INITIAL_LOG_SCALE, info_nce
from wsss_bench.methods.text_grounding.losses import (
    grounding_terms,
    prompt_distance,
    text_segmentation_loss,
)
from wsss_bench.methods.text_grounding.noun_prompt import NounPrompt
from wsss_bench.methods.text_grounding.noun_sampling import NounSample, sample_nouns
from wsss_bench.methods.text_grounding.nouns import NounExtractor, noun_extractor
from wsss_bench.methods.text_grounding.region_word_prompts import RegionPrompt, WordPrompt
from wsss_bench.methods.text_grounding.text_segmenter import (
    IGNORED_TOKEN,
    TextSegmenter,
    text_masks,
    token_pseudo_labels,
)
from wsss_bench.nn.class_prompts import prompt_ensemble, require_known_words
from wsss_bench.nn.clip import CLIP
from wsss_bench.nn.clip_text import (
    TokenizedText,
    embed_tokens,
    sentence_embedding,
    text_hidden_states,
    tokenize,
)
from wsss_bench.nn.synonyms import best_of_class, class_of_names
from wsss_bench.transfer import to_device
from wsss_bench.types import CaptionBatch
from wsss_bench.vocabulary import templates as prompt_templates
from wsss_bench.vocabulary.synonyms import names_of_classes

MAX_UNUSABLE_CAPTIONS = 1000
"""Training stops if so many captions at the start of an epoch all have too few nouns."""


@dataclass(frozen=True)
class LossWeights:
    """Loss weights and area prior of CoDe.

    Args:
        kg: Weight of L_kg: learned noun prompt against frozen CLIP's sentence about the noun.
        contrast: Weight of the contrast of pooled features and noun, and of that of highlighted image and
            noun.
        hcl: Weight of L_hcl: contrast of highlighted image and highlighted text.
        tv: Weight of the total variation of pixel features, and of that of masks.
        area: Weight of the area term of a noun's own masks.
        area_prior: Mean share of the image that a noun's own mask should cover.
        negative_area: Weight of the area term of the masks of other pairs' nouns.
        text_seg: Weight of L_seg^t, the loss of the text segmenter.
        other_nouns: Weight, within L_seg^t, of tokens of nouns that were not drawn.
    """

    kg: float = 8.0
    contrast: float = 0.1
    hcl: float = 0.5
    tv: float = 1.0
    area: float = 0.5
    area_prior: float = 0.25
    negative_area: float = 0.05
    text_seg: float = 1.0
    other_nouns: float = 0.5


class CoDe(Method):
    """Image and text segmenters trained on captions.

    Args:
        class_names: Foreground classes, in label order; the noun prompt takes them unchanged at inference.
        optim: Optimiser; 1-d parameters have no weight decay.
        clip: Hub name, folder, or `package:mini/clip`.
        statistics: Mean and deviation that images are normalised with: ImageNet's (published) or CLIP's own.
        nouns: Noun extractor: `nltk`, or the name of a vocabulary with nouns.
        nouns_per_caption: Nouns drawn from each caption; captions with fewer are left out of the batch.
        context: Words that initialise the noun prompt.
        context_length: Number of its learned vectors.
        noun_templates: Name of the prompt templates of L_kg.
        cosine_threshold: Cosine at which the mask probability is one half before training.
        loss_weights: Weights of the loss terms.
        decoder_only_steps: Number of first steps in which the copy of CLIP's last block is not trained.
        mask_inference: Settings of mask inference.
    """

    supervision = "caption"
    batch_type = CaptionBatch
    open_vocabulary = True
    idle_at_first = ("grounding.segmenter.decoder.", "grounding.segmenter.block.")

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
        mask_inference: MaskInference = MaskInference(),
    ) -> None:
        super().__init__(class_names, optim)
        frozen = CLIP(clip)
        names = names_of_classes(mask_inference.prompt_names, self.class_names)
        self.spoken_names = [name for own in names for name in own]
        require_known_words(frozen, self.spoken_names)
        self.nouns = nouns
        self.nouns_per_caption = nouns_per_caption
        self.noun_templates = prompt_templates(noun_templates)
        self.grounding = Grounding(frozen, statistics, double=False, cosine_threshold=cosine_threshold)
        self.noun_prompt = NounPrompt(frozen, context, context_length)
        self.text_segmenter = TextSegmenter(frozen)
        self.region_prompt = RegionPrompt(frozen.image_size)
        self.word_prompt = WordPrompt(frozen.text_length, frozen.text_width)
        self.feature_noun_scale = nn.Parameter(torch.tensor(INITIAL_LOG_SCALE))
        self.image_noun_scale = nn.Parameter(torch.tensor(INITIAL_LOG_SCALE))
        self.highlight_scale = nn.Parameter(torch.tensor(INITIAL_LOG_SCALE))
        self.loss_weights = loss_weights
        self.decoder_only_steps = decoder_only_steps
        self.mask_inference = mask_inference
        with torch.no_grad():
            text = prompt_ensemble(frozen, self.spoken_names, prompt_templates(mask_inference.templates))
        self.register_buffer("kp_text", text, persistent=False)
        self.kp_text: Tensor  # (M, D)
        self.register_buffer("class_of_name", class_of_names(names), persistent=False)
        self.class_of_name: Tensor  # (M,)
        self._prompted: tuple[tuple[int, torch.device], Tensor] | None = None
        # captions of this rank in this epoch: all, and those with enough nouns
        self._shown = self._used = 0

    def training_loss(self, batch: CaptionBatch) -> dict[str, Tensor]:
        samples = self._samples(batch)
        image = self.grounding.normalize(rows_of(batch.image, [sample.row for sample in samples]))
        grid = self.grounding.mask_size(image)
        uniform = uniform_noise([s.generator for s in samples], (self.nouns_per_caption, *grid), image)
        return self._losses(image, samples, uniform)

    def seed_maps(
        self, image: Tensor, labels: Tensor | None = None, references: Sequence[Any] = ()
    ) -> Tensor:
        image = self.grounding.normalize(image)
        scores = self.grounding.scores(image, self._class_text(), self.kp_text, self.mask_inference)
        return best_of_class(scores, self.class_of_name, len(self.class_names))

    def segmentation_logits(self, image: Tensor) -> Tensor:
        return self.grounding.segmentation_logits(self.seed_maps(image), self.mask_inference.background)

    def parameter_groups(self) -> list[dict[str, Any]]:
        return vectors_without_decay(self.parameters())

    def on_after_backward(self) -> None:
        """First stage: the copy of CLIP's block is not trained."""
        if self.global_step < self.decoder_only_steps:
            self.grounding.drop_block_gradients()

    def on_train_epoch_end(self) -> None:
        """Print how many captions of all ranks were left out in this epoch."""
        (shown, used), _ = summed_over_ranks(torch.tensor([self._shown, self._used], device=self.device))
        self._shown = self._used = 0
        if self.global_rank == 0:
            print(
                f"{shown - used} of {shown} captions have fewer than {self.nouns_per_caption} nouns and were "
                "left out",
                flush=True,
            )

    @cached_property
    def _extract_nouns(self) -> NounExtractor:
        # made at the first training step: inference needs no tagger
        return noun_extractor(self.nouns)

    def _samples(self, batch: CaptionBatch) -> list[NounSample]:
        """Random choices for the captions with enough nouns; an image without a caption has none.

        Raises:
            ValueError: the first `MAX_UNUSABLE_CAPTIONS` captions all have too few nouns.
        """
        # the base class seeds each epoch with the rank added
        random_seed = torch.initial_seed() - self.global_rank
        count, samples = self.nouns_per_caption, []
        for row, (image_id, caption) in enumerate(zip(batch.image_ids, batch.caption, strict=True)):
            nouns = self._extract_nouns(caption)
            if len(nouns) >= count:
                samples.append(
                    sample_nouns(row, image_id, caption, nouns, count, self.noun_templates, random_seed)
                )
        self._shown += len(batch.caption)
        self._used += len(samples)
        if not self._used and self._shown >= MAX_UNUSABLE_CAPTIONS:
            raise ValueError(
                f"none of {self._shown} captions has {count} nouns, the last one is {batch.caption[-1]!r}; "
                f"set model.init_args.nouns (now {self.nouns!r}) to an extractor or a vocabulary that "
                "knows the nouns of these captions"
            )
        return samples

    def _losses(self, image: Tensor, samples: Sequence[NounSample], uniform: Tensor) -> dict[str, Tensor]:
        """The nine loss terms. Pairs are noun-major: pair `k * B + b` is noun `k` of image `b`.

        Args:
            image: `(B, 3, H, W)`, normalised; one for each sample.
            samples: Captions with their drawn nouns.
            uniform: `(B, N, h, w)` uniform noise of the hard masks.
        """
        clip, segmenter, weights = self.grounding.clip, self.grounding.segmenter, self.loss_weights
        count = self.nouns_per_caption
        noun = self.noun_prompt(clip, [s.drawn[k] for k in range(count) for s in samples])  # (P, D)
        sentences = tokenize(clip, [s.sentences[k] for k in range(count) for s in samples])
        with torch.no_grad():
            fixed_prompt = sentence_embedding(
                clip, embed_tokens(clip, sentences.ids), sentences.eos, sentences.longest
            )  # (P, D)

        pixels = unit_pixels(self.grounding.pixel_features(image))  # (B, D, h, w)
        nouns, first = gather_rows(noun), rows_before(noun)
        mask_logits = segmenter.mask_logits(pixels, nouns)  # (B, Q, h, w)
        terms = grounding_terms(
            pixels, mask_logits.sigmoid(), nouns, self.feature_noun_scale, weights.area_prior
        )
        pair = torch.arange(len(noun), device=noun.device)
        own_logits = mask_logits[pair % max(len(samples), 1), first + pair]  # (P, h, w)
        region_masks = hard_masks(own_logits, uniform.transpose(0, 1).flatten(0, 1))
        highlighted_image = clip.encode_image(
            self.region_prompt(image.repeat(count, 1, 1, 1), region_masks[:, None])
        )  # (P, D)

        tokens = tokenize(clip, [s.caption for s in samples])
        embedded = embed_tokens(clip, tokens.ids)  # (B, L, width)
        with torch.no_grad():
            states = text_hidden_states(clip, embedded)
        token_logits = self.text_segmenter(states, noun.unflatten(0, (count, len(samples))))  # (B, N + 1, L)
        word_masks = text_masks(token_logits).flatten(0, 1)  # (P, L)
        eos = tokens.eos.repeat(count)
        highlighted_text = sentence_embedding(
            clip, self.word_prompt(embedded.repeat(count, 1, 1), word_masks, eos), eos, tokens.longest
        )  # (P, D)

        kg = prompt_distance(noun, fixed_prompt)  # (P,)
        image_noun = info_nce(highlighted_image, noun, self.image_noun_scale)  # (P,)
        image_text = info_nce(highlighted_image, highlighted_text, self.highlight_scale)  # (P,)
        labels = self._token_labels(samples, tokens)  # (B, L)
        return {
            "kg": weights.kg * mean_over_ranks(kg),
            "feature_noun": weights.contrast * terms.feature_text,
            "image_noun": weights.contrast * mean_over_ranks(image_noun),
            "hcl": weights.hcl * mean_over_ranks(image_text),
            "tv_features": weights.tv * terms.tv_features,
            "tv_masks": weights.tv * terms.tv_masks,
            "area": weights.area * terms.area,
            "negative_area": weights.negative_area * terms.negative_area,
            "text_seg": weights.text_seg * text_segmentation_loss(token_logits, labels, weights.other_nouns),
        }

    def _token_labels(self, samples: Sequence[NounSample], tokens: TokenizedText) -> Tensor:
        """`(B, L)` pseudo labels for the text segmenter."""
        labels = torch.full(tokens.ids.shape, IGNORED_TOKEN)
        for row, sample in enumerate(samples):
            nouns = tokenize(self.grounding.clip, [*sample.nouns, *sample.drawn])
            ids = [nouns.word_ids(k) for k in range(len(nouns.ids))]
            split = len(sample.nouns)
            padding = [0] * (labels.shape[1] - len(tokens.rows[row]))
            labels[row] = token_pseudo_labels(tokens.rows[row] + padding, ids[:split], ids[split:])
        return to_device(labels, tokens.ids.device)

    def _class_text(self) -> Tensor:
        """`(M, D)` embeddings of the names of classes with the noun prompt.

        They are computed again when it has changed or moved.
        """
        context = self.noun_prompt.context
        # _version counts changes in place: optimiser steps, loading
        key = (context._version, context.device)
        if self._prompted is None or self._prompted[0] != key or torch.is_grad_enabled():
            self._prompted = (key, self.noun_prompt(self.grounding.clip, self.spoken_names))
        return self._prompted[1]
