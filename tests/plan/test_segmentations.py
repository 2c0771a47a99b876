"""The stages of a segmentation: what a change of the CRF makes new, and what runs without a GPU."""

import copy

import pytest
from project import DATA

from wsss_bench.bench.resources import Machine, gpus_of, slots_of
from wsss_bench.plan.planner import make_plan

GPU = {"trainer": {"accelerator": "gpu", "devices": 1}}


def planned(project, **protocol):
    data = copy.deepcopy(DATA)
    data["protocol"] |= protocol
    project.write("configs/data/toy.yaml", data)
    return make_plan(project.experiment(), project.runs)


@pytest.mark.parametrize("change", [{"iterations": 2}, {"iterations": 1, "bilateral_sxy": 13}])
def test_another_crf_makes_only_its_stage_and_its_score_new(project, change):
    before, after = planned(project), planned(project, crf=change)
    new = [after.stages[key] for key in after.stages.keys() - before.stages.keys()]
    assert {stage.kind for stage in new} == {"crf", "evaluate"}
    assert len(new) == 2 * 4  # zero and full, val and val_ood
    assert all("crf_masks" in stage.inputs for stage in new if stage.kind == "evaluate")


def test_other_scales_make_the_prediction_new(project):
    before, after = planned(project), planned(project, scales=[1.0])
    new = {after.stages[key].kind for key in after.stages.keys() - before.stages.keys()}
    assert new == {"predict", "crf", "evaluate"}


def test_a_split_without_masks_has_its_masks_with_crf_all_the_same(project):
    """As that of a server, which `export` reads."""
    plan = planned(project, unscored=["val_ood"])
    kinds = [stage.kind for stage in plan.stages.values() if stage.title == "zero-toy-s0-val_ood"]
    assert kinds == ["predict", "crf"]


def test_the_crf_needs_no_gpu(project):
    project.write("configs/trainer/gpu.yaml", GPU)
    plan = make_plan(project.experiment(trainer="gpu"), project.runs)
    machine = Machine(2, ("0", "1"))
    for kind, gpus in (("predict", 1), ("crf", 0), ("evaluate", 0)):
        found = [stage for stage in plan.stages.values() if stage.kind == kind]
        assert found
        assert {gpus_of(stage, 2) for stage in found} == {gpus}, kind
        assert {slots_of(stage, machine) for stage in found} == {1 - gpus}, kind
