"""Branches of IRNet against the original: output sizes, channels, flip-averaged boundary map."""

import numpy as np
import paths
import pytest
import torch

from wsss_bench.refine.walk.irnet_branches import (
    BoundaryBranch,
    DisplacementBranch,
    flip_averaged_boundary_map,
)

GOLDEN = paths.GOLDEN / "clims"
RESNET50 = (64, 256, 512, 1024, 2048)


def strides_of(output_stride, stages=5):
    """Strides of a ResNet (five stages) or of another network (four) with an output stride."""
    return [min(stride, output_stride) for stride in (4, 4, 8, 16, 32)[-stages:]]


def features(height, width, channels, strides):
    return [torch.rand(1, c, -(-height // s), -(-width // s)) for c, s in zip(channels, strides, strict=True)]


@pytest.mark.parametrize("row", np.load(GOLDEN / "irn_shapes.npz")["input_edge_dp"].tolist())
@pytest.mark.parametrize("output_stride", [8, 16, 32])
@pytest.mark.parametrize("stages", [4, 5])
def test_sizes_are_those_of_irn(row, output_stride, stages):
    height, width, *expected = row
    channels, strides = [8] * stages, strides_of(output_stride, stages)
    stages = features(height, width, channels, strides)
    edge = BoundaryBranch(channels, strides, 4)(stages)
    displacement = DisplacementBranch(channels, strides, 4)(stages)
    assert [*edge.shape[1:], *displacement.shape[2:]] == expected
    assert displacement.shape[1] == 2


def test_channels_are_those_of_irn():
    strides = strides_of(16)
    edge, displacement = BoundaryBranch(RESNET50, strides), DisplacementBranch(RESNET50, strides)
    convolutions = sum(RESNET50) * 32 + 160 + 1  # laterals, and the classifier with bias
    assert sum(p.numel() for p in edge.parameters()) == convolutions + 5 * 2 * 32
    assert displacement.merge_coarse[0].weight.shape == (256, 768, 1, 1)
    assert displacement.merge[0].weight.shape == (256, 448, 1, 1)
    assert displacement.regressor.weight.shape == (2, 256, 1, 1)
    groups = [m.num_groups for m in displacement.modules() if isinstance(m, torch.nn.GroupNorm)]
    assert groups == [8, 16, 16, 16, 16, 16, 16]
    assert [m.num_groups for m in edge.modules() if isinstance(m, torch.nn.GroupNorm)] == [4] * 5


def test_the_flip_averaged_boundary_map_is_that_of_irn():
    reference = np.load(GOLDEN / "irn_edge_inference.npz")
    edge = flip_averaged_boundary_map(torch.from_numpy(reference["edge_logits"])[:, 0])
    np.testing.assert_allclose(edge, reference["edge"][0], rtol=1e-5, atol=1e-6)
