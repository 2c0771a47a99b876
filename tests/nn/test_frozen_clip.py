"""The rewritten image tower gives the embeddings and the gradients of the ordinary one."""

import torch

from wsss_bench.nn.clip import CLIP
from wsss_bench.nn.frozen_clip import FrozenCLIP


def test_embeddings_and_gradients_are_those_of_clip():
    torch.manual_seed(0)
    image = torch.randn(3, 3, 96, 96)
    direction = torch.randn(64)
    results = []
    for clip in (CLIP("package:mini/clip"), FrozenCLIP("package:mini/clip")):
        leaf = image.clone().requires_grad_()
        embedding = clip.encode_image(leaf)
        (embedding @ direction).sum().backward()
        results.append((embedding.detach(), leaf.grad))
    (embedding, gradient), (frozen_embedding, frozen_gradient) = results
    torch.testing.assert_close(frozen_embedding, embedding, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(frozen_gradient, gradient, rtol=1e-4, atol=1e-5 * gradient.abs().max().item())
    assert not any(parameter.requires_grad for parameter in clip.parameters())
