import pytest
import torch
from torch import nn

from wsss_bench.methods.mcis.features import PairFeatures
from wsss_bench.methods.mcis.vgg import VGGStride8, at_stride_8


@pytest.mark.slow
def test_vgg_has_stride_8_and_the_published_layers():
    features = VGGStride8("vgg16", None).features
    convolutions = {i: m for i, m in enumerate(features) if isinstance(m, nn.Conv2d)}
    assert sorted(convolutions) == [0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28]  # as in torchvision
    assert [m.dilation[0] for m in convolutions.values()] == [1] * 10 + [2] * 3
    pools = [m for m in features if isinstance(m, nn.MaxPool2d)]
    assert [(m.kernel_size, m.stride, m.padding) for m in pools] == [(2, 2, 0)] * 3 + [(3, 1, 1)]
    assert len(features) == 30
    with pytest.raises(ValueError, match="five poolings, this network has 1"):
        at_stride_8(nn.Sequential(nn.MaxPool2d(2)))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("backbone", "stride"),
    [("vgg16", 8), ("resnet18", 8), ("package:mini2/resnet.json", 8), ("vit_tiny_patch16_224", 16)],
)
def test_every_encoder_gives_features_of_the_same_width_and_sign(backbone, stride):
    module = PairFeatures(backbone, None, width=12, output_stride=8)
    features = module(torch.rand(2, 3, 32, 48))
    assert features.shape == (2, 12, 32 // stride, 48 // stride)
    assert features.min() >= 0
    assert features.any()
    first = module.adapter[0]
    assert first.weight.std().item() == pytest.approx((2 / (9 * 12)) ** 0.5, rel=0.1)
    assert not first.bias.any()


def test_a_resnet_can_be_frozen_and_undilated():
    module = PairFeatures("resnet18", None, 12, output_stride=4, dilated=False, frozen_stages=5)
    convolutions = [m for m in module.encoder.modules() if isinstance(m, nn.Conv2d)]
    assert {m.dilation for m in convolutions} == {(1, 1)}
    assert not any(p.requires_grad for p in module.encoder.parameters())
    assert module(torch.rand(1, 3, 32, 32)).shape == (1, 12, 8, 8)
    with pytest.raises(ValueError, match="'vgg16' is not one; set it to 0"):
        PairFeatures("vgg16", None, 12, frozen_stages=2)


@pytest.mark.slow
def test_unknown_families_and_sizes_are_refused():
    with pytest.raises(ValueError, match="'vgg11_bn' has BatchNorm"):
        PairFeatures("vgg11_bn", None)
    with pytest.raises(ValueError, match="'convnext'; MCIS supports the encoders vgg, resnet"):
        PairFeatures("convnext_tiny", None)
    with pytest.raises(ValueError, match="normalises only the pooled token"):
        PairFeatures("vit_base_patch16_rpn_224", None, 8)
    with pytest.raises(ValueError, match="40x32 pixels cannot be divided into patches of 16"):
        PairFeatures("vit_tiny_patch16_224", None, 8)(torch.rand(1, 3, 40, 32))
