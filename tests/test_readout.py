"""Score maps to masks."""

import numpy as np
import paths
import pytest
import torch

from wsss_bench.readout import full_size_scores, threshold_mask
from wsss_bench.types import ScoreMaps

GOLDEN = paths.GOLDEN / "clims"


@pytest.mark.parametrize("stored", [(5, 7), (10, 13), (40, 3), (1, 1), (90, 120)])
def test_enlarging_is_torch_bilinear(stored):
    scores = np.random.default_rng(0).random((3, *stored)).astype(np.float16)
    full = full_size_scores(ScoreMaps("a", np.array([1, 2, 3], np.uint8), scores, (37, 50)))
    expected = torch.nn.functional.interpolate(
        torch.as_tensor(scores).float()[None], (37, 50), mode="bilinear", align_corners=False
    )[0]
    assert full.dtype == np.float32
    np.testing.assert_allclose(full, expected.numpy(), rtol=0, atol=1e-6)


def test_full_size_scores_are_not_touched():
    scores = np.random.default_rng(0).random((2, 4, 6)).astype(np.float16)
    assert full_size_scores(ScoreMaps("a", np.array([1, 2], np.uint8), scores, (4, 6))) is scores


def test_the_reference_masks():
    golden = np.load(GOLDEN / "eval_cam.npz")
    for i in range(4):
        maps = ScoreMaps(str(i), golden[f"keys{i}"] + 1, golden[f"cam{i}"], golden[f"gt{i}"].shape)
        np.testing.assert_array_equal(threshold_mask(maps, 0.15), golden[f"pred{i}_thr015"])


def test_ties_go_to_background_and_then_to_the_first_class():
    scores = np.array([[[0.5, 0.25, 0.75]], [[0.5, 0.5, 0.75]]], np.float16)
    maps = ScoreMaps("a", np.array([3, 1], np.uint8), scores, (1, 3))
    assert threshold_mask(maps, 0.5).tolist() == [[0, 0, 3]]
    assert threshold_mask(maps, 0.25).tolist() == [[3, 1, 3]]
    assert threshold_mask(maps, 0.25).dtype == np.uint8


def test_no_classes_is_background():
    maps = ScoreMaps("a", np.zeros(0, np.uint8), np.zeros((0, 1, 1), np.float16), (2, 3))
    assert threshold_mask(maps, 0.1).tolist() == [[0, 0, 0]] * 2
