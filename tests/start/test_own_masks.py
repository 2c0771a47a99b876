"""Follows docs/start/own_masks.md."""

import tarfile

import paths
import pytest
from followed_page import follow, small_checkout
from page_blocks import read_page

pytestmark = pytest.mark.slow


def test_masks_of_another_code_base_are_scored(tmp_path, mini_data):
    page = read_page(paths.ROOT / "docs/start/own_masks.md")
    assert 150 <= page.words <= 350
    checkout = small_checkout(tmp_path / "clone", mini_data)
    follow(page, checkout)
    with tarfile.open(checkout / "ours.tar.gz") as archive:
        assert sum(name.endswith(".png") for name in archive.getnames()) == 16
