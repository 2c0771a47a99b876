"""Boxes of connected regions against the arrays of CLIP-ES, and components against scipy."""

from __future__ import annotations

import numpy as np
import paths
import pytest
import torch
from golden_clip import tensors
from scipy import ndimage
from torch import Tensor

from wsss_bench.nn.component_boxes import box_masks, component_roots

ARRAYS = tensors("boxes", paths.GOLDEN / "clip_es")
CASES = sorted({name.split("/")[0] for name in ARRAYS})


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize(("suffix", "threshold"), [("4", 0.4), ("7", 0.7)])
def test_masks_are_those_of_the_official_code(case, suffix, threshold):
    found = box_masks(ARRAYS[f"{case}/map"], threshold)
    assert torch.equal(found, ARRAYS[f"{case}/mask_{suffix}"].bool())


def test_maps_of_a_batch_do_not_touch_each_other():
    maps = torch.stack([ARRAYS[f"smooth_{k}/map"] for k in range(4)]).view(2, 2, 12, 14)
    assert torch.equal(box_masks(maps, 0.4)[1, 0], box_masks(maps[1, 0], 0.4))
    assert box_masks(maps[:0], 0.4).shape == (0, 2, 12, 14)


def _spiral(height: int, width: int) -> Tensor:
    mask = torch.zeros(height, width, dtype=torch.bool)
    row, column, down, right, turns = 0, 0, 0, 1, 0
    mask[0, 0] = True

    def is_free(row: int, column: int) -> bool:
        return 0 <= row < height and 0 <= column < width and not mask[row, column]

    def is_taken(row: int, column: int) -> bool:
        return 0 <= row < height and 0 <= column < width and bool(mask[row, column])

    while turns < 2:
        if is_free(row + down, column + right) and not is_taken(row + 2 * down, column + 2 * right):
            row, column, turns = row + down, column + right, 0
            mask[row, column] = True
        else:
            down, right, turns = right, -down, turns + 1
    return mask


def _snake(height: int, width: int) -> Tensor:
    mask = torch.zeros(height, width, dtype=torch.bool)
    mask[::2] = True
    mask[1::4, -1] = True
    mask[3::4, 0] = True
    return mask


def _random(height: int, width: int) -> Tensor:
    return torch.rand(height, width, generator=torch.Generator().manual_seed(height)) < 0.45


@pytest.mark.parametrize("shape", [(1, 1), (1, 50), (50, 1), (7, 9), (20, 20), (60, 80)])
@pytest.mark.parametrize("draw", [_spiral, _snake, _random])
def test_components_are_those_of_scipy(shape, draw):
    mask = draw(*shape)
    for turned in (mask, mask.flip(0), mask.flip(1), mask.flip(0, 1)):
        roots = component_roots(turned[None])[0].view(shape).numpy()
        numbers, count = ndimage.label(turned.numpy(), np.ones((3, 3)))
        assert len(np.unique(roots[turned.numpy()])) == count
        for number in range(1, count + 1):
            places = np.flatnonzero(numbers == number)
            assert set(roots.flat[places]) == {places.min()}
