"""The tables and pictures of the docs: what pages show is what was made, and it is made from the results."""

from __future__ import annotations

import sys

import paths
import pytest
from boards import Method
from hand_made import World

sys.path.insert(0, str(paths.ROOT / "docs"))
from figures import pages, results, tables


@pytest.fixture
def found(tmp_path) -> results.Results:
    """CAM, CLIMS and MCIS with two random seeds; CLIMS is the best."""
    world = World(tmp_path)
    for name, miou in (("cam", 0.50), ("clims", 0.60), ("mcis", 0.45)):
        extra = {"extra": ["clip"], "supervision": "image+text"} if name == "clims" else {}
        method = Method(world, name, miou, random_seeds=2, step=0.01, **extra)
        method.seeds().masks("densecrf", 0.02).segmentation("densecrf")
    return results.Results(world.plan, world.leaderboard())


def line(table: list[list[str]], title: str) -> dict[str, str]:
    """The cells of a line by heading."""
    (cells,) = (line for line in table[1:] if line[0] == title)
    return dict(zip(table[0], cells, strict=True))


@pytest.mark.parametrize("page", pages.pages(), ids=lambda page: page.name)
def test_pages_show_the_tables_as_they_were_made(page):
    text = page.read_text()
    assert pages.with_tables(text) == text, f"run `make docs-figures`: {page.name} shows an older table"


def test_every_table_is_shown_on_a_page():
    shown = {name for page in pages.pages() for name in pages.shown_tables(page.read_text())}
    assert shown == {path.stem for path in pages.TABLES.glob("*.md")}


def test_a_page_gets_the_table_that_it_names(tmp_path, monkeypatch):
    monkeypatch.setattr(pages, "TABLES", tmp_path)
    pages.write_table("one", [["method", "val"], ["CAM", "51.0"]])
    text = "before\n<!-- table: one -->\nold\n<!-- end of table -->\nafter\n"
    filled = pages.with_tables(text)
    table = "| method | val |\n|---|---|\n| CAM | 51.0 |\n"
    assert filled == f"before\n<!-- table: one -->\n\n{table}\n<!-- end of table -->\nafter\n"
    assert pages.with_tables(filled) == filled
    with pytest.raises(FileNotFoundError, match=r"two\.md"):
        pages.with_tables(text.replace("one", "two"))


def test_scores_are_means_and_deviations_over_random_seeds(found):
    table = tables.scores([found])
    cam = line(table, "CAM")
    assert cam["seeds"] == "50.5±0.7"
    assert cam["DenseCRF"] == "52.5±0.7"
    assert cam["val"] == "50.5±0.7"
    assert line(table, "ToCo") == dict.fromkeys(table[0], "-") | {"method": "ToCo"}


def test_gains_are_those_of_the_pairs(found):
    table = tables.gains([found])
    clims, mcis = line(table, "CLIMS - CAM"), line(table, "MCIS - CAM")
    assert clims["val"].startswith(("**+10.0** [", "+10.0"))
    assert clims["val by random seed"] == "+10.0, +10.0"
    assert mcis["val by random seed"] == "-5.0, -5.0"
    assert line(table, "CoDe - TCL")["seeds"] == "-"


def test_a_shared_stage_is_paid_for_once(found):
    """CAM's training leads to CLIMS, too."""
    cam, clims = (next(row for row in found.board.rows if row.method == name) for name in ("cam", "clims"))
    before = tables.costs(found)
    object.__setattr__(clims.runs[0], "stages", (*cam.runs[0].stages[:1], *clims.runs[0].stages))
    assert tables.costs(found) == before
    cells = line(before, "CAM")
    assert (cells["seeds"], cells["DenseCRF"], cells["prediction"]) == ("600", "60", "60")
    total = before[-1]
    assert sum(float(row[-1]) for row in before[1:-1]) == pytest.approx(float(total[-1]), abs=2)
    assert total[0].startswith("all ")


def test_the_overview_links_paper_and_file(found):
    shown = {name: results.METHODS[name] for name in ("cam", "clims", "mcis")}
    table = tables.overview([found], shown)
    clims = line(table, "[CLIMS](configs/methods/clims.yaml)")
    assert clims["paper"] == "[Xie 2022](https://arxiv.org/abs/2203.02668)"
    assert clims["learns from"] == "image labels, CLIP"
    assert clims["mini val"] == "60.5±0.7"


def test_all_methods_of_the_docs_have_a_file():
    for name in results.METHODS:
        assert (paths.CONFIGS / "methods" / f"{name}.yaml").is_file()


@pytest.mark.parametrize("complete", [True, False])
def test_nothing_is_made_from_missing_or_old_results(tmp_path, monkeypatch, complete):
    world = World(tmp_path)
    method = Method(world, "cam", 0.5, random_seeds=2, done=2 if complete else 1)
    method.seeds()
    monkeypatch.setattr(results, "make_plan", lambda *_: world.plan)
    if complete:
        assert results.read("toy", tmp_path).board.rows
        board = world.leaderboard()
        monkeypatch.setattr(type(board.rows[0]), "is_stale", True)
        with pytest.raises(ValueError, match=r"scores of cam rest on stages .*--again changed"):
            results.read("toy", tmp_path)
    else:
        with pytest.raises(ValueError, match=r"1 results of toy are missing in .*make bench EXPERIMENT=toy"):
            results.read("toy", tmp_path)
