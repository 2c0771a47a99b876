"""Reference images pass the encoder once, and again when something has changed."""

import numpy as np
import pytest
import torch
from torch import nn

from wsss_bench.methods.mcis import reference_features
from wsss_bench.methods.mcis.reference_features import ReferenceFeatures
from wsss_bench.types import Reference

SIDE = 8
LIKE = torch.zeros(1)


class Encoder(nn.Module):
    """Counts its images."""

    def __init__(self):
        super().__init__()
        self.layer = nn.BatchNorm2d(3)
        self.seen = 0

    def forward(self, image):
        assert image.shape == (1, 3, SIDE, SIDE)
        self.seen += 1
        return self.layer(image)


@pytest.fixture
def encoder():
    return Encoder().eval()


@pytest.fixture
def features(encoder):
    return ReferenceFeatures(encoder, SIDE)


def drawn(*ids, size=(5, 9)):
    """References whose pixels have the value of their id."""
    return [Reference(str(k), np.full((*size, 3), k, np.uint8), np.zeros(2, np.float32), 0) for k in ids]


def test_an_image_passes_the_encoder_once(encoder, features):
    first = features(drawn(1, 2, 1), LIKE)
    assert encoder.seen == 2
    second = features(drawn(2, 3), LIKE)
    assert encoder.seen == 3
    assert list(second) == ["2", "3"]
    assert second["2"] is first["2"]
    with torch.no_grad():
        expected = encoder.layer(torch.full((1, 3, SIDE, SIDE), 3 / 255))[0]
    torch.testing.assert_close(second["3"].detach(), expected)


def test_another_image_of_the_same_name_is_another_image(encoder, features):
    features(drawn(1), LIKE)
    other = [drawn(2)[0]._replace(image_id="1")]
    assert features(other, LIKE)["1"].mean() > features(drawn(1), LIKE)["1"].mean()
    turned = drawn(1, size=(9, 5))  # the same bytes
    features(turned, LIKE)
    assert encoder.seen == 3


def changed(encoder):
    with torch.no_grad():
        encoder.layer.weight.mul_(2)


def other_weights(encoder):
    encoder.load_state_dict({name: 2 * tensor for name, tensor in encoder.state_dict().items()})


def statistics(encoder):
    encoder.layer.running_mean.add_(1)


def double(encoder):
    encoder.double()


@pytest.mark.parametrize("change", [changed, other_weights, statistics, double])
def test_nothing_is_kept_of_other_weights(encoder, features, change):
    before = features(drawn(5), LIKE)["5"]
    change(encoder)
    like = LIKE.to(encoder.layer.weight.dtype)
    after = features(drawn(5), like)["5"]
    assert encoder.seen == 2
    with torch.no_grad():
        square = torch.full((1, 3, SIDE, SIDE), 5 / 255, dtype=like.dtype)
        torch.testing.assert_close(after.detach(), encoder.layer(square)[0])
    assert after.dtype != before.dtype or not torch.equal(after, before)


def test_nothing_is_kept_in_training(encoder, features):
    features(drawn(5), LIKE)
    encoder.train()
    features(drawn(5), LIKE)
    features(drawn(5), LIKE)
    encoder.eval()
    features(drawn(5), LIKE)
    assert encoder.seen == 4


def test_another_precision_is_another_result(encoder, features):
    features(drawn(5), LIKE)
    with torch.autocast("cpu", torch.bfloat16):
        features(drawn(5), LIKE)
    assert encoder.seen == 2


def test_of_a_model_that_was_built_for_inference_nothing_is_kept():
    with torch.inference_mode():
        encoder = Encoder().eval()
        features = ReferenceFeatures(encoder, SIDE)
        features(drawn(5), LIKE)
        features(drawn(5), LIKE)
    assert encoder.seen == 2


def test_the_features_that_were_used_last_are_kept(encoder, features, monkeypatch):
    monkeypatch.setattr(reference_features, "LARGEST", 2 * 3 * SIDE * SIDE * 4)
    for k in (1, 2, 1, 3):  # 2 is dropped
        features(drawn(k), LIKE)
    assert encoder.seen == 3
    features(drawn(1, 3), LIKE)
    assert encoder.seen == 3
    features(drawn(2), LIKE)
    assert encoder.seen == 4
