"""Parts of the pretraining of the ViT: mosaics, their quarters, and the loss over nouns."""

from __future__ import annotations

import pytest
import timm
import torch

from wsss_bench.mini.weights.vit import VIT, make_mosaics, noun_cross_entropy, quarter_logits


def test_each_quarter_of_a_mosaic_shows_one_image_and_has_its_nouns() -> None:
    value = torch.arange(1, 7).float()  # image i has colour i and presence i
    image = value[:, None, None, None].expand(6, 3, 96, 96)
    mosaics, presence = make_mosaics(image, value[:, None], 5, torch.Generator().manual_seed(0))
    assert mosaics.shape == (5, 3, 96, 96)
    assert presence.shape == (5, 4, 1)
    for number, (top, left) in enumerate(((0, 0), (0, 48), (48, 0), (48, 48))):
        quarter = mosaics[:, :, top : top + 48, left : left + 48]
        torch.testing.assert_close(quarter, presence[:, number, :, None, None].expand_as(quarter))
    assert len(set(presence[:, 0, 0].tolist())) == 5  # no image twice at the same place


def test_logits_of_a_quarter_come_from_its_patches() -> None:
    model = timm.create_model(VIT.architecture.model, num_classes=14, **VIT.architecture.kwargs).eval()
    patches = torch.zeros(1, 145, 96)
    row, column = 7, 2  # lower left
    patches[0, 1 + 12 * row + column] = 1.0
    model.forward_features = lambda image: patches
    with torch.no_grad():
        logits = quarter_logits(model, torch.zeros(1, 3, 96, 96))
        expected = model.head(torch.tensor([[0.0], [0.0], [1.0], [0.0]]).expand(4, 96))
    torch.testing.assert_close(logits[0], expected)


def test_uncertain_nouns_are_ignored() -> None:
    logits = torch.tensor([[0.0, 50.0, -3.0]])
    assert noun_cross_entropy(logits, torch.tensor([[1, -1, -1]])).item() == pytest.approx(
        3 * 0.6931, abs=1e-3
    )
    assert noun_cross_entropy(logits, torch.tensor([[-1, 1, 0]])).item() == pytest.approx(
        1.5 * 0.0486, abs=1e-3
    )
