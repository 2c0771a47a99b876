"""The results of a cell by short names, from stage folders whose figures were computed by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hand_made import World, scored, seed_rows

from wsss_bench.artifacts.metrics import read_metrics, score_name, write_metrics
from wsss_bench.report.cell_results import by_cell
from wsss_bench.report.results import read_results


@pytest.fixture
def world(tmp_path):
    """A cell with seeds, masks of an IRN with settings of its own, and a segmenter; another without seeds."""
    world = World(tmp_path)
    cell = world.cell("cam")
    train = world.stage("train", cell, {}, params=2_000_000, cpu_seconds=100.0)
    seed = world.stage("seed", cell, {"checkpoint": train}, cpu_seconds=20.0, peak_memory_mb=70.0)
    scored_seeds = world.score(cell, "seed", "train", seed_rows(0.4, 0.45, 0.5, 0.3), seed)
    metrics = read_metrics(scored_seeds.path)
    write_metrics(scored_seeds.path, replace(metrics, curve={"threshold": [0.1, 0.2], "miou": [0.3, 0.4]}))
    affinity = world.stage("affinity", cell, {"masks": seed}, cpu_seconds=30.0)
    masks = world.stage("refine", cell, {"seeds": seed, "network": affinity}, cpu_seconds=5.0)
    pseudo = scored(0.6, post="irn[threshold=0.2]", split="toy-train")
    world.score(cell, "pseudo_mask", "train", [pseudo], masks)
    world.plan.products[-1] = replace(world.plan.products[-1], refiner="irn")
    segment = world.stage("segment", cell, {"masks": masks}, cpu_seconds=50.0)
    for split, miou in (("val", 0.62), ("val_ood", 0.31)):
        predict = world.stage("predict", cell, {"checkpoint": segment}, f"-{split}", cpu_seconds=7.0)
        rows = [
            scored(miou, split=f"toy-{split}"),
            scored(miou + 0.02, split=f"toy-{split}", scales="ms", post="crf", headline=False),
        ]
        world.score(cell, "segmentation", split, rows, predict)
    other = world.cell("full", pipeline="upper_bound", supervision="mask", threshold=None)
    trained = world.stage("train", other, {})
    predict = world.stage("predict", other, {"checkpoint": trained})
    world.score(other, "segmentation", "val", [scored(0.9)], predict)
    return world


def cells(world):
    protocols = {"toy": world.plan.datasets["toy"].protocol}
    return by_cell(read_results(world.plan), protocols)


def test_scores_rates_and_costs_have_the_same_names_in_every_method(world):
    cam, full = cells(world)
    percent = {"seed_fixed": 40, "seed_heldout": 45, "seed_oracle": 50, "refined_irn": 60}
    percent |= {"ss_raw": 62, "val/ss_raw": 62, "ms_crf": 64, "val/ms_crf": 64}
    percent |= {"val_ood/ss_raw": 31, "val_ood/ms_crf": 33}
    ranking = ("seed_fixed", "refined_irn", "ss_raw", "val/ss_raw", "val_ood/ss_raw")
    costs = {
        "train_seconds": 100.0,
        "seed_seconds": 20.0,
        "irn_seconds": 35.0,
        "segment_seconds": 50.0,
        "predict_seconds": 7.0,
        "total_seconds": 212.0,
        "params": 2_000_000,
        "peak_memory_mb": 70.0,
    }
    assert cam.summary() == pytest.approx(
        {
            **{f"miou/{name}": value for name, value in percent.items()},
            **{f"bg_fp/{name}": 12.5 for name in ranking},
            **{f"bg_fn/{name}": 25.0 for name in ranking},
            "bg_fp": 12.5,
            "bg_fn": 25.0,
            **{f"cost/{name}": value for name, value in costs.items()},
        }
    )
    assert not any(character.isdigit() for name in cam.summary() for character in name)  # no threshold
    assert {"miou/ss_raw", "bg_fp", "cost/total_seconds"} <= full.summary().keys()
    assert "miou/seed_fixed" not in full.summary()


def test_classes_and_thresholds(world):
    cam, full = cells(world)
    assert ("refined_irn", "cat", 60.0) in cam.iou_of_classes()
    assert ("seed_fixed", "dog", None) in cam.iou_of_classes()
    assert cam.threshold_curve() == [(0.1, 30.0), (0.2, 40.0)]
    assert full.threshold_curve() == []


def test_a_cell_leads_to_its_segmentation_of_the_first_split(world):
    cam, full = cells(world)
    assert (cam.last.product.kind, cam.last.product.split) == ("segmentation", "val")
    assert (cam.cell.row, full.cell.row) == ("cam", "full")


def test_a_published_readout_has_a_name_of_its_own():
    assert score_name("segmentation", scored(0.5, scales="own", post="paper")) == "own_paper"
