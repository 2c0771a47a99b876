import numpy as np
import paths
import pytest
import torch
from PIL import Image

from wsss_bench.methods.mcis.localization import fuse_maps, mean_reference_maps, resize_to_square
from wsss_bench.types import Reference

GOLDEN = paths.GOLDEN / "mcis"


@pytest.mark.parametrize("case", ["case0", "case1", "case2"])
def test_fusion_of_five_maps(case):
    """case1 leaves out a map, case2 the first map too if it were not always used; the divisor stays 5."""
    with np.load(GOLDEN / "aggregate.npz", allow_pickle=False) as arrays:
        maps, expected = torch.from_numpy(arrays[f"{case}/maps"]), arrays[f"{case}/out"].astype(int)
    fused = (fuse_maps(maps[:, None, None])[0, 0] * 255).numpy().astype(np.uint8)
    assert np.abs(fused - expected).max() <= 1


def test_each_class_uses_only_the_references_drawn_for_it():
    with np.load(GOLDEN / "aggregate.npz", allow_pickle=False) as arrays:
        reference_maps, expected = (torch.from_numpy(arrays[f"merge/{name}"]) for name in ("in", "out"))
        classes = np.flatnonzero(arrays["merge/label"][0])
    references = [
        Reference(f"{k}", np.zeros((4, 4, 3), np.uint8), np.zeros(20, np.float32), int(c))
        for k, c in enumerate(classes)
    ]
    features = {reference.image_id: torch.zeros(1, 2, 2) for reference in references}
    maps = mean_reference_maps(lambda _: reference_maps.transpose(0, 1), features, references)
    torch.testing.assert_close(maps[:, classes], expected[:, classes])


def test_resizing_a_tensor_to_a_square_equals_pil_up_to_rounding():
    pixels = np.random.default_rng(0).integers(0, 256, (40, 70, 3), dtype=np.uint8)
    expected = np.asarray(Image.fromarray(pixels).resize((32, 32), Image.Resampling.BILINEAR)).astype(int)
    image = torch.from_numpy(pixels.transpose(2, 0, 1)).float()[None]
    found = resize_to_square(image, 32)[0].permute(1, 2, 0).round()
    assert np.abs(found.numpy() - expected).max() <= 1
