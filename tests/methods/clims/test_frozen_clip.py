"""CLIP's class-token encoder and FrozenCLIP give the embeddings and the gradients of the full image tower."""

import torch
from torch.nn import functional as F

from wsss_bench.methods.clims.frozen_clip import FrozenCLIP
from wsss_bench.nn.clip import CLIP


def full_tower(image):
    """All tokens in all blocks, computed by transformers."""
    model = CLIP("package:mini/clip").model
    return F.normalize(model.visual_projection(model.vision_model(image).pooler_output), dim=-1)


def test_embeddings_and_gradients_are_those_of_the_full_tower():
    torch.manual_seed(0)
    image = torch.randn(3, 3, 96, 96)
    direction = torch.randn(64)
    frozen = FrozenCLIP("package:mini/clip")
    results = []
    for encode in (full_tower, CLIP("package:mini/clip").encode_image, frozen.encode_image):
        leaf = image.clone().requires_grad_()
        embedding = encode(leaf)
        (embedding @ direction).sum().backward()
        results.append((embedding.detach(), leaf.grad))
    (expected, expected_gradient), *others = results
    atol = 1e-5 * expected_gradient.abs().max().item()
    for embedding, gradient in others:
        torch.testing.assert_close(embedding, expected, rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(gradient, expected_gradient, rtol=1e-4, atol=atol)
    assert not any(parameter.requires_grad for parameter in frozen.parameters())


def test_an_empty_batch_has_no_embeddings():
    assert CLIP("package:mini/clip").encode_image(torch.zeros(0, 3, 96, 96)).shape == (0, 64)
