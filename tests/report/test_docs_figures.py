"""The tables and pictures of the docs: what pages show is what was made, and it is made from the results."""

from __future__ import annotations

import json
import sys
from datetime import datetime

import paths
import pytest
from boards import Method
from hand_made import World

sys.path.insert(0, str(paths.ROOT / "docs"))
from figures import pages, performance, printed, results, tables, values
from figures.facts import facts


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


@pytest.mark.slow  # plans the experiments that facts are about, and imports what has the settings
@pytest.mark.parametrize("page", pages.pages(), ids=lambda page: page.name)
def test_pages_show_what_was_made(page):
    """Tables, values of the results, values that code and configurations have now, and printed lines."""
    text = page.read_text()
    known = facts() | pages.read_shown(pages.RESULTS)
    made = pages.filled(text, known, pages.read_shown(pages.PRINTED))
    assert made == text, f"run `make docs-figures`: {page.name} shows something older"


def test_what_is_kept_for_the_pages_is_shown():
    assert pages.read_shown(pages.RESULTS).keys() <= pages.shown_values()
    assert pages.read_shown(pages.PRINTED).keys() == pages.shown_output()


def test_the_table_of_performance_is_that_of_the_records():
    lines = ["| " + " | ".join(line) + " |" for line in performance.performance()]
    head, _, *rows = (pages.TABLES / "performance.md").read_text().splitlines()
    assert [head, *rows] == lines, "run `make docs-figures`"


def test_every_record_names_a_benchmark_and_when_it_ran():
    records = json.loads(performance.RECORDS.read_text())
    for name, record in records.items():
        _, script, *_ = record["command"].split()
        assert script == f"benchmarks/{name}"
        assert datetime.strptime(record["finished"], "%Y-%m-%dT%H:%M:%SZ")
        assert all(record[key] for key in ("commit", "machine", "results"))
        assert "recorded(__file__)" in (pages.ROOT / script).read_text(), f"{script} keeps nothing any more"


def test_every_picture_is_shown_on_a_page():
    images = pages.ROOT / "docs" / "images"
    shown = " ".join(page.read_text() for page in pages.pages())
    pictures = [path.relative_to(images.parent).as_posix() for path in images.rglob("*.*")]
    absent = [path for path in pictures if path not in shown]
    assert not absent, f"no page shows {absent}"


def test_every_table_is_shown_on_a_page():
    shown = {name for page in pages.pages() for name in pages.shown_tables(page.read_text())}
    assert shown == {path.stem for path in pages.TABLES.glob("*.md")}


def test_a_page_gets_the_table_that_it_names(tmp_path, monkeypatch):
    monkeypatch.setattr(pages, "TABLES", tmp_path)
    pages.write_table("one", [["method", "val"], ["CAM", "51.0"]])
    text = "before\n<!-- table: one -->\nold\n<!-- end of table -->\nafter\n"
    filled = pages.filled(text, {}, {})
    table = "| method | val |\n|---|---|\n| CAM | 51.0 |\n"
    assert filled == f"before\n<!-- table: one -->\n\n{table}\n<!-- end of table -->\nafter\n"
    assert pages.filled(filled, {}, {}) == filled
    with pytest.raises(FileNotFoundError, match=r"two\.md"):
        pages.filled(text.replace("one", "two"), {}, {})


def test_a_page_gets_the_values_that_it_names(tmp_path, monkeypatch):
    text = "mIoU <!--=a.val-->1.0<!--/--> and <!--=b-a.val-->-2<!--/-->, 3.0\n"
    filled = pages.filled(text, {"a.val": "51.2", "b-a.val": "+3.4"}, {})
    assert filled == "mIoU <!--=a.val-->51.2<!--/--> and <!--=b-a.val-->+3.4<!--/-->, 3.0\n"
    stage = 'load("runs/stages/train-cam-mini-s0-03f9c110")'
    assert pages.filled(stage, {"train-cam-mini-s0": "1234abcd"}, {}) == stage.replace("03f9c110", "1234abcd")
    with pytest.raises(KeyError, match=r"b-a\.val"):
        pages.filled(text, {"a.val": "51.2"}, {})
    monkeypatch.setattr(pages, "TABLES", tmp_path)
    pages.write_shown("x.json", {"a": "1", "b": "2"}, {"b"})
    assert pages.read_shown("x.json") == {"b": "2"}
    with pytest.raises(ValueError, match=r"pages show cam\.vall; known and alike are cam\.val"):
        pages.write_shown("x.json", {"cam.val": "1"}, {"cam.vall"})


PRINTED = """plan of toy in runs/stages:
3 stages: 1 complete, 2 to run, ...
Seeds: which?

  #  method  mIoU  to best
  1  clims   60.5     best
  2  cam     50.5    -10.0
Segmentation: which?
  #  method  mIoU
  1  cam     52.0
page: runs/toy/report/index.html
"""


@pytest.mark.parametrize("fence", ["", "```console\n"])
def test_lines_are_those_that_are_printed_in_the_shown_table(fence):
    indent = "" if fence else "    "
    shown = f"""{indent}3 stages: 0 complete, 3 to run, ...
{indent}Seeds: which?
{indent}  2  cam     48.1  -1.0
{indent}  1  clims   40.0  best
{indent}...
{indent}Segmentation: which?
{indent}  1  cam  1.0
"""
    end = "```\n" if fence else "\nend\n"
    text = f"<!-- printed: toy -->\n\n{fence}{shown}{end}"
    assert pages.filled(text, {}, {"toy": PRINTED}) == (
        f"<!-- printed: toy -->\n\n{fence}{indent}3 stages: 1 complete, 2 to run, ...\n"
        f"{indent}Seeds: which?\n"
        f"{indent}  1  clims   60.5     best\n{indent}  2  cam     50.5    -10.0\n{indent}...\n"
        f"{indent}Segmentation: which?\n{indent}  1  cam     52.0\n{end}"
    )
    with pytest.raises(ValueError, match=r"not printed: '1  mcis  1\.0'"):
        pages.filled(text.replace("  1  cam  1.0", "  1  mcis  1.0"), {}, {"toy": PRINTED})


def test_what_a_bench_prints_starts_with_its_stages(found):
    output = printed.output_of(found, [*found.plan.stages][:2]).splitlines()
    count = len(found.plan.stages)
    assert output[:2] == [
        "plan of toy in runs/stages:",
        f"{count} stages: 2 complete, {count - 2} to run, ...",
    ]
    assert output[-1] == "page: runs/toy/report/index.html"
    assert any("which method localises best?" in line for line in output)


def test_values_are_those_of_rows_and_of_their_differences(found):
    shown = values.values_of([found])
    assert (shown["cam.seeds"], shown["cam.seeds.std"]) == ("50.5", "0.7")
    assert (shown["clims-cam.val"], shown["cam-clims.val"]) == ("+10.0", "-10.0")
    row = next(row for row in found.board.rows if row.method == "cam" and row.product == "seed")
    rate = row.mean(lambda run: run.false_positive_background)
    assert shown["cam.seeds.fp"] == f"{rate:.1f}"
    assert "toco.val" not in shown


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
