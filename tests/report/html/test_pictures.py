"""Thumbnails and their files: the right pixels, small enough, named by their content."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pytest
from page_world import SIZE, PageWorld
from PIL import Image

from wsss_bench.artifacts.files import write_json, write_mask
from wsss_bench.artifacts.palette import voc_palette
from wsss_bench.artifacts.pruning import prune_stage
from wsss_bench.artifacts.seeds import write_seed
from wsss_bench.report.html import pictures
from wsss_bench.report.html.choice import Chosen
from wsss_bench.report.html.errors import KINDS
from wsss_bench.report.html.gallery import galleries_of
from wsss_bench.report.html.sheets import GAP, file_name, sheets_of
from wsss_bench.report.html.thumbnails import Thumbnails, nearest, read_thumbnails
from wsss_bench.types import ScoreMaps


@pytest.fixture
def world(tmp_path):
    world = PageWorld(tmp_path)
    world.add_method("cam", 4)
    world.add_method("other", 6)
    return world


def galleries(world):
    return list(galleries_of(world.plan, world.leaderboard()))


def thumbnails(world, side=256):
    train, _ = galleries(world)
    found, problem = read_thumbnails(train, world.source, side)
    assert problem == ""
    return found


def test_what_is_shown_of_each_split(world):
    train, val = galleries(world)
    assert (train.title, val.title) == ("train: seeds and pseudo masks", "val: segmentation")
    assert (train.methods, train.columns) == (["cam", "other"], ["seed", "irn"])
    assert val.columns == ["segmentation"]
    assert {one.image_id for one in train.chosen} == set(world.source.ids("train"))


def test_masks_maps_and_scores_are_those_of_the_image(world):
    for image in thumbnails(world):
        name = image.chosen.image_id
        assert np.array_equal(image.masks["cam", "seed"], world.source.drawn(name, 4))
        assert np.array_equal(image.masks["other", "irn"], world.source.drawn(name, 4))  # 6, refined by 2
        assert np.array_equal(image.maps["cam"] > 127, world.source.drawn(name, 4) > 0)
        assert image.shown_class == world.source.mask(name).max()
    # 20 of 20 columns shifted by 4: 16 / 24, and the same error on the background
    shown, _ = rendered(world)
    image = shown[0]["images"][0]
    background = (SIZE[0] * SIZE[1] - 480) / (SIZE[0] * SIZE[1] - 320)
    assert image["cells"][0][0]["miou"] == round(50 * (16 / 24 + background), 1)
    assert shown[0]["methods"][0] == {"name": "cam", "hasMaps": True}
    assert image["shownClass"] == ("cat", "dog")[int(image["id"][-1]) % 2]


def rendered(world):
    found = galleries(world)
    return pictures.render_pictures(found, *pictures.read_pictures(found, lambda config: world.source))


def test_a_sheet_holds_the_pixels_at_the_places_that_the_page_names(world):
    shown, files = rendered(world)
    assert all(name == file_name(content) for name, content in files.items())
    image = shown[0]["images"][0]
    sheet = image["masks"]
    decoded = np.asarray(Image.open(io.BytesIO(files[sheet["file"]])).convert("RGB"))
    height, width = SIZE
    assert decoded.shape[:2] == (
        sheet["rows"] * (height + GAP) - GAP, sheet["columns"] * (width + GAP) - GAP
    )  # fmt: skip

    def picture(position):
        top = position // sheet["columns"] * (height + GAP)
        left = position % sheet["columns"] * (width + GAP)
        return decoded[top : top + height, left : left + width]

    colours = np.frombuffer(voc_palette(), np.uint8).reshape(256, 3)
    assert np.array_equal(picture(0), colours[world.source.mask(image["id"])])
    rim = decoded[height : height + GAP, 0], picture(0)[-1, 0], picture(sheet["columns"])[0, 0]
    assert np.array_equal(rim[0], rim[1:])  # the gap repeats the rims of both pictures
    seed = image["cells"][0][0]
    assert np.array_equal(picture(seed["mask"]), colours[world.source.drawn(image["id"], 4)])
    errors = {
        "#" + bytes(colour).hex() for colour in np.unique(picture(seed["errors"]).reshape(-1, 3), axis=0)
    }
    assert errors == {kind.colour for kind in KINDS if kind.name not in ("wrong class", "not counted")}


def test_no_picture_is_larger_than_its_limit_nor_than_the_image(world):
    assert {image.size for image in thumbnails(world, side=24)} == {(18, 24)}
    assert {image.size for image in thumbnails(world)} == {SIZE}


def test_a_small_mask_is_the_mask_of_small_scores(world):
    """Seeds are made small before the threshold; smaller maps are enlarged before it, as for a score."""
    train, _ = galleries(world)
    stage = train.results["cam", "seed"].stage
    name = train.chosen[0].image_id
    scores = np.random.default_rng(0).uniform(0, 1, (1, *SIZE)).astype(np.float16)
    write_seed(stage / "seeds", ScoreMaps(name, np.array([2]), scores, SIZE))
    (image,) = (one for one in thumbnails(world, side=24) if one.chosen.image_id == name)
    assert np.array_equal(image.masks["cam", "seed"], nearest(2 * (scores[0] > 0.2), (18, 24)))
    write_seed(stage / "seeds", ScoreMaps(name, np.array([2]), scores[:, :9, :12], SIZE))
    (image,) = (one for one in thumbnails(world) if one.chosen.image_id == name)
    assert image.masks["cam", "seed"].shape == SIZE
    assert set(np.unique(image.masks["cam", "seed"])) == {0, 2}


def test_masks_that_are_pruned_damaged_or_of_other_data_are_named(world):
    train, _ = galleries(world)
    name = train.chosen[0].image_id
    prune_stage(train.results["cam", "seed"].stage, "seeds")
    (train.results["cam", "irn"].stage / "masks" / f"{name}.png").write_bytes(b"no picture")
    write_mask(train.results["other", "irn"].stage / "masks", name, np.zeros((7, 7), np.uint8))
    found = thumbnails(world)
    assert {image.missing["cam", "seed"] for image in found} == {"pruned"}
    assert found[0].missing["cam", "irn"] == found[0].missing["other", "irn"] == "file missing or damaged"
    assert [("cam", "irn") in image.masks for image in found] == [False] + [True] * 5
    shown, _ = rendered(world)
    assert shown[0]["images"][0]["cells"] == [
        [{"why": "pruned"}, {"why": "file missing or damaged"}],
        [{"mask": 1, "errors": 2, "miou": 68.6}, {"why": "file missing or damaged"}],
    ]


def test_images_that_cannot_be_read_are_left_out_with_the_reason(world):
    world.source.readable = False
    shown, files = rendered(world)
    assert [gallery["images"] for gallery in shown] == [[], []]
    assert shown[0]["problem"].startswith("FileNotFoundError: image train/00")
    assert files == {}


def test_a_source_that_cannot_be_built_costs_its_pictures_only(world):
    def load(config):
        raise RuntimeError("bug of an own source")

    found = galleries(world)
    shown, files = pictures.render_pictures(found, *pictures.read_pictures(found, load))
    assert (shown[0]["images"], shown[0]["problem"], files) == ([], "RuntimeError: bug of an own source", {})


def test_pictures_are_made_smaller_until_they_fit(world, monkeypatch):
    _, files = rendered(world)
    size = sum(map(len, files.values()))
    monkeypatch.setattr(pictures, "BYTES", 0.9 * size)
    shown, files = rendered(world)
    assert sum(map(len, files.values())) <= 0.9 * size
    assert {image["width"] for image in shown[0]["images"]} <= {36, 27, 20}
    monkeypatch.setattr(pictures, "BYTES", 1)
    rendered(world)  # ends, as small as it gets


def test_many_pictures_have_shorter_sides(world):
    (train, _) = galleries(world)
    many = replace(train, results={("m", str(k)): None for k in range(200)}, chosen=train.chosen * 4)
    assert pictures._side([train]) == 256
    assert pictures._side([many]) == 83  # 100 million pixels for 24 images x 602 pictures
    assert pictures._side([many] * 100) == 48


def test_masks_that_a_segmenter_was_trained_on_are_shown_without_a_score(world):
    """Those with undecided pixels are no prediction, so that they have no score."""
    cell = world.cell("cam", 0)
    masks = world.stage("refine", cell, {}, "-confident")
    world.write_masks(masks.path / "masks", "train", 1)
    segmenter = world.stage("segment", cell, {"masks": masks}, "-confident")
    world.plan.products = [one for one in world.plan.products if one.kind != "segmentation"]
    world.add_segmentation(cell, 0, {"checkpoint": segmenter})
    products = [
        replace(p, refiner="confident") if p.kind == "segmentation" else p for p in world.plan.products
    ]
    partial = replace(products[0], kind="pseudo_mask", refiner="confident", evaluate=None, missing="partial")
    world.plan.products = [*products, partial]
    train, _ = galleries(world)
    assert train.columns == ["seed", "irn", "confident"]
    assert train.results["cam", "confident"].stage == masks.path
    assert train.missing["cam", "confident"] == "has undecided pixels"
    image = thumbnails(world)[0]
    assert np.array_equal(image.masks["cam", "confident"], world.source.drawn(image.chosen.image_id, 1))


def test_sheets_of_many_large_pictures_stay_within_the_format():
    planes = {("m", str(k)): np.zeros((256, 256), np.uint8) for k in range(150)}
    image = Thumbnails(
        Chosen("a", "random", ""), np.zeros((256, 256, 3), np.uint8), planes["m", "0"], (256, 256), None
    )
    image.masks = planes
    sheet = sheets_of(image).masks
    assert len(sheet.pictures) == 301
    with Image.open(io.BytesIO(sheet.encode())) as decoded:
        assert max(decoded.size) <= 16383


def test_an_unreadable_json_of_pruning_is_no_pruning(world):
    train, _ = galleries(world)
    write_json(train.results["cam", "irn"].stage / "pruned.json", [])
    assert all(("cam", "irn") in image.masks for image in thumbnails(world))
