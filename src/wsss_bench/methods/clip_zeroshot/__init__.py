"""CLIP zero-shot: dense segmentation by a pretrained CLIP, without any training. The floor of the table.

Radford et al., "Learning Transferable Visual Models From Natural Language Supervision", ICML 2021,
https://arxiv.org/abs/2103.00020. Dense features (each patch token of the last block attends to itself only)
as in TCL (Cha et al., CVPR 2023) and CoDe (Wu et al., CVPR 2024), or read as MaskCLIP, SCLIP, ClearCLIP or
NACLIP do (`dense_clip.py`).

The score of a class is the cosine of a patch feature with the text embedding of the class, or with the best
of its names. The background has a constant score, or is spoken: words stand for it as names do for a class.

Departures of the default: CLIP's own image statistics, where TCL and CoDe use ImageNet's; no PAMR. Departures
from SCLIP, ClearCLIP and NACLIP: docs/why_it_differs.md.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from wsss_bench.methods.base import Method
from wsss_bench.methods.clip_zeroshot.dense_clip import Reading, dense_features
from wsss_bench.methods.shared_network import SharesNetwork
from wsss_bench.nn.class_prompts import prompt_ensemble, require_distinct_texts, require_known_words
from wsss_bench.nn.clip import CLIP
from wsss_bench.nn.precision import in_float32
from wsss_bench.nn.synonyms import best_of_class, class_of_names
from wsss_bench.ranges import check_range
from wsss_bench.vocabulary import templates as prompt_templates
from wsss_bench.vocabulary.synonyms import Background, Names, background_words, names_of_classes


class CLIPZeroShot(SharesNetwork, Method):
    """Dense CLIP similarity against a constant or a spoken background.

    Args:
        class_names: Foreground classes, in label order.
        clip: Hub name, folder, or `package:mini/clip`.
        templates: Name of a list of prompt templates (`vocabulary/templates.yaml`); names are embedded by
            `nn.class_prompts.prompt_ensemble`.
        prompt_names: Name in the prompts of a class whose own name is not plain language, or several of them:
            `{tvmonitor: [tv monitor, screen]}`. `published`: those of SCLIP and its followers for these
            classes (`vocabulary/synonyms`).
        background: Cosine that a class has to exceed (0.25 is where TCL's and CoDe's mask probability is one
            half); or words for the background, `[sky, grass]`; or `published`, as for `prompt_names`.
        slope: A seed is `sigmoid(slope * (cosine - background))` with a constant background (10 in TCL and
            CoDe). With a spoken one it is the probability of the class in a softmax over the names of the
            labelled classes and the words of the background.
        last_block: How CLIP's last block is read.
        logit_scale: Factor from cosines to logits; null: CLIP's own.
        prob_threshold: A pixel is background where no class reaches this probability, of a softmax over all
            names and the background; in [0, 1).

    Raises:
        ValueError: names or words that do not fit the classes or each other (`vocabulary.synonyms`), one that
            CLIP's tokenizer does not know, a number out of range, or no background at all.
    """

    supervision: ClassVar[Literal["none", "image"]] = "none"
    batch_type = None
    open_vocabulary = True

    class_of_name: Tensor
    """`(M,)`: class of each name, 0 for the words of the background."""

    def __init__(
        self,
        class_names: Sequence[str],
        clip: str = "openai/clip-vit-base-patch16",
        templates: str = "custom",
        prompt_names: Names | None = None,
        background: Background = 0.25,
        slope: float = 10.0,
        last_block: Reading = Reading(),
        logit_scale: float | None = None,
        prob_threshold: float = 0.0,
    ) -> None:
        super().__init__(class_names)
        check_range("model.init_args.logit_scale", logit_scale, above=0)
        check_range("model.init_args.prob_threshold", prob_threshold, 0, below=1)
        names = names_of_classes(prompt_names, self.class_names)
        self.background = background if isinstance(background, (int, float)) else None
        words: list[str] = []
        if not isinstance(background, (int, float)):
            words = background_words(background, self.class_names, names)
            if not words and not prob_threshold:
                raise ValueError(
                    "background is published, but there are no published words for the background of these "
                    "classes; give words or a cosine, or set prob_threshold"
                )
        self.clip = CLIP(clip).requires_grad_(False).eval()
        self.names = [*words, *(name for own in names for name in own)]
        require_known_words(self.clip, self.names)
        self.templates = prompt_templates(templates)
        for template in self.templates:
            require_distinct_texts(self.clip, [template.format(name) for name in self.names])
        self.register_buffer("class_of_name", class_of_names([words, *names]), persistent=False)
        self.slope = slope
        self.last_block = last_block
        self.logit_scale = logit_scale
        self.prob_threshold = prob_threshold
        self._text: Tensor | None = None

    def seed_maps(
        self, image: Tensor, labels: Tensor | None = None, references: Sequence[Any] = ()
    ) -> Tensor:
        cosines = self._cosines(image)  # (B, M, h, w)
        if self.background is not None:
            return torch.sigmoid(self.slope * (self._best(cosines)[:, 1:] - self.background))  # (B, C, h, w)
        logits = self._scale() * cosines
        if labels is None:
            return self._best(logits.softmax(dim=1))[:, 1:]
        allowed = F.pad(labels.bool(), (1, 0), value=True)  # (B, 1 + C), background first
        absent = ~allowed[:, self.class_of_name, None, None]  # (B, M, 1, 1)
        lowest = torch.finfo(logits.dtype).min  # not -inf: an image without labels and words is no NaN
        scores = self._best(logits.masked_fill(absent, lowest).softmax(dim=1))[:, 1:]
        return scores * allowed[:, 1:, None, None]

    def segmentation_logits(self, image: Tensor) -> Tensor:
        cosines = self._cosines(image)
        classes = self._best(cosines)
        if self.background is not None:
            classes[:, 0] = self.background
        logits = self._scale() * classes  # (B, 1 + C, h, w)
        if self.prob_threshold:
            # a class whose probability is below the threshold is below this logit
            names = cosines if self.background is None else torch.cat([classes[:, :1], cosines], dim=1)
            least = (self._scale() * names).logsumexp(dim=1) + math.log(self.prob_threshold)
            logits[:, 0] = torch.maximum(logits[:, 0], least)
        return logits

    def share_network(self, first: object) -> None:
        other = f"CLIP {first.clip.name}" if isinstance(first, CLIPZeroShot) else type(first).__name__
        if not isinstance(first, CLIPZeroShot) or first.clip.name != self.clip.name:
            raise ValueError(
                f"a reading of CLIP {self.clip.name} shares no network with {other}; predict them one by one"
            )
        self.clip = first.clip

    def remembering(self) -> AbstractContextManager[None]:
        return self.clip.remembering()

    def _best(self, scores: Tensor) -> Tensor:
        """`(B, M, h, w)` of names -> `(B, 1 + C, h, w)` of classes; -inf for a background without words."""
        return best_of_class(scores, self.class_of_name, 1 + len(self.class_names))

    def _scale(self) -> Tensor | float:
        return self.clip.model.logit_scale.exp() if self.logit_scale is None else self.logit_scale

    def _cosines(self, image: Tensor) -> Tensor:
        """`(B, 3, H, W)` in [0, 1] -> `(B, M, h, w)`, one per patch and name, background first."""
        dense = dense_features(self.clip, self.clip.normalize(image), self.last_block)  # (B, D, h, w)
        return _products(dense, self._name_embeddings(dense))

    def _name_embeddings(self, like: Tensor) -> Tensor:
        """`(M, D)` unit vectors on the device of `like`; encoded once per device."""
        if self._text is None or self._text.device != like.device:
            self._text = prompt_ensemble(self.clip, self.names, self.templates)
        return self._text


@in_float32
def _products(dense: Tensor, texts: Tensor) -> Tensor:
    """Unit features `(B, D, h, w)`, unit texts `(M, D)` -> cosines `(B, M, h, w)`, in float32."""
    return torch.einsum("bdhw,cd->bchw", dense, texts)


class CLIPSeeds(CLIPZeroShot):
    """The same scores as seeds of images whose labels are known: only the labelled classes compete.

    Training-free, in the track of image labels.
    """

    supervision = "image"
    open_vocabulary = False
