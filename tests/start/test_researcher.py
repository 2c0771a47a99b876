"""Follows docs/start/researcher.md."""

import paths
import pytest
from followed_page import follow, small_checkout
from page_blocks import read_page

pytestmark = pytest.mark.slow


def test_a_researcher_adds_a_method(tmp_path, mini_data):
    page = read_page(paths.ROOT / "docs/start/researcher.md")
    assert 150 <= page.words <= 350
    checkout = small_checkout(tmp_path / "clone", mini_data)
    follow(page, checkout)
    curves = next(checkout.glob("runs/stages/train-small_maps-*/")).rglob("*.csv")
    assert any("train/size" in file.read_text() for file in curves)
