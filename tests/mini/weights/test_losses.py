"""Losses of the tiny CLIP against values worked out by hand."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional as F

from wsss_bench.mini.weights.losses import caption_loss, caption_targets, noun_loss, pooled_similarity

SCALE = torch.tensor(2.0)


def test_caption_loss_is_cross_entropy_when_all_captions_differ() -> None:
    image = F.normalize(torch.randn(5, 8, generator=torch.Generator().manual_seed(0)), dim=-1)
    text = F.normalize(torch.randn(5, 8, generator=torch.Generator().manual_seed(1)), dim=-1)
    own, none = torch.eye(5, dtype=torch.bool), torch.zeros(5, 5, dtype=torch.bool)
    logits = SCALE * image @ text.T
    expected = (F.cross_entropy(logits, torch.arange(5)) + F.cross_entropy(logits.T, torch.arange(5))) / 2
    torch.testing.assert_close(caption_loss(image, text, SCALE, own, none), expected)


def test_repeated_captions_are_positives_together() -> None:
    image = text = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    positive = torch.tensor([[1, 1, 0], [1, 1, 0], [0, 0, 1]], dtype=torch.bool)
    none = torch.zeros(3, 3, dtype=torch.bool)
    e = math.exp(2.0)
    expected = (2 * math.log((2 * e + 1) / (2 * e)) + math.log((e + 2) / e)) / 3
    assert caption_loss(image, text, SCALE, positive, none).item() == pytest.approx(expected, rel=1e-5)


def test_an_ignored_caption_is_no_negative() -> None:
    image = text = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    own = torch.eye(2, dtype=torch.bool)
    ignored = torch.tensor([[False, True], [False, False]])
    # image 0 and caption 1 have no competitor left; image 1 and caption 0 keep theirs
    expected = math.log(1 + math.exp(-2.0)) / 2
    assert caption_loss(image, text, SCALE, own, ignored).item() == pytest.approx(expected, rel=1e-5)


def test_caption_targets_of_three_captions() -> None:
    # nouns: cow, sheep, grass. Image 0 cow on grass "a cow"; 1 cow "a cow"; 2 sheep, cow uncertain "sheep"
    mentioned = torch.tensor([[1, 0, 0], [1, 0, 0], [0, 1, 0]], dtype=torch.bool)
    presence = torch.tensor([[1, 0, 1], [1, 0, 0], [-1, 1, 0]])
    positive, ignored = caption_targets(mentioned, presence)
    assert positive.tolist() == [[True, True, False], [True, True, False], [False, False, True]]
    # "a cow" may describe image 2, so it is no negative there; sheep are absent from images 0 and 1
    assert ignored.tolist() == [[False] * 3, [False] * 3, [True, True, False]]


def test_pooling_weights_the_patches_most_similar_to_the_noun() -> None:
    tokens = torch.tensor([[[1.0, 0.0], [0.0, 1.0], [0.0, 1.0]]])
    noun = torch.tensor([[1.0, 0.0]])
    expected = math.exp(10) / (math.exp(10) + 2)
    assert pooled_similarity(tokens, noun).item() == pytest.approx(expected, rel=1e-5)


def test_noun_loss_of_one_present_noun() -> None:
    tokens = torch.tensor([[[1.0, 0.0]], [[0.0, 1.0]]])  # one patch each
    nouns = torch.eye(2)
    presence = torch.tensor([[1, 0], [0, -1]])  # noun 1 is uncertain in image 1
    # the pair scores 2, its absent noun 0, the image without the noun 0 less the margin log 4
    expected = (math.log1p(math.exp(-2.0)) + math.log1p(math.exp(-2.0 - math.log(4)))) / 2
    assert noun_loss(tokens, nouns, SCALE, presence).item() == pytest.approx(expected, rel=1e-5)


def test_uncertain_nouns_have_no_gradient() -> None:
    tokens = F.normalize(torch.randn(3, 4, 8, generator=torch.Generator().manual_seed(0)), dim=-1)
    nouns = torch.randn(4, 8, generator=torch.Generator().manual_seed(1), requires_grad=True)
    presence = torch.tensor([[1, 0, 0, -1], [0, 1, 0, -1], [0, 0, 1, -1]])
    noun_loss(tokens, nouns, SCALE, presence).backward()
    assert nouns.grad is not None
    assert nouns.grad[3].abs().sum() == 0
    assert (nouns.grad[:3].abs().sum(1) > 0).all()
