"""Follows docs/start/student.md."""

import csv

import paths
import pytest
from followed_page import follow, small_checkout
from page_blocks import read_page

pytestmark = pytest.mark.slow


def test_a_student_gets_the_table(tmp_path, mini_data):
    page = read_page(paths.ROOT / "docs/start/student.md")
    assert 150 <= page.words <= 350
    checkout = small_checkout(tmp_path / "clone", mini_data)
    follow(page, checkout)
    with open(checkout / "scores.csv", newline="") as file:
        rows = {row["method"]: row for row in csv.DictReader(file) if row["product"] == "seed"}
    assert {name: row["n_runs"] for name, row in rows.items()} == {"cam": "3", "clip_es": "1"}
