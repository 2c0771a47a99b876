"""Caption methods that are trained once and scored on many data sets; variants that share a train stage."""

from __future__ import annotations

import copy

import pytest
from project import DATA

from wsss_bench.plan.planner import make_plan
from wsss_bench.plan.schema import ConfigError

SPEAKS = {
    "model": {"class_path": "fake.Speaks", "init_args": {"pamr": True}},
    "data": {"view": "caption"},
    "bench": {"pipeline": "zero_shot", "supervision": "caption", "backbone": "ViT", "threshold": 0.5},
}
PAIRS = {
    "data": {"source": {"class_path": "fake.Pairs"}, "val_split": None},
    "protocol": {"dataset": "pairs", "counts": {}},
}


def scored_only(name):
    content = copy.deepcopy(DATA)
    content["data"]["source"]["init_args"]["root"] = f"${{WSSS_DATA}}/{name}"
    content["protocol"] = {"dataset": name, "eval_splits": ["val"], "counts": {"val": 4}}
    return content


@pytest.fixture
def openvocab(project):
    project.write("configs/methods/speaks.yaml", SPEAKS)
    project.write("configs/data/pairs.yaml", PAIRS)
    for name in ("city", "stuff"):
        project.write(f"configs/data/{name}.yaml", scored_only(name))
    return project


MATRIX = {
    "methods": ["zero", "speaks"],
    "data": ["toy", "city", "stuff"],
    "train_on": "pairs",
    "refiners": [],
}


def stages(plan, kind):
    return [stage for stage in plan.stages.values() if stage.kind == kind]


def test_one_training_serves_every_data_set(openvocab):
    plan = make_plan(openvocab.experiment(**MATRIX, random_seeds=[0, 1]), openvocab.runs)
    trained = stages(plan, "train")
    assert [stage.title for stage in trained] == ["speaks-pairs-s0", "speaks-pairs-s1"]
    assert trained[0].config["data"] == {
        "view": "caption", "source": {"class_path": "fake.Pairs"}, "val_split": None, "train_split": "train",
    }  # fmt: skip
    predicted = [stage for stage in stages(plan, "predict") if stage.title.startswith("speaks")]
    assert sorted(stage.title for stage in predicted) == sorted(
        f"speaks-{place}" for place in (
            "toy-s0-val", "toy-s0-val_ood", "city-s0-val", "stuff-s0-val",
            "toy-s1-val", "toy-s1-val_ood", "city-s1-val", "stuff-s1-val",
        )
    )  # fmt: skip
    for stage in predicted:
        seed = stage.config["seed_everything"]
        assert stage.inputs == {"checkpoint": trained[seed].fingerprint}
    city = next(stage for stage in predicted if stage.title == "speaks-city-s0-val")
    assert city.config["data"]["source"]["init_args"]["root"] == "${WSSS_DATA}/city"
    assert city.config["scales"] == [0.75, 1.0, 1.25]


def test_seeds_are_made_only_where_a_data_set_has_a_training_split(openvocab):
    plan = make_plan(openvocab.experiment(**MATRIX), openvocab.runs)
    assert {product.cell.dataset for product in plan.products if product.kind == "seed"} == {"toy"}
    assert {product.cell.dataset for product in plan.products} == {"toy", "city", "stuff"}


def test_a_variant_with_same_training_uses_the_train_stage_of_its_method(openvocab):
    variant = {"method": "speaks", "override": {"model": {"init_args": {"pamr": False}}}}
    for same_training, trainings in ((True, 1), (False, 2)):
        content = {**MATRIX, "variants": {"plain": {**variant, "same_training": same_training}}}
        plan = make_plan(openvocab.experiment(**content), openvocab.runs)
        assert len(stages(plan, "train")) == trainings
        plain = next(stage for stage in stages(plan, "predict") if stage.title == "plain-city-s0-val")
        assert plain.config["model"]["init_args"] == {"pamr": False}
        trained = plan.stages[plain.inputs["checkpoint"]]
        assert trained.config["model"]["init_args"] == {"pamr": same_training}


def test_training_and_prediction_have_the_overlays_of_their_data(openvocab):
    openvocab.write("configs/methods/speaks.pairs.yaml", {"trainer": {"max_epochs": 7}})
    openvocab.write("configs/methods/speaks.city.yaml", {"inference": {"short_side": 9}})
    plan = make_plan(openvocab.experiment(**MATRIX), openvocab.runs)
    assert stages(plan, "train")[0].config["trainer"]["max_epochs"] == 7
    sides = {s.title: s.config["inference"] for s in stages(plan, "predict") if s.title.startswith("speaks")}
    assert sides["speaks-city-s0-val"] == {"short_side": 9}
    assert sides["speaks-stuff-s0-val"] == {}


def test_methods_of_other_supervision_are_trained_on_the_data_that_is_scored(openvocab):
    content = {**MATRIX, "methods": ["speaks", "cam"], "data": ["toy"]}
    plan = make_plan(openvocab.experiment(**content), openvocab.runs)
    assert sorted(stage.title for stage in stages(plan, "train")) == ["cam-toy-s0", "speaks-pairs-s0"]
    alone = make_plan(openvocab.experiment(methods=["cam"], data=["toy"], refiners=[]), openvocab.runs)
    assert {stage.name for stage in alone.stages.values()} < {stage.name for stage in plan.stages.values()}


def test_train_on_that_no_method_uses_is_noted(openvocab):
    content = {**MATRIX, "methods": ["cam"], "data": ["toy"]}
    plan = make_plan(openvocab.experiment(**content), openvocab.runs)
    assert "train_on: pairs is not used, since no method of this run learns from captions" in plan.notes
    assert list(plan.datasets) == ["toy"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"methods": ["cam", "speaks"]}, r"city\.yaml is only scored on .* but cam trains .*; leave one"),
        (
            {"train_on": None, "data": ["city"]},
            r"city\.yaml is only scored on .* but speaks trains .*; set train_on",
        ),
        ({"data": ["pairs"]}, r"data: nothing of pairs is scored .* name it as train_on"),
        ({"train_on": "pears"}, r"pears\.yaml does not exist; did you mean 'pairs'"),
    ],
)
def test_experiments_that_cannot_be_planned_are_refused(openvocab, changes, message):
    with pytest.raises(ConfigError, match=message):
        make_plan(openvocab.experiment(**{**MATRIX, **changes}), openvocab.runs)
