"""The random choices that CoDe makes for one caption: nouns, and a prompt template for each.

Wu et al., CVPR 2024, https://arxiv.org/abs/2404.04231. Departure: choices depend on random seed, epoch and
image alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch

from wsss_bench.methods.text_grounding.image_random import image_generator


class NounSample(NamedTuple):
    """Random choices for one image and its caption."""

    row: int  # index in the batch
    caption: str
    nouns: list[str]  # all nouns of the caption
    drawn: list[str]  # the N nouns that are trained on
    sentences: list[str]  # a prompt template filled with each drawn noun
    generator: torch.Generator  # for further random numbers of this image


def sample_nouns(
    row: int,
    image_id: str,
    caption: str,
    nouns: list[str],
    count: int,
    templates: Sequence[str],
    random_seed: int,
) -> NounSample:
    """Draw `count` of the nouns of a caption without replacement, and a template for each.

    Args:
        row: Index of the image in the batch.
        image_id: Image id; with `random_seed` it determines the draw.
        caption: Caption of the image.
        nouns: All nouns of the caption, at least `count`.
        count: Number of nouns to draw.
        templates: Prompt templates to choose from.
        random_seed: Seed of this epoch, the same on all ranks.
    """
    generator = image_generator(random_seed, image_id)
    order = torch.randperm(len(nouns), generator=generator).tolist()
    drawn = [nouns[k] for k in order[:count]]
    chosen = torch.randint(len(templates), (len(drawn),), generator=generator).tolist()
    sentences = [templates[k].format(noun) for k, noun in zip(chosen, drawn, strict=True)]
    return NounSample(row, caption, nouns, drawn, sentences, generator)
