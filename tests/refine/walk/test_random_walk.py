"""The sparse walk against the published squaring, on the stored outputs and on a dense matrix."""

import numpy as np
import paths
import pytest
import torch

from wsss_bench.refine.walk.pairs import feature_affinity, source_pixels, target_pixels
from wsss_bench.refine.walk.random_walk import edge_transition, feature_transition, random_walk

GOLDEN = paths.GOLDEN / "clims"


@pytest.fixture(scope="module")
def irn():
    return {
        name: torch.from_numpy(np.asarray(array))
        for name, array in np.load(GOLDEN / "irn_random_walk.npz").items()
    }


@pytest.mark.parametrize(("radius", "beta", "exp_times"), [(5, 10, 8), (3, 2, 1), (5, 10, 0)])
def test_walks_are_those_of_irn(irn, radius, beta, exp_times):
    transition = edge_transition(irn["edge"][0], radius, beta)
    walked = random_walk(irn["cam"] * (1 - irn["edge"]), transition, 2**exp_times)
    expected = irn[f"rw_r{radius}_b{beta}_e{exp_times}"][:, 0]
    np.testing.assert_allclose(walked, expected, rtol=1e-5, atol=1e-4 if exp_times == 8 else 1e-6)


def test_a_single_step_is_a_weighted_mean_over_neighbours():
    edge = torch.tensor([[0.0, 0.5, 0.0]])
    walked = random_walk(torch.tensor([[[1.0, 0.0, 0.0]]]), edge_transition(edge, 2, 2.0), 1)
    # each end joins the middle with affinity (1 - 0.5)^2 = 1/4; the columns sum to 5/4, 3/2, 5/4
    np.testing.assert_allclose(walked, [[[4 / 5, 1 / 6, 0.0]]], rtol=1e-6)


def test_a_constant_map_stays_constant():
    edge = torch.rand(13, 9, generator=torch.Generator().manual_seed(0))
    maps = torch.full((2, 13, 9), 0.37)
    # in single precision, over 256 steps
    np.testing.assert_allclose(random_walk(maps, edge_transition(edge, 5, 10), 256), maps, rtol=1e-3)


@pytest.mark.parametrize("size", [(1, 1), (1, 6), (3, 2)])
def test_maps_smaller_than_the_radius_are_walked_whole(size):
    edge = torch.zeros(size)
    maps = torch.rand(1, *size, generator=torch.Generator().manual_seed(0))
    walked = random_walk(maps, edge_transition(edge, 5, 10), 256)
    assert walked.std(correction=0) < 1e-3  # nothing separates the pixels
    assert maps.min() <= walked.mean() <= maps.max()


def test_a_certain_boundary_lets_nothing_through():
    edge = torch.zeros(8, 9)
    edge[:, 4] = 1
    maps = torch.zeros(1, 8, 9)
    maps[0, 2, 1] = 1
    walked = random_walk(maps, edge_transition(edge, 5, 10), 64)[0]
    assert walked[:, :4].min() > 0
    assert walked[:, 4:].max() == 0


def test_walks_are_those_of_psa():
    psa = {name: torch.from_numpy(array) for name, array in np.load(GOLDEN / "psa.npz").items()}
    dense = psa["dense_affinity"]
    target = target_pixels((10, 12), 5)
    affinity = dense[  # of the pairs
        source_pixels((10, 12), 5).expand_as(target), target
    ]
    maps = psa["rw_input"].view(3, 10, 12)
    walked = random_walk(maps, feature_transition(affinity, (10, 12), 5, 8.0), 2**8)
    np.testing.assert_allclose(walked.flatten(1), psa["rw_beta8_logt8"], atol=1e-4)


def test_equals_the_power_of_a_dense_matrix():
    features = torch.rand(1, 3, 12, 14, generator=torch.Generator().manual_seed(1))
    transition = feature_transition(feature_affinity(features, 4)[0], (12, 14), 4, 8.0)
    columns = transition.to_dense().double().t()
    np.testing.assert_allclose(columns.sum(dim=0), 1, rtol=1e-5)
    maps = torch.rand(3, 12, 14, generator=torch.Generator().manual_seed(2))
    expected = maps.flatten(1).double() @ torch.linalg.matrix_power(columns, 37)
    np.testing.assert_allclose(random_walk(maps, transition, 37).flatten(1), expected, rtol=1e-4)
