"""The tables that answer one question each, from hand-made results: who is ranked, by how much, how sure."""

from __future__ import annotations

from dataclasses import replace

import pytest
from boards import Method, write_matrices
from hand_made import World, seed_rows

from wsss_bench.artifacts.metrics import read_metrics, write_metrics
from wsss_bench.report.tables.build import Summary, summarize_board
from wsss_bench.report.tables.table import Table


@pytest.fixture
def world(tmp_path) -> World:
    return World(tmp_path)


def summary(world: World) -> Summary:
    return summarize_board(world.plan, world.leaderboard())


def table(world: World, name: str) -> Table:
    (found,) = (one for one in summary(world).tables if one.name == f"toy-{name}")
    return found


def column(table: Table, heading: str) -> dict[str, str]:
    """Texts of a column, by method in the order of the table."""
    heads = [head.text for head in table.heads]
    names = table.column(next(index for index, head in enumerate(table.heads) if head.kind == "words"))
    cells = table.column(heads.index(heading))
    return {name.text: cell.text for name, cell in zip(names, cells, strict=True)}


def test_rows_of_a_track_stand_together_and_only_those_that_compete_have_ranks(world):
    Method(world, "cam", 0.46).seeds()
    Method(world, "clims", 0.50, extra=["clip"]).seeds()
    Method(world, "weclip", 0.44, extra=["clip"]).seeds()
    Method(world, "several_scales", 0.42, extra=["clip"]).seeds(scales="ms")
    Method(world, "code", 0.55, supervision="caption", extra=["clip"]).seeds()
    Method(world, "floor", 0.40, supervision="none", pipeline="zero_shot", trains=False, role="floor").seeds()
    seeds = table(world, "seed")
    assert [(group.title, len(group.lines)) for group in seeds.groups] == [
        ("learn from image labels", 4),
        ("learn from captions or nothing", 1),
        ("references, not ranked", 1),
    ]
    assert column(seeds, "#") == {
        "clims": "1", "cam": "", "weclip": "2", "several_scales": "", "code": "", "floor (floor)": "",
    }  # fmt: skip
    assert column(seeds, "to best") == {
        "clims": "best",
        "cam": "(-4.0)",  # was given less
        "weclip": "-6.0",
        "several_scales": "(-8.0)",  # measured under another protocol
        "code": "",  # the only one of its track
        "floor (floor)": "",
    }
    assert column(seeds, "measured")["several_scales"] == "ms/raw"
    assert column(seeds, "extra")["cam"] == ""
    # only in its column and among those that compete
    heads = [head.text for head in seeds.heads]
    places = {line.cells[1].text: line.cells[heads.index("mIoU")].place for line in seeds.lines}
    assert places == {
        "clims": 1, "cam": 0, "weclip": 2, "several_scales": 0, "code": 0, "floor (floor)": 0,
    }  # fmt: skip
    assert not any(cell.place for cell in seeds.column(heads.index("oracle†")))


def test_a_difference_that_may_be_chance_is_marked(world):
    Method(world, "best", 0.500).seeds()
    Method(world, "other_extra", 0.4999, extra=["clip"]).seeds()
    Method(world, "clearly_worse", 0.40).seeds()
    Method(world, "alike", 0.495).seeds()
    # the matrices of the best: only the mean is lower
    write_matrices(world.plan.stages["evaluate-alike-toy-s0-seed-train-"], 0.500)
    assert column(table(world, "seed"), "to best") == {
        "best": "best",
        "other_extra": "(-0.0 ≈)",
        "alike": "-0.5 ≈",
        "clearly_worse": "-10.0",
    }


def test_a_difference_within_the_spread_of_random_seeds_may_be_chance(world):
    Method(world, "steady", 0.50, random_seeds=3, step=0.001).seeds()
    Method(world, "unsteady", 0.43, random_seeds=3, step=0.04).seeds()  # 47.0 ± 4.0
    Method(world, "worse", 0.43, random_seeds=3, step=0.001).seeds()
    assert column(table(world, "seed"), "to best") == {
        "steady": "best", "unsteady": "-3.1 ≈", "worse": "-7.0",
    }  # fmt: skip
    assert column(table(world, "seed"), "mIoU")["unsteady"] == "47.0 ± 4.0"


def test_without_the_scores_of_single_images_nothing_is_said_about_chance(world):
    Method(world, "one", 0.50).seeds()
    Method(world, "two", 0.45).seeds()
    (world.plan.stages["evaluate-two-toy-s0-seed-train-"].path / "confusions.npz").unlink()
    assert column(table(world, "seed"), "to best")["two"] == "-5.0 ?"
    assert any(note.startswith("`?`") for note in summary(world).notes)


def test_pseudo_masks_are_ranked_by_what_the_segmenter_learns_from(world):
    for name, miou in (("one", 0.50), ("two", 0.45)):
        method = Method(world, name, miou).seeds()
        method.masks("threshold").masks("densecrf", 0.02).masks("irn", 0.04).segmentation("densecrf")
    masks = table(world, "pseudo_mask")
    assert masks.question == "Pseudo masks on toy train: whose masks of densecrf are best?"
    heads = [head.text for head in masks.heads]
    # `threshold` repeats the seeds; nothing differs in extra data, protocol or number of runs
    assert heads == ["#", "method", "densecrf", "to best", "irn", "bg FP", "bg FN"]
    assert column(masks, "densecrf") == {"one": "52.0", "two": "47.0"}
    assert column(masks, "irn") == {"one": "54.0", "two": "49.0"}


def test_a_threshold_that_does_not_repeat_the_seeds_is_shown(world):
    Method(world, "one", 0.50).seeds().masks("threshold", 0.01)
    assert column(table(world, "pseudo_mask"), "threshold") == {"one": "51.0"}


def test_masks_with_more_data_do_not_compete(world):
    Method(world, "one", 0.50).seeds().masks("saliency", 0.2, extra=["saliency"])
    Method(world, "two", 0.45).seeds().masks("saliency", 0.2)
    masks = table(world, "pseudo_mask")
    assert column(masks, "to best") == {"one": "best", "two": "(-5.0)"}
    assert column(masks, "extra") == {"one": "saliency", "two": ""}


def test_a_split_of_which_one_scale_without_crf_is_all_lacks_nothing(world):
    """As with `protocol.ss_raw_only`; a CRF that is missing on the ranked split is still said."""
    Method(world, "one", 0.50, pipeline="single_stage").segmentation()
    for stage in world.plan.stages.values():
        if "val_ood" in stage.title and stage.kind == "evaluate":
            metrics = read_metrics(stage.path)
            write_metrics(stage.path, replace(metrics, rows=metrics.rows[:1]))
    assert column(table(world, "segmentation"), "val_ood") == {"one": "50.0"}
    assert not any("no crf" in note for note in summary(world).notes)


def test_segmentation_shows_what_there_is(world):
    Method(world, "one", 0.50, pipeline="single_stage").segmentation()
    Method(world, "two", 0.45, pipeline="single_stage").segmentation(with_crf=False)
    found = table(world, "segmentation")
    assert found.basis.startswith("mIoU in %, 3 images, one random seed, whose spread is unknown; no labels")
    assert [head.text for head in found.heads][2:] == [
        "ss raw", "to best", "val_ood", "ss crf", "ms raw", "ms crf", "bg FP", "bg FN",
    ]  # fmt: skip
    assert column(found, "ms raw") == {"one": "52.0", "two": "47.0"}
    assert column(found, "ss crf") == {"one": "50.0", "two": "no crf"}
    assert any("`no crf`: made without the CRF extension" in note for note in summary(world).notes)


def test_half_done_matrices_say_what_is_missing(world):
    Method(world, "done", 0.50, random_seeds=3).seeds().masks("irn", 0.05)
    Method(world, "partly", 0.49, random_seeds=3, done=2).seeds().masks("irn", 0.05)
    Method(world, "pending", 0.49, random_seeds=3, done=0).seeds().masks("irn", 0.05)
    Method(world, "broken", 0.49, done=0, state="failed").seeds().masks("irn", 0.05)
    Method(world, "single", 0.40, pipeline="single_stage", done=0).segmentation()
    seeds = table(world, "seed")
    assert column(seeds, "mIoU") == {
        "done": "50.0 ± 0.0", "partly": "49.0 ± 0.0", "pending": "-", "broken": "failed",
    }  # fmt: skip
    assert column(seeds, "runs") == {"done": "", "partly": "2 of 3", "pending": "", "broken": ""}
    assert column(seeds, "#") == {"done": "1", "partly": "2", "pending": "", "broken": ""}
    assert column(seeds, "oracle†")["pending"] == ""  # said once in its line
    notes = summary(world).notes
    assert "`-`: not run yet; `failed`: a stage failed, see its log.txt." in notes
    assert "No score yet: segmentation on toy." in notes


def test_notes_stand_only_where_they_apply(world):
    Method(world, "one", 0.50).segmentation(with_crf=False)
    notes = " ".join(summary(world).notes)
    assert "`ss`, `ms`" in notes
    for sign in ("`#`", "`(-1.2)`", "≈", "`held-out`", "`oracle†`", "`-`", "‡"):
        assert sign not in notes
    assert summary(world).tables[0].groups[0].lines[0].cells[0].text == "one"  # no column of ranks


def test_nothing_is_said_of_an_experiment_without_scores(world):
    Method(world, "one", 0.50, done=0).seeds()
    found = summary(world)
    assert (found.tables, found.scores) == ([], [])
    assert found.notes == ["No score yet: seeds on toy."]


def test_gains_are_over_what_a_row_varies_or_starts_from(world):
    Method(world, "cam", 0.46).seeds().masks("irn", 0.04)
    Method(world, "clims", 0.50, warm_start="cam", extra=["clip"]).seeds().masks("irn", 0.01)
    Method(world, "cam-long", 0.45, method="cam").seeds()
    Method(world, "other", 0.47).seeds()
    gains = table(world, "gains")
    assert column(gains, "against") == {"clims": "cam", "cam-long": "cam"}
    assert column(gains, "seeds") == {"clims": "+4.0", "cam-long": "-1.0"}
    assert column(gains, "irn masks") == {"clims": "+1.0", "cam-long": ""}


def test_published_results_are_compared_where_they_were_measured_alike(world):
    alike = {
        "dataset": "toy",
        "split": "train",
        "product": "seed",
        "miou": 48.3,
        "rule": "fixed",
        "source": "A",
    }
    other = {**alike, "rule": "oracle", "miou": 99.0}
    unknown = {**alike, "rule": None, "miou": 97.0}
    Method(world, "cam", 0.46, paper=[alike, unknown]).seeds()
    Method(world, "two", 0.46, paper=[other]).seeds()
    published = table(world, "published")
    assert [[cell.text for cell in line.cells] for line in published.lines] == [
        ["cam", "seeds, train", "ss raw, fixed", "46.0", "48.3", "-2.3", "A"],
        ["two", "seeds, train", "ss raw, oracle", "60.0", "99.0", "-39.0", "A"],
    ]


def test_the_cheapest_method_comes_first(world):
    Method(world, "slow", 0.46).seeds().masks("irn", 0.02)
    Method(world, "fast", 0.40, pipeline="single_stage").segmentation()
    Method(world, "pending", 0.40, done=0).seeds()
    costs = table(world, "cost")
    assert column(costs, "total") == {"fast": "30", "slow": "600"}
    assert column(costs, "irn") == {"fast": "", "slow": "60"}
    assert column(costs, "predict") == {"fast": "30", "slow": ""}
    assert column(costs, "params") == {"fast": "", "slow": "2.50 M"}


@pytest.mark.parametrize(
    ("seconds", "unit", "shown"),
    [(600, "seconds", "600"), (6000, "minutes", "100.0"), (72000, "hours", "20.0")],
)
def test_costs_have_one_unit(world, seconds, unit, shown):
    cell = world.cell("one")
    made = world.stage("seed", cell, {}, cpu_seconds=float(seconds))
    world.score(cell, "seed", "train", seed_rows(0.5, 0.5, 0.6, 0.3), made)
    costs = table(world, "cost")
    assert costs.basis.startswith(f"{unit} of CPU")
    assert column(costs, "total") == {"one": shown}


def test_each_data_set_has_its_own_tables(world):
    world.plan.datasets["toy2"] = world.plan.datasets["toy"]
    Method(world, "one", 0.50).seeds()
    Method(world, "one", 0.60, dataset="toy2").seeds()
    Method(world, "two", 0.55, dataset="toy2").seeds()
    scores = {found.name: column(found, "mIoU") for found in summary(world).scores}
    assert scores == {"toy-seed": {"one": "50.0"}, "toy2-seed": {"one": "60.0", "two": "55.0"}}
