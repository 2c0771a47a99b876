r"""Text semantic enrichment (TSE): class embeddings with what a knowledge base says about the classes.

ExCEL (CVPR 2025), section 3.2. The sentences about all classes are clustered. Every class hunts among the
centroids :math:`a_j`: the least similar tenth has no weight, the others :math:`w_{cj}`, a softmax of their
dot products with the class embedding :math:`t_c`. The class becomes the unit vector of
:math:`t_c + \sum_j w_{cj} a_j`.

The weights are nearly uniform, so that nearly the same vector is added to each class. One cluster is the plain
mean of all sentences.

Departure: fewer than 11 centroids are all kept; the published code then drops all of them, which gives NaN.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import torch
from torch import Tensor
from torch.nn import functional as F

from wsss_bench.methods.excel.attributes import attribute_sentences, require_readable
from wsss_bench.nn.class_prompts import prompt_ensemble, require_distinct_texts
from wsss_bench.nn.clip import CLIP
from wsss_bench.ranges import check_range
from wsss_bench.vocabulary import templates as prompt_templates
from wsss_bench.vocabulary.class_texts import background_texts, class_texts

ATTEMPTS = 10
"""Number of starts of k-means; the tightest result is used."""
SENTENCES_AT_ONCE = 64
"""Sentences that are encoded together."""


@dataclass(frozen=True)
class TextConfig:
    """What is said to CLIP.

    Args:
        templates: Name of a list of prompt templates, for classes and backgrounds.
        fg_set: Name of a list of class texts, or the text of each class by its name.
        bg_set: Name of a list of background texts, or the texts.
        attributes: Sentences about the classes: name of a list (`methods/excel/attributes.yaml`), a YAML or
            JSON file, or the sentences of each class.
        clusters: Number of clusters of all sentences; 1 for their plain mean. None: no enrichment, and the
            attributes are not read.
        kept: Share of the clusters that a class gets, the most similar ones.
    """

    templates: str = "clean_origami"
    fg_set: str | dict[str, str] = "voc_clip_es"
    bg_set: str | list[str] = "clip_es_voc"
    attributes: str | dict[str, list[str]] = "voc"
    clusters: int | None = 112
    kept: float = 0.9

    def __post_init__(self) -> None:
        check_range("text.clusters", self.clusters, 1)
        check_range("text.kept", self.kept, above=0, most=1)


class ClassTexts:
    """The texts of one data set: read and checked when this is built, encoded when they are needed.

    Args:
        clip: CLIP with its tokenizer.
        class_names: Foreground classes `C`, in label order.
        config: The texts.

    Raises:
        FileNotFoundError, ValueError: texts that are missing, that CLIP would not read, or fewer sentences
            than clusters.
    """

    def __init__(self, clip: CLIP, class_names: Sequence[str], config: TextConfig) -> None:
        self.classes = class_texts(config.fg_set, class_names, "model.init_args.text.fg_set")
        self.backgrounds = background_texts(config.bg_set, "model.init_args.text.bg_set")
        self.templates = prompt_templates(config.templates)
        for template in self.templates:
            require_distinct_texts(clip, [template.format(text) for text in self.classes])
        self.clusters, self.kept = config.clusters, config.kept
        self.sentences: list[str] = []
        if config.clusters is not None:
            self.sentences = attribute_sentences(config.attributes, class_names)
            require_readable(clip, self.sentences)
            if config.clusters > len(self.sentences):
                raise ValueError(
                    f"{len(self.sentences)} attributes do not make text.clusters: {config.clusters}; "
                    "write more sentences, or ask for fewer clusters"
                )

    @torch.no_grad()
    def encode(self, clip: CLIP) -> Tensor:
        """`(T, D)` unit vectors: `C` enriched classes, then the backgrounds as they are."""
        classes = prompt_ensemble(clip, self.classes, self.templates)
        backgrounds = prompt_ensemble(clip, self.backgrounds, self.templates)
        if self.clusters is not None:
            starts = range(0, len(self.sentences), SENTENCES_AT_ONCE)
            parts = [self.sentences[start : start + SENTENCES_AT_ONCE] for start in starts]
            vectors = torch.cat([clip.encode_text(part) for part in parts])
            classes = enrich(classes, cluster(vectors, self.clusters), self.kept)
        return torch.cat([classes, backgrounds])


def cluster(vectors: Tensor, number: int) -> Tensor:
    """Centroids `(number, D)` of unit vectors `(M, D)` by k-means; they are means, shorter than 1.

    The same vectors give the same centroids. Their order means nothing.
    """
    criteria = (cv2.TERM_CRITERIA_MAX_ITER + cv2.TERM_CRITERIA_EPS, 300, 1e-6)
    cv2.setRNGSeed(0)
    samples = vectors.float().cpu().numpy()
    _, _, centroids = cv2.kmeans(samples, number, None, criteria, ATTEMPTS, cv2.KMEANS_PP_CENTERS)  # type: ignore[call-overload]
    return torch.from_numpy(centroids).to(vectors)


def enrich(classes: Tensor, centroids: Tensor, kept: float = 0.9) -> Tensor:
    """Add to each class of `(C, D)`, unit vectors, what it finds in `(k, D)` centroids -> `(C, D)` unit vectors."""
    similarity = classes @ centroids.T  # (C, k)
    # floating point as published: (1 - 0.9) * 30 is below 3, so that two are dropped
    dropped = int((1 - kept) * len(centroids))
    lowest = similarity.topk(dropped, largest=False).indices
    weight = similarity.scatter(1, lowest, -torch.inf).softmax(dim=1)
    return F.normalize(classes + weight @ centroids, dim=-1)
