"""Where the cells of a map are drawn, against the authors' code, at sizes that do not divide by a stride."""

import numpy as np
import paths
import pytest
import torch

from wsss_bench.inference import Predicts, normalize_peaks, seed_score_maps
from wsss_bench.inference_config import InferenceConfig
from wsss_bench.placement import CornerAligned, CroppedGrid, Stretched
from wsss_bench.readout import threshold_mask
from wsss_bench.types import InferenceSample

GOLDEN = paths.GOLDEN / "readout"
SIZES = [(375, 500), (333, 500)]


def arrays(name, size=None):
    stem = name if size is None else f"{name}_{size[0]}x{size[1]}"
    return np.load(GOLDEN / f"{stem}.npz")


def marker(grid, cell):
    maps = torch.zeros(1, 1, *(int(n) for n in grid))
    maps[0, 0, int(cell[0]), int(cell[1])] = 1
    return maps


def peak(drawn):
    return np.unravel_index(int(drawn[0, 0].argmax()), drawn.shape[2:])


def centre(drawn):
    """Centre of mass of a `(1, 1, H, W)` map, (row, column)."""
    weight = drawn[0, 0].double()
    rows, columns = (torch.arange(n, dtype=torch.double) for n in weight.shape)
    return [float(weight.sum(1) @ rows / weight.sum()), float(weight.sum(0) @ columns / weight.sum())]


@pytest.mark.parametrize("size", SIZES)
def test_stretched_is_the_reading_of_deeplab_pytorch(size):
    golden = arrays("deeplab", size)
    drawn = Stretched().draw(torch.tensor(golden["logits"]), size, size)
    np.testing.assert_allclose(drawn[0, :, ::37], golden["logits_up_rows"], rtol=1e-5, atol=1e-6)
    assert np.sum(drawn[0].argmax(0).numpy() != golden["label"]) <= 5
    for k in range(3):
        drawn = Stretched().draw(marker(golden[f"marker{k}_grid"], golden[f"marker{k}_cell"]), size, size)
        np.testing.assert_array_equal(peak(drawn), golden[f"marker{k}_drawn_peak"])
        np.testing.assert_allclose(centre(drawn), golden[f"marker{k}_drawn_centre"], atol=1e-4)


def test_corner_aligned_is_the_interp_layer_of_caffe():
    golden = arrays("caffe_interp")
    size = golden["random_out"].shape[1:]
    drawn = CornerAligned(8).draw(torch.tensor(golden["random_logits"])[None], size, size)
    np.testing.assert_allclose(drawn[0], golden["random_out"], rtol=1e-5, atol=1e-6)
    drawn = CornerAligned(8).draw(marker((51, 51), golden["tile_marker_cell"]), (401, 401), (401, 401))
    np.testing.assert_array_equal(peak(drawn), golden["tile_marker_drawn"])


@pytest.mark.parametrize("size", SIZES)
def test_corner_aligned_covers_images_that_are_no_tiles(size):
    golden, name = arrays("caffe_interp"), f"whole_{size[0]}x{size[1]}"
    drawn = CornerAligned(8).draw(marker(golden[f"{name}_grid"], golden[f"{name}_marker_cell"]), size, size)
    assert drawn.shape[2:] == size
    np.testing.assert_array_equal(peak(drawn), golden[f"{name}_marker_drawn"])
    np.testing.assert_allclose(centre(drawn), golden[f"{name}_marker_drawn"], atol=1e-4)
    last = torch.arange(63.0).expand(1, 1, 48, 63)
    drawn = CornerAligned(8).draw(last, (375, 500), (375, 500))
    assert drawn[0, 0, 0, 496:].tolist() == [62.0] * 4  # Caffe has no value after column 496


class Recorded(Predicts):
    """Replays the outputs of the authors' network at four scales, mirror images already added."""

    device = torch.device("cpu")
    seed_placement = CroppedGrid(16)

    def __init__(self, golden):
        self.outputs = iter([torch.tensor(golden[f"output{k}"])[None] for k in range(4)])

    def seed_maps(self, image, labels, references):
        return next(self.outputs)


@pytest.mark.parametrize("size", SIZES)
def test_seeds_are_those_of_irn(size):
    golden = arrays("irn", size)
    image = np.zeros((*size, 3), np.uint8)
    sample = InferenceSample("a", image, np.ones(2, np.float32))
    maps = seed_score_maps(Recorded(golden), [sample], InferenceConfig(flip=False))[0]
    # stored in half precision: 11 bits
    np.testing.assert_allclose(maps.scores[:, ::37], golden["high_res_rows"], atol=5e-4)
    np.testing.assert_allclose(maps.strided, golden["strided_cam"], atol=5e-4)
    assert np.mean(threshold_mask(maps, 0.15) != golden["label_at_p15"]) < 1e-3
    total = sum(CroppedGrid(16).draw(torch.tensor(golden[f"output{k}"])[None], size, size) for k in range(4))
    np.testing.assert_allclose(
        normalize_peaks(total[0])[:, ::37], golden["high_res_rows"], rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize("size", SIZES)
def test_seeds_of_irn_are_low_and_to_the_right(size):
    golden = arrays("irn", size)
    grid = [n // 16 for n in golden["up_size"]]
    drawn = CroppedGrid(16).draw(marker(grid, golden["marker_cell"]), size, size)
    np.testing.assert_array_equal(peak(drawn), golden["marker_drawn_peak"])
    np.testing.assert_allclose(centre(drawn), golden["marker_drawn_centre"], atol=1e-4)


@pytest.mark.parametrize("size", [(375, 500), (333, 500), (301, 417), (129, 64)])
@pytest.mark.parametrize("stride", [4, 8, 16])
def test_cells_lie_where_the_table_says(size, stride):
    grid = [-(-n // stride) for n in size]
    cell = [n - 3 for n in grid]
    where = {
        Stretched(): [(i + 0.5) * n / c - 0.5 for i, n, c in zip(cell, size, grid, strict=True)],
        CroppedGrid(stride): [stride * i + (stride - 1) / 2 for i in cell],
        CornerAligned(stride): [stride * i for i in cell],
    }
    for placement, expected in where.items():
        drawn = placement.draw(marker(grid, cell), size, size)
        assert drawn.shape == (1, 1, *size)
        np.testing.assert_allclose(centre(drawn), expected, atol=0.06)


@pytest.mark.parametrize("placement", [Stretched(), CroppedGrid(8)])
def test_the_rules_agree_where_the_grid_divides_the_image(placement):
    maps = torch.rand(2, 3, 12, 12)
    assert torch.equal(placement.draw(maps, (96, 96), (96, 96)), Stretched().draw(maps, (96, 96), (96, 96)))


@pytest.mark.parametrize("placement", [Stretched(), CroppedGrid(8), CornerAligned(8)])
@pytest.mark.parametrize("seen", [(94, 125), (188, 250), (563, 750)])
def test_a_view_at_another_scale_comes_back_at_the_size_of_the_image(placement, seen):
    grid = [-(-n // 8) for n in seen]
    drawn = placement.draw(torch.full((1, 2, *grid), 3.0), seen, (375, 500))
    assert drawn.shape == (1, 2, 375, 500)
    torch.testing.assert_close(drawn, torch.full_like(drawn, 3.0))
