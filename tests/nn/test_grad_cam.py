"""GradCAM of CLIP against the arrays of CLIP-ES."""

from __future__ import annotations

import paths
import pytest
import torch
from golden_clip import tensors, write_generated_clip
from torch.testing import assert_close

from wsss_bench.nn.clip import CLIP
from wsss_bench.nn.grad_cam import grad_cam, label_gradients

GOLDEN = paths.GOLDEN / "clip_es"
LABELS = torch.tensor([[1.0, 1.0, 1.0]])


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> CLIP:
    return CLIP(str(write_generated_clip(tmp_path_factory.mktemp("clip")))).requires_grad_(False)


@pytest.mark.parametrize("name", ["gradcam_square_112", "gradcam_wide_96x128"])
def test_it_is_that_of_the_official_code(clip, name):
    arrays = tensors(name, GOLDEN)
    height, width = arrays["activations"].shape[1:]
    classes, backgrounds = arrays["text_features"].split([3, 4])
    tokens = arrays["tokens_before_last"][None]
    found = label_gradients(clip, tokens, classes, backgrounds, LABELS)
    assert_close(found.activations[0].T.unflatten(1, (height, width)), arrays["activations"])
    assert_close(found.probabilities[0], arrays["probabilities"], rtol=1e-4, atol=1e-5)
    assert_close(found.channel_weights[0], arrays["channel_weights"], rtol=1e-3, atol=1e-8)
    cam = grad_cam(clip, tokens, (height, width), classes, backgrounds, LABELS)
    assert_close(cam.maps[0], arrays["cam_normalised"], rtol=0, atol=2e-3)
    assert_close(cam.attention.sum(dim=2), torch.ones(1, 1 + height * width))
    if name == "gradcam_wide_96x128":
        assert not cam.maps[0, 0].any()  # no positive place: zeros, not NaN


def _two_images(clip: CLIP):
    arrays = tensors("gradcam_square_112", GOLDEN)
    tokens = arrays["tokens_before_last"][None]
    texts = arrays["text_features"]
    other = tokens.flip(2).contiguous()
    return torch.cat([tokens, other, tokens]), texts[:3], texts[3:]


def test_images_of_a_batch_with_other_labels_are_those_alone(clip):
    tokens, classes, backgrounds = _two_images(clip)
    labels = torch.tensor([[0.0, 1.0, 1.0], [1.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
    together = grad_cam(clip, tokens, (7, 7), classes, backgrounds, labels).maps
    for index in range(2):
        alone = grad_cam(clip, tokens[index, None], (7, 7), classes, backgrounds, labels[index, None]).maps
        assert_close(together[index, None], alone, rtol=0, atol=1e-4)
        assert alone.flatten(2).any(dim=2)[0].tolist() == labels[index].bool().tolist()
    assert not together[2].any()


def test_the_logit_knows_no_competition(clip):
    tokens, classes, backgrounds = _two_images(clip)
    labels = torch.tensor([[1.0, 0.0, 0.0]] * 3)
    with_backgrounds = grad_cam(clip, tokens, (7, 7), classes, backgrounds, labels, "logit").maps
    without = grad_cam(clip, tokens, (7, 7), classes, backgrounds[:0], labels, "logit").maps
    assert_close(with_backgrounds, without)
    probability = grad_cam(clip, tokens, (7, 7), classes, backgrounds, labels).maps
    assert not torch.allclose(probability, without, atol=1e-2)


def test_it_is_in_full_precision_and_leaves_no_gradient(clip):
    tokens, classes, backgrounds = _two_images(clip)
    labels = torch.tensor([[1.0, 1.0, 0.0]] * 3)
    expected = grad_cam(clip, tokens, (7, 7), classes, backgrounds, labels).maps
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        found = grad_cam(clip, tokens, (7, 7), classes, backgrounds, labels).maps
    assert torch.equal(found, expected)
    assert not found.requires_grad
    assert all(parameter.grad is None for parameter in clip.parameters())
