"""The ViT of the single-stage methods against timm's."""

import pytest
import timm
import torch

from wsss_bench.methods.single_stage.vit import VisionTransformer

MINI = ("package:mini2/vit.json", "package:mini2/vit.safetensors")


@pytest.fixture(scope="module")
def vit():
    return VisionTransformer(*MINI).eval()


def test_tokens_are_those_of_timm_after_its_norm(vit):
    recipe = {"img_size": 96, "patch_size": 8, "embed_dim": 96, "depth": 6, "num_heads": 3}
    net = timm.create_model("vit_tiny_patch16_224", num_classes=0, **recipe).eval()
    net.load_state_dict(vit.state_dict())
    image = torch.randn(2, 3, 96, 96)
    with torch.no_grad():
        tokens, expected = vit(image), net.forward_features(image)
        before = net.blocks[:4](net._pos_embed(net.patch_embed(image)))
    assert tokens.patches.shape == (2, 96, 12, 12)
    torch.testing.assert_close(tokens.class_token, expected[:, 0])
    torch.testing.assert_close(tokens.patches.flatten(2).transpose(1, 2), expected[:, 1:])
    torch.testing.assert_close(tokens.auxiliary.flatten(2).transpose(1, 2), before[:, 1:])


def test_the_tenth_of_twelve_blocks_is_the_default():
    # twelve blocks, a grid of 14 by 14 patches at 224 pixels
    model = VisionTransformer("vit_tiny_patch16_224", None)
    assert model.aux_layer == 9
    with torch.no_grad():
        assert model(torch.zeros(1, 3, 448, 448)).patches.shape[2:] == (28, 28)
    assert not model.pos_embed.requires_grad


def test_the_position_embedding_is_resized_to_the_grid_except_for_the_class_token(vit):
    embedding = vit._position_embedding((6, 18))
    assert embedding.shape == (1, 1 + 6 * 18, 96)
    assert torch.equal(embedding[:, 0], vit.pos_embed[:, 0])
    assert torch.equal(vit._position_embedding((12, 12)), vit.pos_embed)


def test_errors_name_what_to_change(vit):
    with pytest.raises(ValueError, match=r"data\.transform\.crop_size .* inference\.pad_to: 8"):
        vit(torch.zeros(1, 3, 96, 100))
    with pytest.raises(ValueError, match="not one of timm's ViTs"):
        VisionTransformer("resnet18", None)
    with pytest.raises(ValueError, match="aux_layer 7 is not one of the 6 blocks"):
        VisionTransformer(*MINI, aux_layer=7)
