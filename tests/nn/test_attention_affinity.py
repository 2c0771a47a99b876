"""The affinity of attention against the arrays of CLIP-ES."""

from __future__ import annotations

import paths
import pytest
import torch
from golden_clip import tensors
from torch.nn import functional as F
from torch.testing import assert_close

from wsss_bench.nn.attention_affinity import min_max, spread, transition

CASES = ["affinity_square_112", "affinity_wide_96x128"]


@pytest.mark.parametrize("name", CASES)
def test_it_is_that_of_the_official_code(name):
    arrays = tensors(name, paths.GOLDEN / "clip_es")
    if "attention_last_8" in arrays:
        assert_close(arrays["attention_last_8"].mean(dim=0), arrays["attention_mean"])
    step = transition(arrays["attention_mean"][None])
    if "symmetric" in arrays:
        assert_close(step[0], arrays["symmetric"], rtol=1e-4, atol=1e-7)
    assert_close((step @ step)[0], arrays["squared"], rtol=1e-4, atol=1e-7)
    maps = spread(step, arrays["cam_normalised"][None], 0.4)
    assert_close(maps[0], arrays["cam_refined"], rtol=1e-5, atol=1e-7)
    width, height = arrays["highres_size_w_h"].tolist()
    full = F.interpolate(min_max(maps), (height, width), mode="bilinear", align_corners=False)
    assert_close(full[0], arrays["cam_refined_highres"], rtol=0, atol=2e-3)


def test_without_boxes_everything_spreads():
    step = transition(torch.rand(1, 12, 12) + 0.1)
    maps = torch.rand(1, 2, 3, 4)
    expected = (step @ step @ maps.flatten(2).mT).mT.view(1, 2, 3, 4)
    assert_close(spread(step, maps, None), expected)
    assert not torch.allclose(spread(step, maps, 0.9), expected)


def test_a_map_of_zeros_stays_zero():
    step = transition(torch.rand(1, 12, 12) + 0.1)
    assert not min_max(spread(step, torch.zeros(1, 1, 3, 4), 0.4)).any()


def test_low_precision_attention_is_computed_in_full():
    attention = torch.rand(1, 12, 12) + 0.1
    assert transition(attention.bfloat16()).dtype == torch.float32
