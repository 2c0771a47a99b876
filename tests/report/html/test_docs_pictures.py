"""The pictures of the docs show the files of the runs."""

from __future__ import annotations

import sys

import numpy as np
import paths
import pytest
from page_world import SIZE, PageWorld
from PIL import Image

sys.path.insert(0, str(paths.ROOT / "docs"))
from figures import costs, maps, placement, results, screenshot, world


@pytest.fixture
def found(tmp_path) -> results.Results:
    world = PageWorld(tmp_path / "runs", number=6)
    for shift, name in enumerate(maps.COMPARED):
        world.add_method(name, 3 * shift)
    world.add_method("other", 9)
    return results.Results(world.plan, world.leaderboard())


def test_four_images_of_each_method_with_map_truth_and_mask(found, tmp_path):
    assert maps.method_pictures([found, found], tmp_path) == [*maps.COMPARED, "other"]
    height, width = SIZE[0] + maps.GAP, SIZE[1] + maps.GAP
    pictures = {path.stem: np.asarray(Image.open(path)).astype(int) for path in tmp_path.glob("*.webp")}
    assert {picture.shape for picture in pictures.values()} == {(2 * height, 8 * width, 3)}

    def tile(name: str, row: int, column: int) -> np.ndarray:
        return pictures[name][row * height :, column * width :][: SIZE[0], : SIZE[1]]

    for number in range(maps.IMAGES):
        truth = tile("cam", 1, 2 * number)
        assert truth.max() > 100
        # lossy: equal but for the coding
        assert abs(truth - tile("cam", 1, 2 * number + 1)).mean() < 3  # CAM's masks are not shifted
        assert abs(truth - tile("other", 1, 2 * number + 1)).mean() > 6
        assert abs(tile("cam", 0, 2 * number) - tile("other", 0, 2 * number)).mean() < 3  # the same image
        assert abs(tile("cam", 0, 2 * number + 1) - tile("other", 0, 2 * number + 1)).mean() > 6


def test_five_methods_side_by_side(found, tmp_path):
    maps.comparison(found, tmp_path / "comparison.webp")
    picture = np.asarray(Image.open(tmp_path / "comparison.webp")).astype(int)
    assert picture.shape[1] > 2 * picture.shape[0]
    coloured = (picture.max(axis=2) - picture.min(axis=2) > 60).any(axis=0)
    assert coloured[: len(coloured) // 4].any()  # the truth
    assert coloured[-len(coloured) // 8 :].any()  # the last method


def test_an_image_that_cannot_be_read_is_an_error(tmp_path):
    world = PageWorld(tmp_path / "runs", number=6)
    world.add_method("cam", 1)
    found = results.Results(world.plan, world.leaderboard())
    for stage in world.plan.stages.values():
        stage.config.setdefault("source", world.config)["init_args"]["readable"] = False
    with pytest.raises(ValueError, match="an image cannot be read: FileNotFoundError"):
        maps.method_pictures([found], tmp_path / "pictures")


def test_the_page_is_left_as_it_is_where_nothing_can_open_it(found, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "playwright.sync_api", None)
    file = tmp_path / "report.webp"
    file.write_bytes(b"old")
    assert screenshot.screenshot(found, file) == "playwright is not installed"
    assert file.read_bytes() == b"old"


def test_rules_of_placement_are_drawn_alike_each_time(tmp_path):
    for name in ("one.png", "two.png"):
        placement.placement(tmp_path / name)
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()
    picture = np.asarray(Image.open(tmp_path / "one.png").convert("RGB")).astype(int)
    lines = (picture[..., 0] > 150) & (
        picture[..., 1] < 80
    )  # the cell that is drawn, in each of three panels
    assert lines.any(axis=1).mean() > 0.4
    assert lines.any(axis=0).sum() < 10


def test_sizes_are_those_of_the_files(tmp_path):
    (tmp_path / "deep").mkdir()
    (tmp_path / "a").write_bytes(bytes(1_400_000))
    (tmp_path / "deep" / "b").write_bytes(bytes(1_200_000))
    assert world.size_of(tmp_path) == "3 MB"


def test_costs_that_were_not_measured_are_an_error(found):
    with pytest.raises(ValueError, match=r"no costs of .* were measured: run benchmarks/costs/measure\.py"):
        costs.totals(found)


@pytest.mark.slow
def test_a_picture_of_the_page_has_the_same_bytes_each_time(found, tmp_path):
    files = [tmp_path / "one.webp", tmp_path / "two.webp"]
    problems = {screenshot.screenshot(found, file) for file in files}
    if problems != {""}:
        pytest.skip(str(problems))
    assert files[0].read_bytes() == files[1].read_bytes()
    picture = np.asarray(Image.open(files[0])).astype(int)
    assert picture.shape[1] == screenshot.WIDTH
    assert picture.shape[0] > 600
    coloured = (picture.max(axis=2) - picture.min(axis=2) > 60).any(axis=1)
    assert coloured[len(coloured) // 2 :].sum() > 100  # pictures of the methods
