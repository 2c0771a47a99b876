r"""Text semantic enrichment (TSE): class embeddings with what a knowledge base says about the classes.

ExCEL (CVPR 2025), section 3.2. The sentences about all classes are clustered. Every class hunts among the
centroids :math:`a_j`: the least similar tenth has no weight, the others :math:`w_{cj}`, a softmax of their
dot products with the class embedding :math:`t_c`. The class becomes the unit vector of
:math:`t_c + \sum_j w_{cj} a_j`.

The weights are nearly uniform, so that nearly the same vector is added to each class. One cluster is the
plain mean of all sentences.

Departure: fewer than 11 centroids are all kept; the published code then drops all of them, which gives NaN.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from wsss_bench.methods.excel.attributes import attribute_sentences, require_readable
from wsss_bench.nn.clip import CLIP
from wsss_bench.ranges import check_range

ATTEMPTS = 10
"""Number of starts of k-means; the tightest result is used."""
SENTENCES_AT_ONCE = 64
"""Sentences that are encoded together."""


@dataclass(frozen=True)
class Enrichment:
    """What the classes are enriched with.

    Args:
        attributes: Sentences about the classes: name of a list (`methods/excel/attributes.yaml`), a YAML or
            JSON file, or the sentences of each class.
        clusters: Number of clusters of all sentences; 1 for their plain mean. None: no enrichment, and the
            attributes are not read.
        kept: Share of the clusters that a class gets, the most similar ones.
    """

    attributes: str | dict[str, list[str]] = "voc"
    clusters: int | None = 112
    kept: float = 0.9

    def __post_init__(self) -> None:
        check_range("enrichment.clusters", self.clusters, 1)
        check_range("enrichment.kept", self.kept, above=0, most=1)


def enrichment_sentences(clip: CLIP, class_names: Sequence[str], enrichment: Enrichment) -> list[str]:
    """The sentences that are clustered, checked; none without enrichment.

    Raises:
        FileNotFoundError, ValueError: sentences that are missing, that CLIP would not read, or fewer of them
            than clusters.
    """
    if enrichment.clusters is None:
        return []
    sentences = attribute_sentences(enrichment.attributes, class_names)
    require_readable(clip, sentences)
    if enrichment.clusters > len(sentences):
        raise ValueError(
            f"{len(sentences)} attributes do not make {enrichment.clusters} clusters; write more sentences, "
            "or lower model.init_args.enrichment.clusters"
        )
    return sentences


@torch.inference_mode(False)
@torch.no_grad()
def enriched(clip: CLIP, classes: Tensor, sentences: Sequence[str], enrichment: Enrichment) -> Tensor:
    """Class embeddings `(C, D)`, unit vectors, and what is said of them -> `(C, D)` float32 unit vectors."""
    if enrichment.clusters is None:
        return classes
    starts = range(0, len(sentences), SENTENCES_AT_ONCE)
    with torch.autocast(classes.device.type, enabled=False):
        vectors = [clip.encode_text(sentences[start : start + SENTENCES_AT_ONCE]) for start in starts]
        return hunt(classes, cluster(torch.cat(vectors), enrichment.clusters), enrichment.kept)


def cluster(vectors: Tensor, number: int) -> Tensor:
    """Centroids `(number, D)` of unit vectors `(M, D)` by k-means; they are means, shorter than 1.

    The same vectors give the same centroids. Their order means nothing.
    """
    criteria = (cv2.TERM_CRITERIA_MAX_ITER + cv2.TERM_CRITERIA_EPS, 300, 1e-6)
    cv2.setRNGSeed(0)
    samples = vectors.float().cpu().numpy()
    labels = np.zeros((len(samples), 1), np.int32)  # overwritten
    _, _, centroids = cv2.kmeans(samples, number, labels, criteria, ATTEMPTS, cv2.KMEANS_PP_CENTERS)
    return torch.from_numpy(centroids).to(vectors)


def hunt(classes: Tensor, centroids: Tensor, kept: float = 0.9) -> Tensor:
    """Add to each of `(C, D)` classes, unit vectors, what it finds among `(k, D)` centroids.

    Returns:
        `(C, D)` unit vectors.
    """
    similarity = classes @ centroids.T  # (C, k)
    # floating point as published: (1 - 0.9) * 30 is below 3, so that two are dropped
    dropped = int((1 - kept) * len(centroids))
    lowest = similarity.topk(dropped, largest=False).indices
    weight = similarity.scatter(1, lowest, -torch.inf).softmax(dim=1)
    return F.normalize(classes + weight @ centroids, dim=-1)
