"""The losses of CLIMS against arrays of the authors' code (clip_loss.py of both versions)."""

import numpy as np
import paths
import pytest
import torch
from torch.nn import functional as F

from wsss_bench.methods.clims.losses import (
    area_regularization,
    background_suppression,
    background_text_matching,
    clamp_similarity,
    class_related_background_suppression,
    object_text_matching,
    unclamped_object_text_matching,
)

GOLDEN = paths.GOLDEN / "clims"


def leaf(array):
    return torch.tensor(array, requires_grad=True)


def assert_equal(actual, expected):
    actual = actual.detach() if isinstance(actual, torch.Tensor) else actual
    np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("term", "loss"), [("max", object_text_matching), ("min", background_text_matching)])
def test_matching_terms_equal_the_published_ones(term, loss):
    golden = np.load(GOLDEN / "similarity_losses.npz")
    similarity = leaf(golden["similarity"])
    value = loss(clamp_similarity(similarity)).mean()
    value.backward()
    assert_equal(value, golden[f"{term}_margin0_loss"])
    # at a bound itself the gradient of a clamp depends on the version of torch
    between = ~torch.isin(similarity.detach(), torch.tensor([1e-4, 1 - 1e-4]))
    assert between.sum() >= between.numel() - 1
    assert_equal(similarity.grad[between], golden[f"{term}_margin0_grad"][between.numpy()])
    outside = (similarity < 0) | (similarity == 1)
    assert outside.any()
    assert not similarity.grad[outside].any()


def test_a_negative_cosine_has_the_published_gradient_and_no_value():
    """The published loss is NaN there; training goes on with this gradient."""
    golden = np.load(GOLDEN / "camera_ready_negative_cosine.npz")
    similarity, weight = leaf(golden["cosine"].ravel()), torch.tensor(golden["weight"].ravel())
    losses = weight * unclamped_object_text_matching(similarity)
    losses.mean().backward()
    assert_equal(similarity.grad, golden["grad_L_OTM"].ravel())
    positive = golden["cosine"].ravel() > 0
    assert_equal(losses[positive], (-weight * similarity.detach().log())[positive])
    assert not losses[~positive].any()
    zero = leaf(golden["zero_cosine"].ravel())
    unclamped_object_text_matching(zero).sum().backward()
    assert not torch.isfinite(zero.grad).all()
    assert torch.isinf(torch.tensor(golden["zero_grad_L_OTM"])).any()


@pytest.mark.parametrize("data", ["voc", "coco"])
def test_cbs_equals_the_published_sum(data):
    golden = np.load(GOLDEN / f"cbs_loss_{data}.npz")
    features = leaf(golden["image_features"])
    text = F.normalize(torch.tensor(golden["text_features"]), dim=-1)
    cosine = F.normalize(features, dim=-1) @ text.T
    assert_equal(cosine, golden["cosine"])
    value = background_suppression(cosine, float(golden["threshold"]))
    value.backward()
    assert_equal(value, golden["loss"])
    assert_equal(features.grad, golden["grad_image_features"])


def test_cbs_ignores_background_prompts_below_the_threshold():
    cosine = leaf([[0.6, 0.2], [-0.5, 0.26]])
    value = background_suppression(cosine, threshold=0.26)
    value.backward()
    assert value.item() == pytest.approx(-np.log(0.4), rel=1e-6)
    assert_equal(cosine.grad, [[1 / 0.4, 0], [0, 0]])


@pytest.mark.parametrize(("term", "loss"), [("max", object_text_matching), ("min", background_text_matching)])
def test_camera_ready_matching_terms_have_class_weights_and_no_clamp(term, loss):
    golden = np.load(GOLDEN / "camera_ready_losses.npz")
    similarity = leaf(golden["similarity"])
    value = (torch.tensor(golden["class_weights"]) * loss(similarity)).mean()
    value.backward()
    assert_equal(value, golden[f"{term}_loss"])
    assert_equal(similarity.grad, golden[f"{term}_grad"])


def test_camera_ready_cbs_is_a_mean_over_the_class_related_prompts():
    golden = np.load(GOLDEN / "camera_ready_losses.npz")
    features = leaf(golden["image_features"])
    texts = [torch.tensor(golden[f"text_features_{name}"]) for name in ("boat", "train")]
    cosine = F.normalize(features, dim=-1) @ F.normalize(torch.cat(texts), dim=-1).T  # (5, 5 + 4)
    class_related = torch.zeros(5, 9, dtype=torch.bool)
    # pairs: boat, train, and three classes without prompts
    class_related[0, :5] = class_related[1, 5:] = True
    value = class_related_background_suppression(cosine, class_related)
    value.backward()
    assert_equal(value, golden["cbs_loss"])
    assert_equal(features.grad, golden["cbs_grad_image_features"])


def test_area_regularization_includes_absent_classes():
    activation = leaf(np.full((2, 3, 4, 5), 0.25, np.float32))
    area_regularization(activation).backward()
    assert_equal(activation.grad, np.full((2, 3, 4, 5), 1 / 120))
