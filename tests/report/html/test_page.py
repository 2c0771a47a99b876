"""The text of the page: what it says of finished, interrupted, failed and odd experiments."""

from __future__ import annotations

import json
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
from hand_made import World, readouts, seed_rows
from page_world import PageWorld

from wsss_bench.artifacts.files import read_json, write_json, write_manifest, write_mask
from wsss_bench.artifacts.pruning import prune_stage
from wsss_bench.plan.config import Protocol, PublishedResult
from wsss_bench.plan.plan import ScoredProduct
from wsss_bench.report.html.page import read_content, render, write_page
from wsss_bench.report.html.protocol import protocol_in_words

ODD = ("<script>alert(1)</script>", "a \"quoted\" & 'cat'")


class Page(HTMLParser):
    """What a browser would see of a page: cells of table rows, links, words, and the data of scripts."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.links, self.rows, self.data, self.words = [], [], [], {}, ""
        self._script = None
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.tags.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th") and self.rows:
            self.rows[-1].append("")
        if tag == "a":
            self.links.append(attributes.get("href"))
        self._script = attributes.get("id", "") if tag == "script" else None

    def handle_endtag(self, tag):
        self._script = None

    def handle_data(self, data):
        if self._script:
            self.data[self._script.removeprefix("data-")] = json.loads(data)
            return
        self.words += data
        if self.rows and self.rows[-1]:
            self.rows[-1][-1] = f"{self.rows[-1][-1]} {data.strip()}".strip()

    def row(self, *start):
        """The first row that begins with these cells."""
        return next(row for row in self.rows if tuple(row[: len(start)]) == start)

    def chart(self, name, *labels):
        """Traces of a figure, by name; and its note."""
        node = {"options": self.data["charts"][name]}
        for label in labels:
            node = next(option for option in node["options"] if option["label"] == label)
        return {trace.get("name") or trace["text"][0]: trace for trace in node["figure"]["data"]}, node[
            "note"
        ]


def rendered(world):
    content = read_content(
        world.plan, world.leaderboard(), world.root / "toy" / "report", lambda config: world.source
    )
    text, files = render(content, "today")
    return Page(text), files


@pytest.fixture
def world(tmp_path):
    world = PageWorld(tmp_path)
    for random_seed in (0, 1):
        world.add_method("cam", 4 + random_seed, random_seed)
    world.add_method("clims", 2)
    return world


def test_the_leaderboard_has_every_score_with_its_rank(world):
    page, _ = rendered(world)
    board = world.leaderboard()
    places = ("seeds", "pseudo masks", "segmentation")  # the table of costs has as many columns
    found = [row for row in page.rows if len(row) == 13 and row[2].startswith(places)]
    assert len(found) == len(board.rows) == 16  # 3 rules, irn, 2 read-outs on 2 splits, of 2 methods
    ranks = {(row[1], row[2], row[5]): row[0] for row in found if row[0] != "–"}
    assert ranks == {
        (method, *place): rank
        for method, rank in (("clims", "1 /2"), ("cam", "2 /2"))
        for place in (
            ("segmentation of val", "ss raw"),
            ("seeds of train", "fixed 0.2"),
            ("pseudo masks of train", "irn"),
        )
    }  # fmt: skip
    cam = next(row for row in found if row[1] == "cam" and row[5] == "ss raw" and "val_ood" not in row[2])
    scores = [run.miou for run in board.rows[4].runs]
    assert (board.rows[4].product, board.rows[4].split) == ("segmentation", "val")
    assert cam[6] == f"{np.mean(scores):.1f} ± {np.std(scores, ddof=1):.1f} (2)"


def test_published_results_have_columns_where_there_are_any(world):
    board = world.leaderboard()
    published = PublishedResult("toy", "val", "segmentation", 50.0, "a paper")
    board.rows[4] = replace(board.rows[4], published=published)
    content = read_content(world.plan, board, world.root / "report", lambda config: world.source)
    page = Page(render(content, "today")[0])
    cam = next(row for row in page.rows if len(row) == 15 and "50.0" in row)
    assert cam[1] == "cam"
    assert cam[11] == f"{board.rows[4].miou_mean - 50:+.1f}"


def test_figures_hold_the_scores(world):
    page, _ = rendered(world)
    board = world.leaderboard()
    cam = next(row for row in board.rows if row.method == "cam" and row.rule == "fixed")
    points, note = page.chart("cost", "seeds of train", "CPU hours")
    assert points["cam"]["y"] == [pytest.approx(cam.miou_mean)]
    assert points["cam"]["x"] == [pytest.approx(31 / 3600)]  # training 30 s, seeds 1 s
    assert note == ""
    curves, _ = page.chart("thresholds", "seeds of train", "cam")
    assert set(curves) == {"random seed 0", "random seed 1"}
    losses, _ = page.chart("training", "train cam-toy", "train/loss")
    assert (losses["random seed 0"]["x"], losses["random seed 0"]["y"]) == ([10, 20], [0.9, 0.4])
    parts, _ = page.chart("activation", "seeds of train", "clims")
    shares = np.array([parts[part]["x"] for part in ("IoU", "over-activation", "under-activation")])
    assert np.allclose(shares.sum(axis=0), 100, atol=0.02)
    assert shares[:, 1].tolist() == pytest.approx([100 * 18 / 22, 100 * 2 / 22, 100 * 2 / 22], abs=0.01)
    sizes, note = page.chart("sizes", "segmentation of val")
    assert sizes["cam"]["x"] == ["all", "small", "medium", "large", "boundary"]
    assert [value is None for value in sizes["cam"]["y"]] == [False, True, True, False, False]
    heat = next(one for one in page.data["classes"] if one["title"] == "seeds of train")
    assert (heat["classes"], heat["methods"]) == (["background", "cat", "dog"], ["cam", "clims"])
    assert heat["values"][1][1] == round(100 * 18 / 22, 1)


def test_behind_the_scores(world):
    stage = world.plan.stages["seed-cam-toy-s0"]
    manifest = {"commit": "abc", "command": "wsss-bench predict --config 'a b'", "versions": {"own": "2.9"}}
    write_manifest(stage.path, {**read_json(stage.path / "stage.json"), **manifest})
    page, _ = rendered(world)
    assert page.row("seed cam-toy-s0") == [
        "seed cam-toy-s0", "complete", "1", "0.1", "abc", "–", "wsss-bench predict --config 'a b'"
    ]  # fmt: skip
    assert "own 2.9" in page.words
    assert "../../stages/train-cam-toy-s0/log.txt" in page.links
    assert "Seeds and pseudo masks are made of the 6 images of train" in page.words
    assert "Nothing: every planned result is there." in page.words


def test_the_protocol_says_what_the_experiment_scores_and_no_more():
    protocol = Protocol("toy", {"train": 6, "val": 4}, "train", ["val"])
    seeds, segmentations = (
        " ".join(protocol_in_words(protocol, None, products)) for products in ({"seed"}, {"segmentation"})
    )
    assert "Seeds and pseudo masks are made of the 6 images" in seeds
    assert "Segmentations" not in seeds
    assert "DenseCRF" not in seeds
    assert "Seeds" not in segmentations
    assert "Segmentations are predicted without image labels on val (4 images)" in segmentations
    assert "bilateral_sxy 67, bilateral_srgb 3" in segmentations  # where the data set says nothing
    own = replace(protocol, crf={"bilateral_sxy": 49})
    assert "bilateral_sxy 49, bilateral_srgb 3" in " ".join(protocol_in_words(own, None, {"segmentation"}))


def test_a_half_done_experiment_says_what_is_missing_and_why(world):
    failed = world.cell("broken")
    seeds = world.stage("seed", failed, {}, state="failed")
    (seeds.path / "log.txt").write_text("the reason\n")
    world.score(failed, "seed", "train", [], seeds, state="new")
    pending = world.cell("pending")
    for random_seed in (0, 1):
        cell = world.cell("pending", random_seed)
        world.score(cell, "seed", "train", [], world.stage("seed", cell, {}, state="new"), state="new")
    world.plan.products.append(ScoredProduct(pending, "pseudo_mask", "train", "crf", None, "no crf"))
    world.plan.products.append(ScoredProduct(pending, "pseudo_mask", "train", "sure", None, "partial"))
    page, _ = rendered(world)
    assert page.row("broken", "0") == [
        "broken", "0", "seeds of train", "failed: seed broken-toy-s0: it ended with status 1 ( log )"
    ]  # fmt: skip
    assert "../../stages/seed-broken-toy-s0/log.txt" in page.links
    assert page.row("pending", "0, 1") == ["pending", "0, 1", "seeds of train", "not run yet"]
    assert page.row("pending", "0") == ["pending", "0", "crf masks of train", "no crf"]
    assert (
        "3 results are\n    missing; 1 stage\n    failed" in page.words
    )  # one is left out by the plan itself
    (train, _) = page.data["pictures"]
    cells = train["images"][0]["cells"][train["methods"].index({"name": "broken", "hasMaps": False})]
    assert cells[0] == {"why": "failed"}


def test_an_experiment_without_any_result_has_a_page(tmp_path):
    world = World(tmp_path)
    cell = world.cell("cam")
    world.score(cell, "seed", "train", [], world.stage("seed", cell, {}, state="new"), state="new")
    page = Page(write_page(world.plan, world.leaderboard(), tmp_path).read_text())
    assert "No result yet." in page.words
    assert "no seeds or masks are scored yet" in page.words
    assert len(page.data["charts"]) == 5
    assert not any(page.data["charts"].values())


def test_scores_without_any_file_of_the_stages_have_a_page(tmp_path):
    """Matrices, seeds, masks, curves and logs are gone; the data set cannot be built."""
    world = World(tmp_path)
    cell = world.cell("cam", remark="re-built")
    world.score(cell, "seed", "train", seed_rows(0.5, 0.5, 0.6, 0.3), world.stage("seed", cell, {}))
    world.score(cell, "segmentation", "val", readouts(0.4), world.stage("predict", cell, {}))
    for stage in world.plan.stages.values():
        stage.config["source"] = {"class_path": "no.such.Source"}
    page = Page(write_page(world.plan, world.leaderboard(), tmp_path).read_text())
    assert page.data["pictures"][0]["images"] == []
    assert page.data["charts"]["activation"] == page.data["charts"]["sizes"] == []
    assert {row[1] for row in page.rows if len(row) == 13 and row[2].startswith("se")} == {"cam re-built"}


def test_cost_on_a_gpu_is_called_so(world):
    stage = world.plan.stages["train-clims-toy-s0"]
    write_manifest(stage.path, {**read_json(stage.path / "stage.json"), "gpu_seconds": 7200.0})
    page, _ = rendered(world)
    points, _ = page.chart("cost", "seeds of train", "GPU or CPU hours")
    assert points["clims"]["x"] == [pytest.approx(2 + 1 / 3600)]
    assert page.row("train clims-toy-s0")[2] == "7200"


def test_pruned_pictures_are_named(world):
    prune_stage(world.plan.stages["seed-cam-toy-s0"].path, "seeds")
    page, _ = rendered(world)
    assert page.data["pictures"][0]["images"][0]["cells"][0][0] == {"why": "pruned"}
    assert page.row("seed cam-toy-s0")[1] == "complete (pruned)"


def test_scores_of_an_earlier_version_have_no_boundary(world):
    path = world.plan.stages["evaluate-cam-toy-s0-segmentation-val"].path / "metrics.json"
    content = read_json(path)
    for row in content["rows"]:
        del row["boundary_iou"]
    write_json(path, content)
    manifest = read_json(path.parent / "stage.json")
    write_manifest(path.parent, {key: value for key, value in manifest.items() if key != "files"})
    page, _ = rendered(world)
    sizes, note = page.chart("sizes", "segmentation of val")
    assert sizes["cam"]["y"][-1] is None
    assert sizes["clims"]["y"][-1] > 0
    assert note.startswith("Scored by an earlier version, without boundaries: cam;")


def test_a_data_set_without_background(tmp_path):
    world = PageWorld(tmp_path, background=False)
    cell = world.cell("zero", pipeline="zero_shot", supervision="none", trains=False, role="floor")
    masks = world.stage("predict", cell, {})
    for image_id in world.source.ids("val"):
        truth = world.source.drawn(image_id, 0)
        write_mask(masks.path / "masks" / "ss-raw", image_id, np.where(truth > 0, truth, np.uint8(1)))
    world.score_files(cell, "segmentation", "val", {"masks": masks})
    page, files = rendered(world)
    row = page.row("–", "zero floor")
    assert row[1:4] == ["zero floor", "segmentation of val", "none"]
    assert row[8:10] == ["–", "–"]
    assert page.data["classes"][0]["classes"] == ["cat", "dog"]
    assert len(files) == 4  # the drawn images of a class are equal


def test_one_method_has_pictures_without_disagreement(tmp_path):
    world = PageWorld(tmp_path, number=30)
    world.add_method("only", 3)
    page, _ = rendered(world)
    assert [image["rule"] for image in page.data["pictures"][0]["images"]] == ["random"] * 8 + ["worst"] * 8


def test_odd_names_are_escaped_everywhere(tmp_path):
    world = PageWorld(tmp_path, ODD, prefix="a/<b>&'\"/")
    name = "x\"<script>alert(2)</script>&'"
    world.add_method(name, 3, remark="<i>new</i>")
    page, files = rendered(world)
    assert page.tags.count("script") == 10  # 7 files and 3 of data
    assert page.row("–")[1] == f"{name} <i>new</i>"
    assert page.data["classes"][0]["classes"] == ["background", *ODD]
    assert page.data["pictures"][0]["images"][0]["id"].startswith("a/<b>&'\"/train/")
    assert all(file.removesuffix(".webp").isalnum() for file in files)
    points, _ = page.chart("cost", "seeds of train", "CPU hours")
    assert list(points) == ["x\"&lt;script&gt;alert(2)&lt;/script&gt;&amp;'"]  # plotly reads HTML


def test_the_page_is_the_same_for_the_same_results_and_keeps_no_old_pictures(world, monkeypatch):
    monkeypatch.setattr("wsss_bench.report.html.page.time.strftime", lambda *_: "today")
    index = write_page(world.plan, world.leaderboard(), world.root)
    text = index.read_text()
    old = index.parent / "pictures" / "00.webp"
    old.write_bytes(b"of another page")
    assert write_page(world.plan, world.leaderboard(), world.root).read_text() == text
    assert not old.exists()
    pictures = {path.name for path in (index.parent / "pictures").iterdir()}
    page = Page(text)
    shown = {
        image[sheet]["file"]
        for gallery in page.data["pictures"]
        for image in gallery["images"]
        for sheet in ("photos", "masks")
    }
    assert pictures == shown
    assert {path.name for path in index.parent.iterdir()} == {
        "index.html", "pictures", "plotly.min.js", "report.css",
        "theme.js", "tips.js", "leaderboard.js", "charts.js", "classes.js", "pictures.js",
    }  # fmt: skip
    assert "http" not in text
