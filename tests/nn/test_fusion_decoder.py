"""Fusion and decoder: any number of blocks, any grid, every layer trained, and the published size."""

import pytest
import torch

from wsss_bench.nn.fusion_decoder import TokenFusion, TransformerDecoder


def network(num_blocks=3, channels=12, width=16, num_outputs=5):
    return TokenFusion(num_blocks, channels, width), TransformerDecoder(width, num_outputs, num_heads=4)


@pytest.mark.parametrize(("num_blocks", "grid"), [(3, (4, 7)), (12, (1, 1))])
def test_any_number_of_blocks_and_any_grid(num_blocks, grid):
    fusion, decoder = network(num_blocks)
    fused = fusion([torch.randn(2, grid[0] * grid[1], 12) for _ in range(num_blocks)])
    assert decoder(fused, grid).shape == (2, 5, *grid)


def test_tokens_of_another_number_of_blocks_are_refused():
    fusion, _ = network(num_blocks=3)
    with pytest.raises(ValueError, match="argument 2 is shorter"):
        fusion([torch.randn(1, 4, 12)] * 2)


def test_a_place_of_the_map_is_its_token():
    torch.manual_seed(0)
    fusion, decoder = network()
    tokens = [torch.randn(1, 6, 12) for _ in range(3)]
    order = torch.tensor([5, 3, 1, 0, 2, 4])
    logits = decoder(fusion(tokens), (2, 3))
    moved = decoder(fusion([own[:, order] for own in tokens]), (2, 3))
    torch.testing.assert_close(moved.flatten(2), logits.flatten(2)[..., order])


def test_every_parameter_has_a_gradient():
    torch.manual_seed(0)
    fusion, decoder = network()
    decoder(fusion([torch.randn(1, 6, 12) for _ in range(3)]), (2, 3)).square().sum().backward()
    for module in (fusion, decoder):
        assert all(parameter.grad.abs().sum() > 0 for parameter in module.parameters())


def test_the_published_size():
    fusion, decoder = TokenFusion(11, 768, 256), TransformerDecoder(256, 21)
    assert sum(p.numel() for module in (fusion, decoder) for p in module.parameters()) == 5_985_045
