"""Ranks hold inside one block, and a score without one says why."""

from __future__ import annotations

import pytest
from hand_made import World, readouts, scored, seed_rows

from wsss_bench.plan.plan import ScoredProduct
from wsss_bench.report.markdown.dataset import DatasetResults
from wsss_bench.report.ranking import standings
from wsss_bench.report.tables.tracks import by_track


@pytest.fixture
def world(tmp_path):
    world = World(tmp_path)
    for name, miou, hints in (
        ("cam", 0.5, {}),
        ("better", 0.55, {}),
        ("saliency", 0.9, {"extra": ["saliency"]}),
        ("captions", 0.7, {"supervision": "caption"}),
        ("floor", 0.4, {"supervision": "none", "role": "floor"}),
    ):
        cell = world.cell(name, **hints)
        world.score(cell, "seed", "train", seed_rows(miou, 0.6, 0.65, 0.3), world.stage("seed", cell, {}))
    return world


def ranks(world):
    board = world.leaderboard()
    found = zip(board.rows, standings(world.plan, board), strict=True)
    return {(row.method, row.product, row.split, row.rule, row.scales, row.post): one for row, one in found}


def test_ranks_are_those_of_the_table(world):
    found = ranks(world)
    seeds = {name: one for (name, _, _, rule, *_), one in found.items() if rule == "fixed"}
    assert {name: one.rank for name, one in seeds.items()} == {
        "cam": 2, "better": 1, "saliency": None, "captions": None, "floor": None
    }  # fmt: skip
    assert {name: one.note for name, one in seeds.items()} == {
        "cam": "2 of 2: image-level, ss/raw.",
        "better": "1 of 2: image-level, ss/raw.",
        "saliency": "Nobody competes: image-level, extra: saliency, ss/raw.",
        "captions": "Nobody competes: caption or none, ss/raw.",
        "floor": "A reference (floor): it is not ranked.",
    }
    board = world.leaderboard()
    results = DatasetResults(world.plan, board, "toy", "")
    rows = {row.method: row for row in board.rows if row.rule == "fixed"}
    printed = [entry for entries in by_track(results, rows, "seed").values() for entry in entries]
    assert {entry.method: entry.rank for entry in printed} == {name: one.rank for name, one in seeds.items()}


def test_a_score_without_a_rank_says_why(world):
    cell = world.cell("dal", pipeline="single_stage")
    own = scored(0.7, scales="own", post="tiles", headline=False)
    for split in ("val", "val_ood"):
        rows = [*readouts(0.6, split=f"toy-{split}"), *([own] if split == "val" else [])]
        world.score(cell, "segmentation", split, rows, world.stage("predict", cell, {}, split))
    for name in ("cam", "better"):
        masks = world.stage("refine", world.cell(name), {}, "-irn")
        irn = scored(0.7, post="irn", split="toy-train", n_images=10)
        world.score(world.cell(name), "pseudo_mask", "train", [irn], masks)
    found = ranks(world)
    assert found["cam", "pseudo_mask", "train", "na", "ss", "irn"].note == "1 of 2: image-level, ss/irn."
    alone = found["dal", "segmentation", "val", "na", "ss", "raw"]
    assert (alone.note, alone.is_ranking) == ("Nobody competes: image-level, ss/raw.", True)
    assert {one.note.partition(";")[0].partition(":")[0] for one in found.values() if not one.is_ranking} == {
        "Its threshold was chosen on images that are left out of the score",
        "Its threshold was chosen on the scored images",
        "Segmentations rank in single scale without CRF (ss raw).",
        "Read out as its authors do",
        "Methods are ranked on val",
    }


def test_every_score_of_the_board_has_a_standing_in_its_place(world):
    world.plan.products.append(
        ScoredProduct(world.cell("cam"), "pseudo_mask", "train", "crf", None, "no crf")
    )
    board = world.leaderboard()
    found = standings(world.plan, board)
    assert len(found) == len(board.rows) == 15
    assert [one.is_ranking for one in found] == [row.rule == "fixed" for row in board.rows]
