"""Follows docs/start/own_images.md, with pictures of the mini world in the place of photographs."""

import csv
import io

import numpy as np
import paths
import pytest
from followed_page import follow, small_checkout
from page_blocks import File, read_page
from PIL import Image

from wsss_bench.data.sources.voc import VOC

pytestmark = pytest.mark.slow

PORTRAIT, LANDSCAPE = (375, 500), (500, 375)


def draw_photos(table, folder, source):
    """An image with the classes of each row, of two sizes."""
    folder.mkdir()
    classes = np.array(source.class_names)
    shown = {tuple(classes[source.labels(name) > 0]): name for name in source.ids("train")}
    for row in csv.DictReader(io.StringIO(table)):
        image = Image.fromarray(source.image(shown[tuple(row["classes"].split(";"))]))
        image.resize(PORTRAIT if "sheep" in row["classes"] else LANDSCAPE).save(folder / row["image"])


def test_images_of_ones_own_are_segmented(tmp_path, mini_data):
    page = read_page(paths.ROOT / "docs/start/own_images.md")
    assert 150 <= page.words <= 350
    checkout = small_checkout(tmp_path / "clone", mini_data)
    table = next(step.text for step in page.steps if isinstance(step, File) and step.name == "labels.csv")
    draw_photos(table, checkout / "photos", VOC(mini_data / "mini/voc", vocabulary="mini"))
    follow(page, checkout)
    with Image.open(checkout / "found/barn.png") as mask:
        assert 1 in np.unique(mask)  # the lamb
        assert mask.size == PORTRAIT
    for file in (checkout / "farm_masks").glob("*.png"):
        with Image.open(file) as mask:
            assert mask.size in (PORTRAIT, LANDSCAPE)
            assert np.asarray(mask).any()
