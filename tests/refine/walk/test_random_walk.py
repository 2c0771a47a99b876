"""The sparse random walk against the outputs of IRN and PSA, and against powers of a dense matrix."""

import numpy as np
import paths
import pytest
import torch

from wsss_bench.refine.walk.affinity_pairs import feature_affinity, source_indices, target_indices
from wsss_bench.refine.walk.random_walk import (
    boundary_transition_matrix,
    feature_transition_matrix,
    random_walk,
)

GOLDEN = paths.GOLDEN / "clims"


@pytest.fixture(scope="module")
def irn():
    return {
        name: torch.from_numpy(np.asarray(array))
        for name, array in np.load(GOLDEN / "irn_random_walk.npz").items()
    }


@pytest.mark.parametrize(("radius", "beta", "exp_times"), [(5, 10, 8), (3, 2, 1), (5, 10, 0)])
def test_walks_are_those_of_irn(irn, radius, beta, exp_times):
    transition = boundary_transition_matrix(irn["edge"][0], radius, beta)
    walked = random_walk(irn["cam"] * (1 - irn["edge"]), transition, 2**exp_times)
    expected = irn[f"rw_r{radius}_b{beta}_e{exp_times}"][:, 0]
    np.testing.assert_allclose(walked, expected, rtol=1e-5, atol=1e-4 if exp_times == 8 else 1e-6)


def test_one_step_by_hand():
    edge = torch.tensor([[0.0, 0.5, 0.0]])
    walked = random_walk(torch.tensor([[[1.0, 0.0, 0.0]]]), boundary_transition_matrix(edge, 2, 2.0), 1)
    # the affinity of each end and the middle is (1 - 0.5)^2 = 1/4; the columns sum to 5/4, 3/2, 5/4
    np.testing.assert_allclose(walked, [[[4 / 5, 1 / 6, 0.0]]], rtol=1e-6)


def test_a_constant_map_stays_constant():
    edge = torch.rand(13, 9, generator=torch.Generator().manual_seed(0))
    maps = torch.full((2, 13, 9), 0.37)
    # the tolerance is that of single precision over 256 steps
    np.testing.assert_allclose(
        random_walk(maps, boundary_transition_matrix(edge, 5, 10), 256), maps, rtol=1e-3
    )


@pytest.mark.parametrize("size", [(1, 1), (1, 6), (3, 2)])
def test_maps_smaller_than_the_radius(size):
    edge = torch.zeros(size)
    maps = torch.rand(1, *size, generator=torch.Generator().manual_seed(0))
    walked = random_walk(maps, boundary_transition_matrix(edge, 5, 10), 256)
    assert walked.std(correction=0) < 1e-3  # without boundaries the map becomes constant
    assert maps.min() <= walked.mean() <= maps.max()


def test_no_score_crosses_a_boundary_of_probability_one():
    edge = torch.zeros(8, 9)
    edge[:, 4] = 1
    maps = torch.zeros(1, 8, 9)
    maps[0, 2, 1] = 1
    walked = random_walk(maps, boundary_transition_matrix(edge, 5, 10), 64)[0]
    assert walked[:, :4].min() > 0
    assert walked[:, 4:].max() == 0


def test_walks_are_those_of_psa():
    psa = {name: torch.from_numpy(array) for name, array in np.load(GOLDEN / "psa.npz").items()}
    dense = psa["dense_affinity"]
    target = target_indices((10, 12), 5)
    affinity = dense[source_indices((10, 12), 5).expand_as(target), target]
    maps = psa["rw_input"].view(3, 10, 12)
    walked = random_walk(maps, feature_transition_matrix(affinity, (10, 12), 5, 8.0), 2**8)
    np.testing.assert_allclose(walked.flatten(1), psa["rw_beta8_logt8"], atol=1e-4)


def test_equals_the_power_of_a_dense_matrix():
    features = torch.rand(1, 3, 12, 14, generator=torch.Generator().manual_seed(1))
    transition = feature_transition_matrix(feature_affinity(features, 4)[0], (12, 14), 4, 8.0)
    columns = transition.to_dense().double().t()
    np.testing.assert_allclose(columns.sum(dim=0), 1, rtol=1e-5)
    maps = torch.rand(3, 12, 14, generator=torch.Generator().manual_seed(2))
    expected = maps.flatten(1).double() @ torch.linalg.matrix_power(columns, 37)
    np.testing.assert_allclose(random_walk(maps, transition, 37).flatten(1), expected, rtol=1e-4)
