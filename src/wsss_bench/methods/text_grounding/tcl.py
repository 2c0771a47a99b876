"""TCL: text-grounded contrastive learning of masks from image-caption pairs. CoDe extends it.

Cha et al., "Learning to Generate Text-grounded Mask for Open-world Semantic Segmentation from Only Image-Text
Pairs", CVPR 2023, https://arxiv.org/abs/2212.00785; https://github.com/kakaobrain/tcl.

An image segmenter (TCL's grounder) on top of a frozen CLIP predicts a mask for the caption. Contrastive
losses match the caption with the masked image and with the pooled pixel features, against the other captions
of the batch. Area priors keep the mask of the own caption at a given mean share of the image, and masks of
other captions at zero. Masks come from the cosine of pixel features and text; pooling and total variation use
the features before L2 normalisation, where CoDe uses unit ones.

Departures, each described in docs/why_it_differs.md: query and key of the self-only block are left out; the
block is synchronised over ranks in the second stage; areas and means are over the global batch; random
numbers depend on random seed, epoch and image alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from wsss_bench.losses.ranks import gather_rows, mean_over_ranks, rows_before
from wsss_bench.methods.base import Method
from wsss_bench.methods.optim import OptimConfig, vectors_without_decay
from wsss_bench.methods.text_grounding.grounding import Grounding, MaskInference
from wsss_bench.methods.text_grounding.image_random import image_generator, rows_of, uniform_noise
from wsss_bench.methods.text_grounding.image_segmenter import hard_masks, unit_pixels
from wsss_bench.methods.text_grounding.info_nce import INITIAL_LOG_SCALE, info_nce
from wsss_bench.methods.text_grounding.losses import grounding_terms
from wsss_bench.methods.text_grounding.region_word_prompts import enlarge_mask
from wsss_bench.nn.class_prompts import prompt_ensemble, require_known_words
from wsss_bench.nn.clip import CLIP
from wsss_bench.nn.clip_text import embed_tokens, sentence_embedding, tokenize
from wsss_bench.nn.synonyms import best_of_class, class_of_names
from wsss_bench.types import CaptionBatch
from wsss_bench.vocabulary import templates as prompt_templates
from wsss_bench.vocabulary.synonyms import names_of_classes


@dataclass(frozen=True)
class LossWeights:
    """Loss weights and area prior of TCL.

    Args:
        contrast: Weight of the contrast of masked image and caption, and of that of pooled features and
            caption.
        tv: Weight of the total variation of pixel features, and of that of masks.
        area: Weight of the area term of own captions, and of that of other captions.
        area_prior: Mean share of the image that the mask of its own caption should cover.
    """

    contrast: float = 0.1
    tv: float = 1.0
    area: float = 0.4
    area_prior: float = 0.4


class TCL(Method):
    """Image segmenter trained on captions.

    Args:
        class_names: Foreground classes, in label order; used in prompts at inference only.
        optim: Optimiser; 1-d parameters have no weight decay.
        clip: Hub name, folder, or `package:mini/clip`.
        statistics: Mean and deviation that images are normalised with: ImageNet's (published) or CLIP's own.
        cosine_threshold: Cosine at which the mask probability is one half before training.
        loss_weights: Weights of the loss terms.
        decoder_only_steps: Number of first steps in which the copy of CLIP's last block is not trained.
        mask_inference: Settings of mask inference; both branches use its templates.
    """

    supervision = "caption"
    batch_type = CaptionBatch
    open_vocabulary = True
    idle_at_first = ("grounding.segmenter.decoder.", "grounding.segmenter.block.")

    def __init__(
        self,
        class_names: Sequence[str],
        optim: OptimConfig = OptimConfig(name="adamw", lr=7.5e-5, weight_decay=0.05),
        clip: str = "openai/clip-vit-base-patch16",
        statistics: Literal["imagenet", "clip"] = "imagenet",
        cosine_threshold: float = 0.25,
        loss_weights: LossWeights = LossWeights(),
        decoder_only_steps: int = 30_000,
        mask_inference: MaskInference = MaskInference(),
    ) -> None:
        super().__init__(class_names, optim)
        frozen = CLIP(clip)
        names = names_of_classes(mask_inference.prompt_names, self.class_names)
        spoken = [name for own in names for name in own]
        require_known_words(frozen, spoken)
        self.grounding = Grounding(frozen, statistics, double=True, cosine_threshold=cosine_threshold)
        self.feature_text_scale = nn.Parameter(torch.tensor(INITIAL_LOG_SCALE))
        self.image_text_scale = nn.Parameter(torch.tensor(INITIAL_LOG_SCALE))
        self.loss_weights = loss_weights
        self.decoder_only_steps = decoder_only_steps
        self.mask_inference = mask_inference
        with torch.no_grad():
            text = prompt_ensemble(
                frozen,
                spoken,
                prompt_templates(mask_inference.templates),
                unit_sentences=False,
            )
        self.register_buffer("class_text", text, persistent=False)
        self.class_text: Tensor  # (M, D)
        self.register_buffer("class_of_name", class_of_names(names), persistent=False)
        self.class_of_name: Tensor  # (M,)

    def training_loss(self, batch: CaptionBatch) -> dict[str, Tensor]:
        rows = [row for row, caption in enumerate(batch.caption) if caption.strip()]
        image = self.grounding.normalize(rows_of(batch.image, rows))
        # the base class seeds each epoch with the rank added
        random_seed = torch.initial_seed() - self.global_rank
        generators = [image_generator(random_seed, batch.image_ids[row]) for row in rows]
        uniform = uniform_noise(generators, self.grounding.mask_size(image), image)
        return self._losses(image, [batch.caption[row] for row in rows], uniform)

    def _losses(self, image: Tensor, captions: Sequence[str], uniform: Tensor) -> dict[str, Tensor]:
        """The six loss terms.

        Args:
            image: `(P, 3, H, W)`, normalised.
            captions: Caption of each image.
            uniform: `(P, h, w)` uniform noise of the hard masks.
        """
        clip, segmenter, weights = self.grounding.clip, self.grounding.segmenter, self.loss_weights
        tokens = tokenize(clip, captions)
        with torch.no_grad():
            text = sentence_embedding(
                clip, embed_tokens(clip, tokens.ids), tokens.eos, tokens.longest
            )  # (P, D)
        features = self.grounding.pixel_features(image)  # (P, D, h, w)
        all_text, first = gather_rows(text), rows_before(text)
        logits = segmenter.mask_logits(unit_pixels(features), all_text)  # (P, Q, h, w)
        terms = grounding_terms(
            features, logits.sigmoid(), all_text, self.feature_text_scale, weights.area_prior
        )
        pair = torch.arange(len(image), device=logits.device)
        mask = hard_masks(logits[pair, first + pair], uniform)  # (P, h, w)
        masked_image = clip.encode_image(image * enlarge_mask(mask[:, None], image))  # (P, D)
        image_text = info_nce(masked_image, text, self.image_text_scale)  # (P,)
        return {
            "image_text": weights.contrast * mean_over_ranks(image_text),
            "feature_text": weights.contrast * terms.feature_text,
            "tv_features": weights.tv * terms.tv_features,
            "tv_masks": weights.tv * terms.tv_masks,
            "area": weights.area * terms.area,
            "negative_area": weights.area * terms.negative_area,
        }

    def seed_maps(
        self, image: Tensor, labels: Tensor | None = None, references: Sequence[Any] = ()
    ) -> Tensor:
        image = self.grounding.normalize(image)
        text = self.class_text
        scores = self.grounding.scores(image, text, text, self.mask_inference)  # (B, M, 4h, 4w)
        return best_of_class(scores, self.class_of_name, len(self.class_names))

    def segmentation_logits(self, image: Tensor) -> Tensor:
        return self.grounding.segmentation_logits(self.seed_maps(image), self.mask_inference.background)

    def parameter_groups(self) -> list[dict[str, Any]]:
        return vectors_without_decay(self.parameters())

    def on_after_backward(self) -> None:
        """First stage: the copy of CLIP's block is not trained."""
        if self.global_step < self.decoder_only_steps:
            self.grounding.drop_block_gradients()
