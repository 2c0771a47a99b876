"""The kept sparsity pattern against the matrix that is sorted anew for each image, bit for bit."""

import pytest
import torch
from torch.nn import functional as F

from wsss_bench.refine.walk import pair_matrix
from wsss_bench.refine.walk.affinity_pairs import (
    boundary_affinity,
    feature_affinity,
    flat_index_offsets,
    pair_offsets,
    source_indices,
    target_indices,
)
from wsss_bench.refine.walk.random_walk import (
    boundary_transition_matrix,
    feature_transition_matrix,
    random_walk,
)


def sorted_matrix(source, target, weight, pixels):
    """All entries with their rows and columns, sorted: the plain way to the same matrix."""
    diagonal = torch.arange(pixels)
    rows, columns = torch.cat([source, target, diagonal]), torch.cat([target, source, diagonal])
    values = torch.cat([weight, weight, torch.ones(pixels)])
    order = torch.argsort(rows * pixels + columns)
    rows, columns, values = rows[order], columns[order], values[order].double()
    sums = torch.zeros(pixels, dtype=torch.double).index_add_(0, rows, values)
    starts = torch.zeros(pixels + 1, dtype=torch.int32)
    starts[1:] = torch.bincount(rows, minlength=pixels).cumsum(0)
    values = (values / sums[rows]).float()
    return torch.sparse_csr_tensor(starts, columns.int(), values, (pixels, pixels), check_invariants=False)


def sorted_boundary_matrix(boundary_map, radius, beta):
    height, width = boundary_map.shape
    reach = radius - 1
    affinity = boundary_affinity(F.pad(boundary_map[None], (reach, reach, 0, reach), value=1.0), radius)[0]
    source = torch.arange(height * width)
    kept = affinity > 0
    target = (source + flat_index_offsets(pair_offsets(radius), width)[:, None])[kept]
    return sorted_matrix(source.expand_as(affinity)[kept], target, affinity[kept] ** beta, height * width)


def sorted_feature_matrix(affinity, size, radius, beta):
    source, target = source_indices(size, radius).expand_as(affinity), target_indices(size, radius)
    return sorted_matrix(
        source.flatten(), target.flatten(), affinity.flatten() ** beta, size[0] * size[1]
    )  # fmt: skip


def assert_same(found, expected):
    for part in ("crow_indices", "col_indices", "values"):
        assert torch.equal(getattr(found, part)(), getattr(expected, part)()), part


def boundary_map(size, seed=0):
    return torch.rand(size, generator=torch.Generator().manual_seed(seed)) * 0.9


@pytest.mark.parametrize(
    ("size", "radius"),
    [
        ((94, 125), 3),
        pytest.param((94, 125), 5, marks=pytest.mark.slow),
        ((125, 94), 4),
        ((31, 47), 10),
        ((47, 30), 8),
        ((5, 60), 6),
        ((2, 3), 5),
        ((1, 1), 5),
    ],
)
def test_the_boundary_matrix_and_its_walk_are_equal_bit_for_bit(size, radius):
    maps = torch.rand(3, *size, generator=torch.Generator().manual_seed(1))
    for seed in (0, 1):  # the second one finds the pattern of the first
        edge = boundary_map(size, seed)
        found, expected = (
            make(edge, radius, 10.0) for make in (boundary_transition_matrix, sorted_boundary_matrix)
        )
        assert_same(found, expected)
        assert torch.equal(random_walk(maps, found, 8), random_walk(maps, expected, 8))


@pytest.mark.parametrize(
    ("size", "radius"), [((47, 63), 5), ((63, 47), 3), ((19, 40), 10), ((3, 3), 2), ((4, 5), 1)]
)
def test_the_feature_matrix_is_equal_bit_for_bit(size, radius):
    features = torch.rand(1, 4, *size, generator=torch.Generator().manual_seed(2))
    affinity = feature_affinity(features, radius)[0]
    arguments = (affinity, size, radius, 8.0)
    assert_same(feature_transition_matrix(*arguments), sorted_feature_matrix(*arguments))


@pytest.mark.parametrize("beta", [0.0, 10.0])
def test_a_certain_boundary_keeps_its_entries_with_the_value_zero(beta):
    edge = boundary_map((31, 42))
    edge[:, 20] = edge[7, 3:30] = 1
    maps = torch.rand(2, 31, 42, generator=torch.Generator().manual_seed(1))
    found, expected = (make(edge, 5, beta) for make in (boundary_transition_matrix, sorted_boundary_matrix))
    assert found.values().numel() > expected.values().numel()
    assert torch.equal(found.to_dense(), expected.to_dense())
    torch.testing.assert_close(
        random_walk(maps, found, 64), random_walk(maps, expected, 64), rtol=1e-6, atol=0
    )


def test_radius_one_has_no_pairs_and_moves_nothing():
    matrix = boundary_transition_matrix(boundary_map((6, 7)), 1, 10.0)
    assert torch.equal(matrix.to_dense(), torch.eye(42))


def test_a_bounded_number_of_patterns_is_kept():
    for side in range(10, 12 + pair_matrix.KEPT_PATTERNS):
        boundary_transition_matrix(boundary_map((side, 9)), 3, 2.0)
    assert pair_matrix.all_pairs.cache_info().currsize == pair_matrix.KEPT_PATTERNS
