"""Class maps of ExCEL against the authors' code."""

import golden_excel
import torch
from golden_excel import TOLERANCE
from torch.testing import assert_close

from wsss_bench.methods.excel.class_maps import class_maps, merge_mirrored, patch_text_maps

ARRAYS = golden_excel.tensors("patch_text_maps")


def test_maps_are_the_published_ones():
    assert_close(patch_text_maps(ARRAYS["features"], ARRAYS["text"]), ARRAYS["maps"], **TOLERANCE)


def test_maps_reach_zero_and_one_over_all_tokens():
    maps = patch_text_maps(ARRAYS["features"], ARRAYS["text"])
    assert (maps.amin(dim=1) == 0).all()
    assert (maps.amax(dim=1) == 1).all()


def test_class_token_and_backgrounds_are_dropped():
    maps = class_maps(ARRAYS["features"], ARRAYS["text"], 4, (2, 8))
    assert_close(maps, ARRAYS["maps"][:, 1:, :4].mT.unflatten(2, (2, 8)), **TOLERANCE)


def test_equal_tokens_give_finite_maps():
    assert torch.isfinite(patch_text_maps(torch.ones(1, 4, 10), ARRAYS["text"])).all()
    assert not patch_text_maps(torch.zeros(1, 4, 10), ARRAYS["text"]).any()


def test_maps_do_not_depend_on_the_precision_around_them():
    with torch.autocast("cpu", torch.bfloat16):
        maps = patch_text_maps(ARRAYS["features"], ARRAYS["text"])
    assert_close(maps, ARRAYS["maps"], **TOLERANCE)


def test_merged_maps_of_a_mirrored_image_are_mirrored():
    torch.manual_seed(0)
    image, mirrored = torch.rand(2, 3, 4, 5), torch.rand(2, 3, 4, 5)
    merged = merge_mirrored(torch.cat([image, mirrored]))
    assert_close(merge_mirrored(torch.cat([mirrored, image])), merged.flip(-1))
    assert (merged.amin(dim=(2, 3)) == 0).all()
    assert (merged.amax(dim=(2, 3)) > 0.99).all()
