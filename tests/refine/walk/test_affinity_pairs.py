"""Pairs and affinities against the outputs of IRN and PSA, and against values calculated by hand."""

import numpy as np
import paths
import pytest
import torch
from torch import nn

from wsss_bench.refine.walk.affinity_pairs import (
    boundary_affinity,
    feature_affinity,
    padded_boundary_affinity,
    pair_offsets,
    path_pixels,
    source_indices,
    target_indices,
)
from wsss_bench.refine.walk.affinitynet import AffinityNet

GOLDEN = paths.GOLDEN / "clims"


def golden(name):
    return np.load(GOLDEN / f"{name}.npz")


@pytest.mark.parametrize("radius", [3, 5, 10])
def test_offsets_and_paths_are_those_of_irn(radius):
    reference = golden("irn_path_index")
    offsets = pair_offsets(radius)
    np.testing.assert_array_equal(offsets, reference[f"search_dst_r{radius}"])
    lengths, counts = np.unique([len(path_pixels(offset)) for offset in offsets], return_counts=True)
    np.testing.assert_array_equal(lengths, reference[f"path_lengths_r{radius}"])
    np.testing.assert_array_equal(counts, reference[f"n_dirs_per_length_r{radius}"])
    assert len(source_indices(tuple(reference["size"]), radius)) == reference[f"n_src_r{radius}"]


def test_a_path_contains_the_pixels_less_than_one_pixel_from_the_line():
    assert path_pixels((0, 2)) == ((0, 0), (0, 1), (0, 2))
    assert path_pixels((1, -1)) == ((0, -1), (0, 0), (1, -1), (1, 0))
    assert path_pixels((2, 1)) == ((0, 0), (0, 1), (1, 0), (1, 1), (2, 0), (2, 1))


def test_boundary_affinities_are_those_of_irn():
    reference = golden("irn_random_walk")
    edge = torch.nn.functional.pad(torch.from_numpy(reference["edge"]), (3, 3, 0, 3), value=1.0)
    affinity = boundary_affinity(edge, 3)
    np.testing.assert_allclose(affinity, reference["edge_to_affinity_r3"], rtol=1e-5, atol=1e-6)
    # our padding is one pixel narrower than IRN's, and every pixel is a source
    dense = torch.from_numpy(reference["dense_affinity_r3_padded"]).view(10, 15, 10, 15)[:7, 3:12, :7, 3:12]
    ours = padded_boundary_affinity(edge[0, :7, 3:12], 3)
    for (dy, dx), row in zip(pair_offsets(3), ours, strict=True):
        for pixel, value in enumerate(row):
            y, x = pixel // 9 + dy, pixel % 9 + dx
            expected = dense[pixel // 9, pixel % 9, y, x] if y < 7 and 0 <= x < 9 else 0
            assert abs(value - expected) < 1e-6


def test_the_gradient_of_an_affinity_goes_to_the_highest_boundary_only():
    edge = torch.zeros(1, 2, 3)
    edge[0, 0] = torch.tensor([0.1, 0.7, 0.4])
    edge.requires_grad_()
    # the only source, the middle of the first row, has four neighbours
    affinity = boundary_affinity(edge, 2)
    np.testing.assert_allclose(affinity.detach(), np.full((1, 4, 1), 0.3), rtol=1e-6)
    affinity.sum().backward()
    np.testing.assert_array_equal(edge.grad, [[[0, -4, 0], [0, 0, 0]]])


def test_feature_affinities_are_those_of_psa():
    reference = golden("psa")
    net = AffinityNet(("a", "b"), backbone="resnet10t", weights=None)
    net.laterals = nn.ModuleList([_convolution(reference[f"f8_{k}_weight"]) for k in (3, 4, 5)])
    net.merge = _convolution(reference["f9_weight"])
    with torch.no_grad():
        features = net.fuse_stages([torch.from_numpy(reference[f"conv{k}"]) for k in (4, 5, 6)])
    affinity = feature_affinity(features, 5)
    np.testing.assert_allclose(affinity[:, _psa_order()], reference["affinity"], rtol=1e-5, atol=1e-6)
    dense = reference["dense_affinity"]
    source, target = source_indices((10, 12), 5), target_indices((10, 12), 5)
    np.testing.assert_allclose(affinity[0], dense[source.expand_as(target), target], rtol=1e-5, atol=1e-6)


def test_a_map_smaller_than_the_radius_is_refused_with_advice():
    with pytest.raises(ValueError, match=r"4 x 9 has no pair of pixels of radius 5; it needs at least 5 x 9"):
        boundary_affinity(torch.rand(1, 4, 9), 5)
    # radius 1: only the pixel itself, no pairs
    assert feature_affinity(torch.rand(1, 3, 2, 2), 1).shape == (1, 0, 4)


def _convolution(weight):
    layer = nn.Conv2d(weight.shape[1], weight.shape[0], 1, bias=False)
    layer.weight.data = torch.from_numpy(weight)
    return layer


def _psa_order():
    """PSA sorts the offsets row by row."""
    offsets = pair_offsets(5)
    return [offsets.index(offset) for offset in sorted(offsets)]
