"""Packed maps: they come back, smooth ones become small, and nothing fills the memory."""

import numpy as np
import pytest

from wsss_bench.artifacts.packed_maps import pack, unpack

TYPES = (np.uint8, np.uint16)


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("shape", [(2, 37, 53), (1, 1, 1), (3, 1, 40), (3, 40, 1), (0, 1, 1)])
def test_packed_maps_come_back(shape, dtype):
    maps = np.random.default_rng(0).integers(0, np.iinfo(dtype).max + 1, shape).astype(dtype)
    found = unpack(pack(maps), shape, dtype)
    np.testing.assert_array_equal(found, maps)
    assert found.dtype == dtype


@pytest.mark.parametrize("dtype", TYPES)
def test_smooth_maps_become_small(dtype):
    rows, columns = np.mgrid[0:375, 0:500] / 500
    share = np.abs(np.sin(7 * rows + 3) * np.cos(5 * columns))[None]
    maps = (share * (200 if dtype == np.uint8 else 11_000)).astype(dtype)
    assert len(pack(maps)) < maps.nbytes / 4


@pytest.mark.parametrize("dtype", TYPES)
def test_no_more_is_unpacked_than_the_shape_takes(dtype):
    content = pack(np.zeros((1, 4000, 4000), dtype))
    assert len(content) < 200_000
    for shape in ((1, 10, 10), (1, 4000, 4001)):
        with pytest.raises(ValueError, match="do not have the shape"):
            unpack(content, shape, dtype)
