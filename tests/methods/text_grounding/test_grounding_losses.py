"""Pooling, total variation and area terms of TCL and CoDe against the official functions."""

import math

import pytest
import torch
from golden_clip import tensors
from torch.nn import functional as F

from wsss_bench.methods.text_grounding.info_nce import INITIAL_LOG_SCALE
from wsss_bench.methods.text_grounding.losses import area_loss, grounding_terms, masked_pool, total_variation


def test_variation_and_pooling_are_the_official_ones():
    arrays = tensors("losses")
    maps = arrays["tv_x"].requires_grad_()
    loss = total_variation(maps).mean()
    torch.testing.assert_close(loss, arrays["tv_loss"].view(()), rtol=1e-5, atol=1e-6)
    loss.backward()
    torch.testing.assert_close(maps.grad, arrays["tv_grad"], rtol=1e-5, atol=1e-6)
    pooled = masked_pool(arrays["tv_x"].detach(), arrays["mask"])
    torch.testing.assert_close(pooled, arrays["masked_pool_out"], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("prior", "name"), [(0.25, "area_prior025"), (0.0, "area_prior0")])
def test_area_is_the_official_one(prior, name):
    arrays = tensors("losses")
    shares = arrays["mask"].mean(dim=(2, 3)).flatten()
    loss = area_loss(shares, torch.ones_like(shares), prior)
    torch.testing.assert_close(loss, arrays[name].view(()), rtol=1e-5, atol=1e-6)


def test_area_loss_uses_the_batch_mean_not_each_mask():
    assert area_loss(torch.tensor([0.0, 0.5]), torch.ones(2), 0.25) == 0
    assert area_loss(torch.zeros(0), torch.zeros(0), 0.25) == 0


def batch(images=3, texts=2):
    generator = torch.Generator().manual_seed(0)
    pixels = F.normalize(torch.randn(images, 8, 4, 6, generator=generator), dim=1)
    text = F.normalize(torch.randn(texts * images, 8, generator=generator), dim=1)
    return pixels, torch.rand(images, texts * images, 4, 6, generator=generator), text


def test_terms_equal_those_of_images_repeated_for_each_text():
    pixels, masks, text = batch()
    terms = grounding_terms(pixels, masks, text, torch.tensor(INITIAL_LOG_SCALE), 0.25)
    tiled = grounding_terms(
        pixels.repeat(2, 1, 1, 1), masks.repeat(2, 1, 1, 1), text, torch.tensor(INITIAL_LOG_SCALE), 0.25
    )
    for ours, theirs in zip(terms, tiled, strict=True):
        torch.testing.assert_close(ours, theirs)
    pairs = torch.arange(6)
    shares = masks.mean(dim=(2, 3)).repeat(2, 1)
    assert terms.area.item() == pytest.approx(abs(shares[pairs, pairs].mean().item() - 0.25), rel=1e-5)
    others = ~torch.eye(6, dtype=torch.bool)
    assert terms.negative_area.item() == pytest.approx(shares[others].mean().item(), rel=1e-5)


def test_with_two_texts_the_contrast_of_features_is_at_least_ln_2():
    for seed in range(5):
        torch.manual_seed(seed)
        pixels, masks, text = batch()
        for scale in (1.0, INITIAL_LOG_SCALE, 4.6):
            loss = grounding_terms(pixels, masks, text, torch.tensor(scale), 0.25).feature_text
            assert loss > math.log(2) - 1e-5
