"""Old keys, values and class paths are refused with the new name, wherever they are written."""

from __future__ import annotations

import contextlib
import copy
import re
from importlib import import_module

import pytest
import yaml
from project import DATA, METHODS

from wsss_bench.cli import main
from wsss_bench.plan.planner import make_plan
from wsss_bench.plan.schema import ConfigError
from wsss_bench.renamed import CLASSES, KEYS, find_renamed, refuse_renamed

OLD_CLASS = "wsss_bench.methods.clims.CLIMS"
NEW_CLASS = CLASSES[OLD_CLASS]
OLD_MODEL = {"model": {"class_path": OLD_CLASS}}
OLD_ARGUMENT = {"model": {"init_args": {"fixed_batch_norm": True}}}


@pytest.mark.parametrize("new", CLASSES.values())
def test_new_class_paths_exist(new):
    module, _, name = new.rpartition(".")
    assert isinstance(getattr(import_module(module), name), type)


@pytest.mark.parametrize("old", CLASSES)
def test_old_class_paths_do_not(old):
    module, _, name = old.rpartition(".")
    with contextlib.suppress(ModuleNotFoundError):
        assert not hasattr(import_module(module), name)


@pytest.mark.parametrize("key", KEYS, ids=str)
def test_every_renamed_key_is_found_and_its_new_name_is_accepted(key):
    *parents, last = key.old.split(".")

    def nested(name: str) -> dict:
        content: dict = {name: 1}
        for parent in reversed(parents):
            content = {parent: content}
        return {key.only_of: content} if key.only_of else content

    assert f"{key.old}: this key is now {key.new!r}" in str(find_renamed(nested(last), key.only_in))
    assert find_renamed(nested(key.new), key.only_in) is None


def test_a_key_of_one_method_is_valid_in_others():
    arguments = {"init_args": {"loss_weights": {"area": 1.0}}}
    tcl = {"model": {"class_path": "wsss_bench.methods.text_grounding.tcl.TCL", **arguments}}
    clims = {"model": {"class_path": "wsss_bench.methods.clims.improved.CLIMS", **arguments}}
    variant = {"variants": {"row": {"method": "clims", "override": {"model": arguments}}}}
    assert find_renamed(tcl) is None
    for content in (clims, variant, {"override": {"clims": {"model": arguments}}}):
        assert "loss_weights.area: this key is now 'reg'" in str(find_renamed(content))


def test_a_key_of_one_refiner_is_valid_in_others():
    def of(class_path):
        return find_renamed(
            {"refiner": {"class_path": class_path, "init_args": {"foreground": 0.3}}}, "refine"
        )

    assert of("wsss_bench.refine.walk.affinity_labels.IRNAffinityLabels") is None
    assert "this key is now 'score_threshold'" in str(of("wsss_bench.refine.saliency.SaliencyRefiner"))


def test_keys_of_one_kind_of_file_are_valid_in_others():
    assert find_renamed({"seeds": "runs/seed", "labels": 1}, "refine") is None
    assert find_renamed({"bench": {"extra": ["clip"]}, "model": {"init_args": {"labels": 3}}}) is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seeds": [0]}, "seeds: this key is now 'random_seeds'"),
        (
            {"override": {"cam": OLD_ARGUMENT}},
            "override.cam.model.init_args.fixed_batch_norm: this key is now 'freeze_bn'",
        ),
        (
            {"variants": {"x": {"method": "cam", "override": {"data": {"extra": {}}}}}},
            "variants.x.override.data.extra: this key is now 'extra_images'",
        ),
        (
            {"override": {"cam": OLD_MODEL}},
            f"override.cam.model.class_path: the class {OLD_CLASS} is now {NEW_CLASS}",
        ),
    ],
)
def test_in_an_experiment(project, changes, message):
    with pytest.raises(ConfigError, match=re.escape(f"experiments/toy.yaml: {message}")):
        make_plan(project.experiment(**changes), project.runs)


def test_in_a_method_and_its_overlay(project):
    project.write("configs/methods/cam.toy.yaml", OLD_ARGUMENT)
    with pytest.raises(
        ConfigError, match=r"cam\.toy\.yaml: model\.init_args\.fixed_batch_norm: .* 'freeze_bn'"
    ):
        make_plan(project.experiment(), project.runs)
    content = copy.deepcopy(METHODS["cam"])
    content["bench"]["paper"][0]["product"] = "refined"
    project.write("configs/methods/cam.yaml", content)
    with pytest.raises(
        ConfigError, match=r"bench\.paper\[0\]\.product: the value 'refined' is now 'pseudo_mask'"
    ):
        make_plan(project.experiment(), project.runs)


def test_in_a_data_set_and_a_refiner(project):
    project.write("configs/refine/threshold.yaml", {"refiner": {"class_path": "a.B"}, "labels": {}})
    with pytest.raises(ConfigError, match=r"threshold\.yaml: labels: this key is now 'affinity_labels'"):
        make_plan(project.experiment(), project.runs)
    content = copy.deepcopy(DATA)
    content["data"]["source"]["class_path"] = "wsss_bench.data.sources.pool.Pool"
    project.write("configs/data/toy.yaml", content)
    with pytest.raises(
        ConfigError, match=r"data\.source\.class_path: the class .*Pool is now .*CombinedSource"
    ):
        make_plan(project.experiment(), project.runs)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--model", OLD_CLASS], f"--model: the class {OLD_CLASS} is now {NEW_CLASS}"),
        ([f"--model.class_path={OLD_CLASS}"], f"--model.class_path: the class {OLD_CLASS} is now"),
        (["--data.extra", "{}"], "--data.extra: this key is now 'extra_images'"),
        (["--model.init_args", "{joint_from: 3}"], "--model.init_args.joint_from: this key is now"),
    ],
)
def test_on_a_command_line(words, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        refuse_renamed(words)


def test_files_that_cannot_be_read_are_left_to_the_parser(tmp_path):
    broken = tmp_path / "broken.yaml"
    broken.write_text("a: [")
    refuse_renamed(["--config", str(broken), "--config", str(tmp_path / "absent.yaml"), "--help"])


@pytest.mark.parametrize(
    ("command", "content", "message"),
    [
        ("fit", OLD_MODEL, f"model.class_path: the class {OLD_CLASS} is now {NEW_CLASS}"),
        ("predict", OLD_ARGUMENT, "model.init_args.fixed_batch_norm: this key is now 'freeze_bn'"),
        ("refine", {"stage": {"label": "x"}}, "stage.label: this key is now 'title'"),
        ("evaluate", {"labels": "given"}, "labels: this key is now 'image_labels'"),
        ("evaluate", {"product": "refined"}, "product: the value 'refined' is now 'pseudo_mask'"),
    ],
)
def test_in_the_configuration_of_a_stage(command, content, message, tmp_path, capsys):
    from wsss_bench.stages.check import check

    file = tmp_path / "old.yaml"
    file.write_text(yaml.safe_dump(content))
    assert main([command, "--config", str(file)]) == 1
    assert f"{file}: {message}" in capsys.readouterr().err
    with pytest.raises(ValueError, match=re.escape(message)):
        check(command, content)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"inference": {"output_stride": 16}}, "inference.output_stride: this key is gone"),
        ({"bench": {"paper": [{"post": "crf"}]}}, "readout"),
        ({"override": {"cam": {"bench": {"paper": [{"scales": "ms"}]}}}}, "readout"),
    ],
)
def test_keys_without_a_successor_are_refused(content, message):
    assert message in find_renamed(content)


@pytest.mark.slow  # imports torch
@pytest.mark.parametrize("command", ["fit", "predict", "refine", "evaluate"])
def test_a_stage_without_arguments_says_what_it_needs(command, capsys):
    assert main([command]) == 1
    assert "required" in capsys.readouterr().err
