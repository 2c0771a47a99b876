"""Splits of which only the single-scale masks without CRF are made (`protocol.ss_raw_only`)."""

from __future__ import annotations

import copy

import pytest
from project import DATA, Project

from wsss_bench.plan.costs.schedule import passes_of
from wsss_bench.plan.planner import make_plan
from wsss_bench.plan.schema import ConfigError


def with_splits(project: Project, splits: list[str]):
    data = copy.deepcopy(DATA)
    data["protocol"]["ss_raw_only"] = splits
    project.write("configs/data/toy.yaml", data)
    plan = make_plan(project.experiment(), project.runs)
    return configs(plan, "predict")


def configs(plan, kind: str):
    return {stage.title: stage.config for stage in plan.stages.values() if stage.kind == kind}


def test_only_the_named_split_is_predicted_so(project):
    predicted = with_splits(project, ["val_ood"])
    assert len(predicted) >= 4
    for title, config in predicted.items():
        few = title.endswith("val_ood")
        assert (config["scales"], config["crf"]) == (([], False) if few else ([0.75, 1.0], True))


def test_only_the_others_have_a_stage_for_the_crf(project):
    with_splits(project, ["val_ood"])
    plan = make_plan(project.experiment(), project.runs)
    made = configs(plan, "crf")
    assert made.keys() == {title for title in configs(plan, "predict") if not title.endswith("ood")}
    assert {str(config["crf"]) for config in made.values()} == {"{'iterations': 1}"}


def test_stages_of_other_splits_stay_what_they_were(project):
    before = with_splits(project, [])
    after = with_splits(project, ["val_ood"])
    assert {title: before[title] for title in before if not title.endswith("ood")} == {
        title: after[title] for title in after if not title.endswith("ood")
    }


def test_the_ranked_split_is_refused(project):
    with pytest.raises(ConfigError, match=r"ss_raw_only has 'val', on which methods are ranked.*: val_ood"):
        with_splits(project, ["val"])


def test_a_split_that_is_not_predicted_is_noted(project):
    """As after `eval_splits` was changed in a copy of the file."""
    assert with_splits(project, ["vall_ood", "val_ood"]) == with_splits(project, ["val_ood"])
    with_splits(project, ["vall_ood"])
    (note,) = make_plan(project.experiment(), project.runs).notes
    assert note == "ss_raw_only of toy has no effect on vall_ood: not predicted"


def test_one_pass_is_estimated():
    config = {"scales": [], "crf": False, "inference": {}}
    assert list(passes_of(config, "segmentation", (96, 96))) == [(1, 96 * 96 / 1e6, 1)]
    assert len(list(passes_of({**config, "scales": [0.5, 1.0, 2.0]}, "segmentation", (96, 96)))) == 3
