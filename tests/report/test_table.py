"""The leaderboard from hand-made stage folders; the expected numbers were computed by hand."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hand_made import World, readouts, scored, seed_rows

from wsss_bench.artifacts.files import write_manifest
from wsss_bench.artifacts.source_code import SourceCode
from wsss_bench.artifacts.stage_files import record_files
from wsss_bench.metrics.per_image import ConfusionWriter
from wsss_bench.plan.plan import ScoredProduct, Stage
from wsss_bench.report.command import publish
from wsss_bench.report.data_files import COLUMNS, as_records, json_content
from wsss_bench.report.differences import differences
from wsss_bench.report.markdown.page import render
from wsss_bench.report.tables.build import summarize_board
from wsss_bench.report.tables.text import page


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def add_cam(world: World, random_seed: int, fixed: float, **facts: object) -> None:
    paper = [{"dataset": "toy", "split": "train", "product": "seed", "miou": 48.3, "rule": "fixed"}]
    paper[0]["source"] = "IRN"
    cell = world.cell("cam", random_seed, paper=paper)
    train = world.stage("train", cell, {}, cpu_seconds=10.0, params=1_500_000, peak_memory_mb=300.0)
    seeds = world.stage("seed", cell, {"checkpoint": train}, cpu_seconds=4.0, peak_memory_mb=200.0)
    world.score(cell, "seed", "train", seed_rows(fixed, 0.5, 0.6, 0.3 + 0.1 * random_seed), seeds, **facts)


def test_mean_deviation_and_gap(world):
    add_cam(world, 0, 0.50)
    add_cam(world, 1, 0.52)
    add_cam(world, 2, 0.54)
    fixed, heldout, oracle = as_records(world.leaderboard())
    assert tuple(fixed) == COLUMNS
    assert fixed == {
        "method": "cam",
        "dataset": "toy",
        "split": "train",
        "product": "seed",
        "protocol": "toy-train/n10/labels-given/ss/raw/thr-fixed-0.20/last",
        "miou_mean": 52.0,
        "miou_std": 2.0,  # sqrt((2^2 + 0 + 2^2) / 2)
        "n_runs": 3,
        "n_images": 10,
        "supervision": "image",
        "backbone": "R50",
        "extra": "",
        "params": 1_500_000,
        "seconds": 14.0,  # train 10 + seed 4; scoring is not counted
        "peak_memory_mb": 300.0,
        "paper_miou": 48.3,
        "gap": 3.7,
        "commit": "abc",
    }
    # thresholds chosen on data differ between runs and share a row; only the headline has a published result
    assert heldout["protocol"] == "toy-train/n8/labels-given/ss/raw/thr-heldout/last"
    assert (heldout["n_runs"], heldout["n_images"], heldout["paper_miou"], heldout["gap"]) == (
        3,
        8,
        None,
        None,
    )
    assert oracle["protocol"].endswith("thr-oracle/last")


def test_a_published_result_is_compared_with_its_own_readout(world):
    paper = [
        {
            "dataset": "toy",
            "split": "val",
            "product": "segmentation",
            "miou": 70.0,
            "source": "Y",
            "readout": "ms-crf",
        }
    ]
    cell = world.cell("dal", pipeline="single_stage", paper=paper)
    predict = world.stage("predict", cell, {}, gpu_seconds=7.0)
    world.score(cell, "segmentation", "val", readouts(0.6), predict)
    records = as_records(world.leaderboard())
    assert [record["paper_miou"] for record in records] == [None, None, None, 70.0]
    assert records[3]["gap"] == pytest.approx(-8.0)
    assert records[0]["seconds"] == 7.0  # GPU seconds where there are some


def test_a_published_result_that_was_measured_otherwise_has_no_gap(world):
    """Each differs from our scores in one thing: read-out, segmenter, or what is known of it."""
    place = {"dataset": "toy", "split": "val", "product": "segmentation", "source": "Y"}
    seed = {**place, "split": "train", "product": "seed"}
    paper = [
        {**place, "miou": 61.0, "readout": "tiles"},
        {**place, "miou": 62.0, "readout": "ss-crf", "segmenter": "net", "refiner": "irn"},
        {**place, "miou": 63.0},
        {**seed, "miou": 64.0},
    ]
    cell = world.cell("dal", pipeline="single_stage", paper=paper)
    world.score(cell, "seed", "train", seed_rows(0.5, 0.5, 0.6, 0.3), world.stage("seed", cell, {}))
    world.score(cell, "segmentation", "val", readouts(0.6), world.stage("predict", cell, {}))
    board = world.leaderboard()
    assert {record["paper_miou"] for record in as_records(board)} == {None}
    page = render(world.plan, board, [])
    listed = [line for line in page.splitlines() if line.rstrip(" |").endswith(" Y")]
    values = [[cell.strip() for cell in line.strip("| ").split("|")] for line in listed]
    assert [value[3:7] for value in values] == [
        ["tiles", "-", "61.0", "-"],
        ["irn, net, ss-crf", "-", "62.0", "-"],
        ["not made here", "-", "63.0", "-"],
        ["not made here", "-", "64.0", "-"],
    ]


def test_published_readouts_are_rows_and_a_column_of_their_own(world):
    place = {"dataset": "toy", "split": "val", "product": "segmentation", "source": "Y"}
    paper = [{**place, "readout": "log", "miou": 69.2}, {**place, "readout": "tiles", "miou": 71.1}]
    cell = world.cell("dal", pipeline="single_stage", paper=paper)
    own = [scored(m, scales="own", post=post, headline=False) for post, m in (("log", 0.65), ("tiles", 0.7))]
    world.score(cell, "segmentation", "val", [*readouts(0.6), *own], world.stage("predict", cell, {}))
    board = world.leaderboard()
    records = as_records(board)
    assert [record["paper_miou"] for record in records] == [None] * 4 + [69.2, 71.1]
    assert records[4]["protocol"] == "toy-val/n3/labels-none/own/log/thr-na/last"
    assert [record["gap"] for record in records[4:]] == [pytest.approx(-4.2), pytest.approx(-1.1)]
    page = render(world.plan, board, [])
    line = next(line for line in page.splitlines() if line.startswith("| 1 "))
    assert "| 65.0 (1) / 70.0 (1) |" in line
    assert "not between methods" in page
    assert "-4.2" not in line  # the gap belongs to the published read-out, not to the score that ranks


def test_a_variant_has_no_published_result(world):
    paper = [{"dataset": "toy", "split": "val", "product": "segmentation", "miou": 70.0, "source": "Y"}]
    cell = world.cell("dal_small", method="dal", pipeline="single_stage", paper=paper)
    world.score(cell, "segmentation", "val", readouts(0.6), world.stage("predict", cell, {}))
    assert {record["paper_miou"] for record in as_records(world.leaderboard())} == {None}


def add_clims(world: World, warm: Stage) -> None:
    """A multi-stage method with all steps: seeds, IRN masks, and a segmenter with extra data."""
    paper = [
        {
            "dataset": "toy",
            "split": "train",
            "product": "pseudo_mask",
            "miou": 70.5,
            "source": "Z",
            "refiner": "irn",
        },
        {
            "dataset": "toy",
            "split": "val",
            "product": "segmentation",
            "miou": 69.0,
            "source": "Z",
            "refiner": "irn",
            "segmenter": "net",
            "readout": "ss-crf",
        },
    ]
    cell = world.cell("clims", warm_start="cam", extra=["clip"], paper=paper)
    train = world.stage("train", cell, {"warm_start": warm}, cpu_seconds=20.0)
    seeds = world.stage("seed", cell, {"checkpoint": train}, cpu_seconds=4.0)
    world.score(cell, "seed", "train", seed_rows(0.58, 0.5, 0.6, 0.3), seeds)
    labels = world.stage("refine", cell, {"seeds": seeds}, "-irn-labels", cpu_seconds=3.0)
    network = world.stage("affinity", cell, {"masks": labels}, "-irn", cpu_seconds=5.0)
    masks = world.stage("refine", cell, {"seeds": seeds, "network": network}, "-irn", cpu_seconds=2.0)
    refined = scored(0.7, post="irn", split="toy-train", n_images=10)
    world.score(cell, "pseudo_mask", "train", [refined], masks)
    segmenter = world.stage("segment", cell, {"masks": masks}, "-irn-net", cpu_seconds=100.0)
    predicted = world.stage("predict", cell, {"checkpoint": segmenter}, "-irn-net", cpu_seconds=7.0)
    with_crf = world.stage("crf", cell, {"probabilities": predicted}, "-irn-net", cpu_seconds=11.0)
    world.score(cell, "segmentation", "val", readouts(0.65), predicted, with_crf)
    world.plan.products[-1] = replace(
        world.plan.products[-1], refiner="irn", extra=("coco_masks",), segmenter="net"
    )
    world.plan.segmenters["toy"] = "net (R101, coco_masks) on the masks of irn"


def test_cost_and_published_results_of_a_method_with_many_stages(world):
    add_cam(world, 0, 0.50)
    add_clims(world, world.plan.stages["train-cam-toy-s0"])
    board = world.leaderboard()
    extras = {row["product"]: row["extra"] for row in as_records(board) if row["method"] == "clims"}
    assert extras == {"seed": "clip", "pseudo_mask": "clip", "segmentation": "clip coco_masks"}
    page = render(world.plan, board, differences(board))
    assert "Multi-stage methods: net (R101, coco_masks) on the masks of irn." in page
    assert "**image-level, extra: clip coco_masks, ss/raw**" in page
    # train 10 (CAM) + 20, seeds 4, irn 3 + 5 + 2, segmenter 100, prediction 7, CRF 11
    assert cells(page, "clims", "Cost")[1:] == [
        *("R50", "clip", "1.50 M", "30", "4", "10", "100", "7", "11", "162", "300", "abc")
    ]
    published = [
        line for line in page.splitlines() if line.startswith("| clims ") and line.rstrip(" |").endswith("Z")
    ]
    values = [[cell.strip() for cell in line.strip("|").split("|")][1:] for line in published]
    assert values == [
        ["pseudo_mask", "train", "ss irn", "70.0 (1)", "70.5", "-0.5", "Z"],
        ["segmentation", "val", "ss crf", "65.0 (1)", "69.0", "-4.0", "Z"],
    ]


def test_settings_of_a_method_for_a_refiner_are_named_and_do_not_hide_its_published_result(world):
    paper = [
        {
            "dataset": "toy",
            "split": "train",
            "product": "pseudo_mask",
            "miou": 74.1,
            "source": "Z",
            "refiner": "irn",
        }
    ]
    cell = world.cell("clims", paper=paper)
    masks = world.stage("refine", cell, {}, "-irn")
    post = "irn[affinity_labels.background=0.1,threshold=0.2]"
    world.score(cell, "pseudo_mask", "train", [scored(0.7, post=post, split="toy-train", n_images=10)], masks)
    world.plan.products[-1] = replace(world.plan.products[-1], refiner="irn")
    board = world.leaderboard()
    (record,) = as_records(board)
    assert post in record["protocol"]
    assert record["paper_miou"] == 74.1
    page = render(world.plan, board, [])
    assert f"- clims on toy: {post}, settings of the method in place of those in the refiner's file." in page


def test_a_method_is_compared_with_what_it_starts_from(world):
    for name, fixed in (("clims", 0.60), ("between", 0.55), ("cam", 0.50), ("cam-long", 0.45)):
        method = "cam" if name == "cam-long" else name
        cell = world.cell(name, method=method, warm_start="cam" if name == "clims" else None)
        stage = world.stage("seed", cell, {})
        stage = world.score(cell, "seed", "train", [scored(fixed, "fixed", 0.2, split="toy-train")], stage)
        with ConfusionWriter(1, stage.path) as writer:
            for index in range(3):
                writer.add(0, index, np.diag([5, 3, index + 1]))
            writer.save(stage.path / "confusions.npz", ["a", "b", "c"])
    pairs = [(one.first, one.second) for one in differences(world.leaderboard())]
    assert pairs == [
        ("clims", "between"),
        ("clims", "cam"),
        ("clims", "cam-long"),
        ("between", "cam"),
        ("cam", "cam-long"),
    ]


def full_world(world: World) -> None:
    add_cam(world, 0, 0.50)
    add_cam(world, 1, 0.52)
    better = world.cell("better")
    seeds = world.stage("seed", better, {})
    world.score(better, "seed", "train", seed_rows(0.55, 0.5, 0.6, 0.3), seeds)
    saliency = world.cell("with_saliency", extra=["saliency"])
    seeds = world.stage("seed", saliency, {}, commit="def")
    world.score(saliency, "seed", "train", seed_rows(0.90, 0.5, 0.6, 0.3), seeds)
    broken = world.cell("broken")
    seeds = world.stage("seed", broken, {}, state="failed")
    world.score(broken, "seed", "train", [], seeds, state="new")
    pending = world.cell("pending")
    world.score(pending, "seed", "train", [], world.stage("seed", pending, {}, state="new"), state="new")
    world.plan.products.append(ScoredProduct(better, "pseudo_mask", "train", "densecrf", None, "no crf"))
    floor = world.cell(
        "zero", pipeline="zero_shot", supervision="none", trains=False, role="floor", remark="rebuilt"
    )
    ceiling = world.cell("full", pipeline="upper_bound", supervision="mask")
    for cell, miou in ((floor, 0.4), (ceiling, 0.8)):
        for split in ("val", "val_ood"):
            predict = world.stage("predict", cell, {}, f"-{split}")
            world.score(
                cell, "segmentation", split, readouts(miou, with_crf=False, split=f"toy-{split}"), predict
            )


def cells(page: str, method: str, heading: str) -> list[str]:
    """Cells of a method's row in the table below a heading."""
    section = page.split(f"### {heading}")[1].split("###")[0]
    (line,) = (line for line in section.splitlines() if line.startswith("|") and f" {method} " in line)
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_the_page(world):
    full_world(world)
    page = render(world.plan, world.leaderboard(), [])
    seeds = "Seeds and pseudo masks"
    assert cells(page, "better", seeds)[:7] == [
        "1",
        "better",
        "image",
        "55.0 (1)",
        "50.0 (1)",
        "60.0 (1)",
        "no crf",
    ]
    assert cells(page, "cam", seeds)[0] == "2"
    assert cells(page, "cam", seeds)[3] == "51.0 ± 1.4 (2)"
    assert cells(page, "cam", seeds)[7:] == ["12.5", "25.0", "48.3", "+2.7"]
    assert cells(page, "broken", seeds)[:4] == ["", "broken", "image", "failed"]
    assert cells(page, "pending", seeds)[:4] == ["", "pending", "image", "-"]
    # higher, but with other data: first of a block of its own; made from another commit: marked
    assert cells(page, "with_saliency*", seeds)[0] == "1"
    assert "**image-level, extra: saliency, ss/raw**" in page
    assert "\\*: made, at least in part, from another commit than most rows (abc)" in page
    masks = "Segmentation: toy-val"
    assert cells(page, "zero (floor, rebuilt)", masks)[3:8] == [
        "40.0 (1)",
        "no crf",
        "42.0 (1)",
        "no crf",
        "40.0 (1)",
    ]
    assert cells(page, "full (ceiling)", masks)[0] == "1"
    assert page.index("**caption or none, ss/raw**") < page.index("**upper bound, ss/raw**")
    assert "`no crf`: made without the CRF extension" in page
    # train 10, seeds 4, no refiner, no segmenter
    assert cells(page, "cam", "Cost")[1:] == [
        *("R50", "-", "1.50 M", "10", "4", "-", "-", "-", "-", "14", "300", "abc")
    ]
    assert cells(page, "cam", "Published results")[1:] == [
        *("seed", "train", "ss raw, fixed", "51.0 ± 1.4 (2)", "48.3", "+2.7", "IRN")
    ]
    tables = [line for line in page.splitlines() if line.startswith("|")]
    assert max(map(len, tables)) <= 160


def test_runs_that_are_missing_are_counted(world):
    add_cam(world, 0, 0.50)
    cell = world.cell("cam", 1)
    world.score(cell, "seed", "train", [], world.stage("seed", cell, {}, state="new"), state="new")
    page = render(world.plan, world.leaderboard(), [])
    assert cells(page, "cam", "Seeds")[3] == "50.0 (1 of 2)"


def test_different_protocols_share_no_ranking(world):
    for row, miou, scales in (("one", 0.5, "ss"), ("many", 0.6, "ms")):
        cell = world.cell(row)
        train = {"split": "toy-train", "n_images": 10, "scales": scales}
        world.score(
            cell, "seed", "train", [scored(miou, "fixed", 0.2, **train)], world.stage("seed", cell, {})
        )
    page = render(world.plan, world.leaderboard(), [])
    assert [cells(page, row, "Seeds")[0] for row in ("one", "many")] == ["1", "1"]


def test_files(world, capsys):
    full_world(world)
    publish(world.plan, world.root)
    folder = world.root / "toy"
    printed = capsys.readouterr().out
    assert page(summarize_board(world.plan, world.leaderboard())).plain in printed
    assert f"{folder}/leaderboard.{{md,csv,json,png}}" in printed
    assert (folder / "leaderboard.md").read_text().startswith("# toy\n\n## toy\n\n### Seeds and pseudo masks")
    with open(folder / "leaderboard.csv") as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == COLUMNS
    details = json.loads((folder / "leaderboard.json").read_text())
    assert [row["miou_mean"] for row in details["rows"]] == [float(row["miou_mean"]) for row in rows]
    first = details["rows"][0]["runs"][0]
    assert first["iou"] == {"background": 90.0, "cat": 50.0, "dog": None}
    assert (first["false_positive_background"], first["threshold"], first["random_seed"]) == (12.5, 0.2, 0)
    assert first["stages"][-1].endswith("evaluate-cam-toy-s0-seed-train")
    assert {"method": "broken", "reason": "failed"}.items() <= details["missing"][0].items()
    assert (folder / "leaderboard.png").read_bytes()[:4] == b"\x89PNG"


def test_an_experiment_without_results_has_a_table(world):
    cell = world.cell("cam")
    world.score(cell, "seed", "train", [], world.stage("seed", cell, {}, state="new"), state="new")
    publish(world.plan, world.root)
    assert not (world.root / "toy" / "leaderboard.png").exists()


def write_confusions(path: Path, ids: list[str], matrices: np.ndarray) -> None:
    """`(n, K, K)` per-image confusions, truth first, as the evaluate stage writes them."""
    with ConfusionWriter(1) as writer:
        for index, matrix in enumerate(matrices):
            writer.add(0, index, matrix)
        writer.save(path, ids)


def test_difference_of_equal_and_of_shifted_methods(world):
    generator = np.random.default_rng(1)
    ids = [f"i{n}" for n in range(60)]
    worse = generator.integers(20, 60, (60, 3, 3))
    better = worse + 40 * np.eye(3, dtype=int)
    for row, matrices, miou in (("good", better, 0.6), ("bad", worse, 0.4), ("same", worse, 0.4)):
        cell = world.cell(row)
        train = {"split": "toy-train", "n_images": 60}
        stage = world.score(
            cell, "seed", "train", [scored(miou, "fixed", 0.2, **train)], world.stage("seed", cell, {})
        )
        write_confusions(stage.path / "confusions.npz", ids, matrices)
    clear, none = differences(world.leaderboard())
    assert (clear.first, clear.second, clear.n_images) == ("good", "bad", 60)
    assert clear.points == pytest.approx(20.0)
    assert clear.is_clear
    assert clear.low < clear.high
    assert (none.low, none.high, none.is_clear) == (0.0, 0.0, False)
    page = render(world.plan, world.leaderboard(), [clear, none])
    assert "- good - bad: +20.0 [" in page
    assert "(zero is inside)" in page


@pytest.mark.parametrize(
    "content", [None, "", '{"rows": [', "{}", "[]", '{"rows": [], "class_names": ["a"]}']
)
def test_damaged_scores_cost_their_row_and_not_the_table(world, content):
    full_world(world)
    cell = next(product.cell for product in world.plan.products if product.cell.row == "better")
    path = world.plan.stages[f"evaluate-{cell.row}-toy-s0-seed-train"].path / "metrics.json"
    path.unlink()
    if content is not None:
        path.write_text(content)
    board = world.leaderboard()
    page = render(world.plan, board, differences(board))
    assert cells(page, "better", "Seeds")[:4] == ["", "better", "image", "damaged"]
    assert cells(page, "cam", "Seeds")[3] == "51.0 ± 1.4 (2)"
    assert "`damaged`, left out until bench is run again: " in page
    assert str(path) in page
    missing = json_content(board, [])["missing"]
    assert [one["reason"] for one in missing if one["method"] == "better" and one["product"] == "seed"] == [
        "damaged"
    ]


def test_an_edited_score_costs_its_run(world):
    """One of two random seeds: the other one stays."""
    add_cam(world, 0, 0.50)
    add_cam(world, 1, 0.52)
    stage = world.plan.stages["evaluate-cam-toy-s1-seed-train"]
    write_manifest(stage.path, {"commit": "abc", "files": record_files(stage.path)})
    assert cells(render(world.plan, world.leaderboard(), []), "cam", "Seeds")[3] == "51.0 ± 1.4 (2)"
    text = (stage.path / "metrics.json").read_text()
    (stage.path / "metrics.json").write_text(text.replace("0.52", "0.92"))
    page = render(world.plan, world.leaderboard(), [])
    assert cells(page, "cam", "Seeds")[3] == "50.0 (1 of 2)"
    assert "metrics.json is not the file that its stage wrote" in page


def test_scores_of_no_pixel_cost_their_row(world):
    add_cam(world, 0, 0.50)
    path = world.plan.stages["evaluate-cam-toy-s0-seed-train"].path / "metrics.json"
    content = json.loads(path.read_text())
    content["rows"][0]["miou"] = None
    path.write_text(json.dumps(content))
    page = render(world.plan, world.leaderboard(), [])
    assert cells(page, "cam", "Seeds")[3] == "damaged"
    assert f"{path} has no mIoU: no pixel of train counts" in page


@pytest.mark.parametrize("content", [b"", b"PK damaged"])
def test_damaged_matrices_cost_their_row(world, content):
    add_cam(world, 0, 0.50)
    (world.plan.stages["evaluate-cam-toy-s0-seed-train"].path / "confusions.npz").write_bytes(content)
    assert cells(render(world.plan, world.leaderboard(), []), "cam", "Seeds")[3] == "damaged"


def test_a_broken_manifest_costs_its_row(world):
    full_world(world)
    (world.plan.stages["evaluate-better-toy-s0-seed-train"].path / "stage.json").write_text("")
    page = render(world.plan, world.leaderboard(), [])
    assert cells(page, "better", "Seeds")[3] == "damaged"
    assert "stage.json is not valid JSON" in page


def test_scores_that_rest_on_changed_code_are_marked(world, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    own = tmp_path / "own_code_of_table.py"
    own.write_text("A = 1\n")
    code = {"roots": [own.stem], "modules": SourceCode().digests([own.stem])}
    changed, unknown = world.cell("changed"), world.cell("unknown")
    for cell, facts in ((changed, {"code": code}), (unknown, {})):
        train = world.stage("train", cell, {}, **facts)  # the scores rest on it, two stages further
        seeds = world.stage("seed", cell, {"checkpoint": train}, code={"roots": [], "modules": {}})
        world.score(
            cell, "seed", "train", seed_rows(0.5, 0.5, 0.6, 0.3), seeds, code={"roots": [], "modules": {}}
        )
    page = render(world.plan, world.leaderboard(), [])
    assert "‡" not in page
    assert page.count("The code that 1 stages ran was not recorded") == 1
    own.write_text("A = 2\n")
    page = render(world.plan, world.leaderboard(), [])
    assert cells(page, "changed", "Seeds")[3:6] == ["50.0 (1)‡", "50.0 (1)‡", "60.0 (1)‡"]
    assert cells(page, "unknown", "Seeds")[3] == "50.0 (1)"
    assert (
        page.count("‡: rests on a stage that has changed since it ran: code changed (own_code_of_table).")
        == 1
    )
    rows = json.loads(json.dumps(json_content(world.leaderboard(), [])))["rows"]
    marked = {row["method"] for row in rows for run in row["runs"] if "code changed" in str(run["changes"])}
    assert marked == {"changed"}
