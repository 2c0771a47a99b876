"""ASPP and multi-scale inputs of DeepLabV2 against arrays of deeplab-pytorch, LargeFOV against ToCo."""

import numpy as np
import paths
import pytest
import torch
from torch import nn

from wsss_bench.nn.largefov import LargeFOV
from wsss_bench.segmenters.aspp import ASPP, multi_scale_logits

GOLDEN = paths.GOLDEN
DEEPLAB = {key: torch.tensor(value) for key, value in np.load(GOLDEN / "clims" / "deeplab.npz").items()}


def test_aspp_sums_its_branches():
    aspp = ASPP(3, 2, (6, 12, 18, 24))
    for index, branch in enumerate(aspp.branches):
        branch.weight.data = DEEPLAB[f"aspp_c{index}_weight"]
        branch.bias.data = DEEPLAB[f"aspp_c{index}_bias"]
    torch.testing.assert_close(aspp(DEEPLAB["aspp_input"]), DEEPLAB["aspp_output"], rtol=1e-4, atol=1e-5)


def test_aspp_initialisation_has_small_weights_and_zero_bias():
    aspp = ASPP(256, 21)
    weights = torch.cat([branch.weight.flatten() for branch in aspp.branches])
    assert weights.std().item() == pytest.approx(0.01, rel=0.02)
    assert not any(branch.bias.any() for branch in aspp.branches)


def test_multi_scale_logits_and_their_maximum():
    network = nn.Conv2d(3, 4, 3, stride=4, padding=1)
    network.weight.data, network.bias.data = DEEPLAB["msc_weight"], DEEPLAB["msc_bias"]
    outputs = multi_scale_logits(network, DEEPLAB["msc_input"], (0.5, 0.75))
    for output, name in zip(outputs, ("train_1", "train_05", "train_075", "train_max"), strict=True):
        torch.testing.assert_close(output, DEEPLAB[f"msc_{name}"], rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(outputs[-1], DEEPLAB["msc_eval"], rtol=1e-5, atol=1e-6)


def test_without_additional_scales_there_is_one_output():
    network = nn.Conv2d(3, 4, 3)
    (only,) = multi_scale_logits(network, DEEPLAB["msc_input"], ())
    torch.testing.assert_close(only, network(DEEPLAB["msc_input"]))


def test_largefov_equals_the_decoder_of_toco():
    golden = np.load(GOLDEN / "single_stage" / "largefov.npz")
    decoder = LargeFOV(6, 4)
    assert [name for name, _ in decoder.named_parameters()] == golden["param_names"].tolist()
    for name, parameter in decoder.named_parameters():
        assert str(tuple(parameter.shape)) in golden["param_shapes"]
        values = np.sin(0.7 * np.arange(parameter.numel()) + len(name)) * 0.02
        parameter.data = torch.tensor(values.reshape(parameter.shape), dtype=torch.float32)
    torch.testing.assert_close(
        decoder(torch.tensor(golden["x"])), torch.tensor(golden["out"]), rtol=1e-4, atol=1e-5
    )


def test_largefov_of_deeplab_v1_has_a_field_of_view_of_25_pixels_and_keeps_the_size():
    head = LargeFOV(2, 3, dilation=12, width=4, kernel_sizes=(3, 1), bias=True)
    for parameter in head.parameters():
        parameter.data.fill_(1.0)
    image = torch.zeros(1, 2, 40, 40)
    image[0, 0, 20, 20] = 1
    reached = (head(image)[0, 0] > 1).nonzero()  # 1 is the bias
    assert sorted({*reached[:, 0].tolist()}) == [8, 20, 32]
