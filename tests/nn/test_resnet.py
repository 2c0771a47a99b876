"""The ResNet of the CAM family against sizes and counts of the authors' network."""

import numpy as np
import paths
import pytest
import torch
from torch import nn

from wsss_bench.nn.normalize import ImageNetNormalize
from wsss_bench.nn.resnet import ResNetStages

FACTS = np.load(paths.GOLDEN / "clims" / "network_facts.npz")


@pytest.mark.slow
def test_resnet50_has_the_published_parameters_sizes_and_frozen_tensors():
    backbone = ResNetStages("resnet50", None, output_stride=16, frozen_stages=1)
    head = nn.Conv2d(backbone.channels, 20, 1, bias=False)
    parameters = [*backbone.parameters(), *head.parameters()]
    assert sum(p.numel() for p in parameters) == FACTS["n_parameters"]
    assert len(parameters) - 1 == FACTS["n_backbone_tensors"]
    assert [n for n, p in backbone.named_parameters() if not p.requires_grad] == [
        "stages.0.0.weight",
        "stages.0.1.weight",
        "stages.0.1.bias",
    ]
    assert all(m.dilation == (1, 1) for m in backbone.modules() if isinstance(m, nn.Conv2d))
    backbone.eval()
    with torch.no_grad():
        for side, expected in FACTS["input_output_sizes"][:3]:
            assert backbone(torch.zeros(1, 3, side, side))[-1].shape[-2:] == (expected, expected)


def test_freeze_bn_keeps_the_running_statistics():
    image = torch.randn(2, 3, 32, 32)
    for fixed in (True, False):
        backbone = ResNetStages("resnet18", None, frozen_stages=1, freeze_bn=fixed)
        before = backbone.stages[0][1].running_mean.clone()
        backbone(image)
        assert torch.equal(before, backbone.stages[0][1].running_mean) == fixed


def test_frozen_stages_get_no_gradient():
    backbone = ResNetStages("resnet18", None, frozen_stages=3)
    backbone(torch.randn(2, 3, 32, 32))[-1].sum().backward()
    assert [stage[0].conv1.weight.grad is not None for stage in backbone.stages[1:]] == [
        False,
        False,
        True,
        True,
    ]


def test_imagenet_mean_colour_becomes_exactly_zero():
    normalize = ImageNetNormalize()
    assert normalize(normalize.mean.expand(1, 3, 4, 4)).abs().max() == 0


def test_a_backbone_that_is_no_resnet_is_refused():
    with pytest.raises(ValueError, match="not one of timm"):
        ResNetStages("mobilenetv3_small_050", None)


@pytest.mark.slow
def test_stages_without_stride_are_dilated_for_deeplab_and_not_for_cam():
    def rates(**options):
        backbone = ResNetStages("resnet50", None, **options)
        return [
            {m.dilation for m in stage.modules() if isinstance(m, nn.Conv2d) and m.kernel_size == (3, 3)}
            for stage in backbone.stages[1:]
        ], backbone

    dilated, backbone = rates(output_stride=8, dilated=True)
    assert dilated == [{(1, 1)}, {(1, 1)}, {(2, 2)}, {(4, 4)}]  # the first block of a stage too
    assert rates(output_stride=16, dilated=True)[0] == [{(1, 1)}] * 3 + [{(2, 2)}]
    assert rates(output_stride=8)[0] == [{(1, 1)}] * 4
    with torch.no_grad():
        assert backbone(torch.zeros(1, 3, 65, 40))[-1].shape[-2:] == (9, 5)


@pytest.mark.parametrize("backbone", ["resnet10t", "resnet50"])
def test_at_output_stride_4_no_layer_has_a_stride(backbone):
    network = ResNetStages(backbone, None, output_stride=4, dilated=True).eval()
    with torch.no_grad():
        sizes = [tuple(features.shape[-2:]) for features in network(torch.zeros(1, 3, 32, 44))]
    assert sizes == [(8, 11)] * 5
    last = [
        m.dilation
        for m in network.stages[-1].modules()
        if isinstance(m, nn.Conv2d) and max(m.kernel_size) > 1
    ]
    assert set(last) == {(8, 8)}
