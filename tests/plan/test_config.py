"""Every kind of YAML file is checked: unknown keys and wrong values are refused with a helpful message."""

from __future__ import annotations

import copy
from pathlib import Path

import paths
import pytest
import yaml
from project import DATA, METHODS

from wsss_bench.plan.planner import make_plan
from wsss_bench.plan.reader import read_configs, read_experiment
from wsss_bench.plan.schema import ConfigError
from wsss_bench.plan.yaml_files import merge, read_yaml


def test_merge_joins_mappings_and_replaces_lists():
    base = {"a": {"x": 1, "y": [1, 2]}, "b": 1}
    assert merge(base, {"a": {"y": [3]}, "c": {"z": 0}}) == {"a": {"x": 1, "y": [3]}, "b": 1, "c": {"z": 0}}
    assert base == {"a": {"x": 1, "y": [1, 2]}, "b": 1}


def test_overlay_of_the_data_set_wins(project):
    project.write("configs/methods/cam.toy.yaml", {"trainer": {"max_epochs": 2}, "bench": {"threshold": 0.4}})
    folder = read_configs(project.root / "configs")
    method = folder.method("cam", "toy", {"devices": 1})
    assert method.trainer == {"max_epochs": 2, "devices": 1}
    assert (method.bench.threshold, method.bench.backbone) == (0.4, "R50")
    assert folder.methods() == ["cam", "clims", "full", "zero"]


def test_a_data_set_may_take_the_overlays_of_another(project):
    project.write("configs/methods/cam.toy.yaml", {"bench": {"threshold": 0.4}})
    project.write("configs/data/twin.yaml", changed(DATA, "protocol.dataset", "twin"))
    root = project.root / "configs"
    assert read_configs(root).method("cam", "twin", {}).bench.threshold == 0.15
    project.write("configs/data/twin.yaml", changed(DATA, "protocol.overlay", "toy"))
    assert read_configs(root).method("cam", "twin", {}).bench.threshold == 0.4


def test_numbers_without_a_dot_are_numbers(project):
    path = project.write("a.yaml", "lr: 1e-4\nn: 3\nx: -2.5E+3\nname: e5\nversion: 1.2.3\n")
    assert read_yaml(path) == {"lr": 1e-4, "n": 3, "x": -2500.0, "name": "e5", "version": "1.2.3"}


def test_a_key_given_twice_is_an_error(project):
    path = project.write("a.yaml", "trainer: {max_epochs: 1}\ndata: {}\ntrainer: {}\n")
    with pytest.raises(ConfigError, match=r"a\.yaml: line 3: key 'trainer' is given twice"):
        read_yaml(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [1,", "is not valid YAML"),
        ("- a", "expected a mapping of keys to values; got list"),
        ("", r"a\.yaml is empty; write"),
        ("# nothing yet\n", r"a\.yaml is empty; write"),
    ],
)
def test_files_that_are_not_mappings_are_refused(project, text, message):
    with pytest.raises(ConfigError, match=message):
        read_yaml(project.write("a.yaml", text))


def changed(content: dict, path: str, value: object) -> dict:
    content = copy.deepcopy(content)
    *parents, last = path.split(".")
    at = content
    for name in parents:
        at = at[name]
    at[last] = value
    return content


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("benchh", {}, "benchh: unknown key; did you mean 'bench'"),
        ("bench.treshold", 0.1, "bench.treshold: unknown key; did you mean 'threshold'"),
        ("bench.threshold", "0.1x", r"bench.threshold: expected a number; got '0.1x' \(str\)"),
        ("bench.pipeline", "multistage", "unknown value 'multistage'; did you mean 'multi_stage'"),
        ("bench.extra", ["salience"], r"bench.extra\[0\]: unknown value 'salience'; did you mean 'saliency'"),
        ("bench.extra", "clip", r"bench.extra: expected a list of one of .*; got 'clip' \(str\)"),
        ("bench.paper", [{"dataset": "toy"}], r"bench.paper\[0\]: missing key 'split'"),
        ("bench.trains", 1, r"bench.trains: expected true or false; got 1 \(int\)"),
        ("model", "CAM", "model: expected a mapping of class_path, init_args"),
        ("model.init_arg", {}, "model.init_arg: unknown key; did you mean 'init_args'"),
        ("data", None, "data: expected a mapping; got None"),
    ],
)
def test_typos_in_a_method(project, path, value, message):
    project.write("configs/methods/cam.yaml", changed(METHODS["cam"], path, value))
    with pytest.raises(ConfigError, match=f"configs/methods/cam.yaml: .*{message}"):
        make_plan(project.experiment(), project.runs)


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("protocol.holdouts", 1, "protocol.holdouts: unknown key; did you mean 'holdout'"),
        ("protocol.counts", {"train": "ten"}, "protocol.counts.train: expected a whole number; got 'ten'"),
        ("protocol.counts", {"train": 10}, "protocol.counts: no count for split 'val'"),
        ("protocol.crf", {"gaussian": 1}, r"protocol.crf.gaussian: unknown key; did you mean 'gaussian_sxy'"),
        ("protocol.crf", {"iterations": -1}, r"protocol.crf.iterations is -1"),
        ("protocol.scales", [1, "big"], r"protocol.scales\[1\]: expected a number"),
        ("data.source", None, "data.source: expected a mapping of class_path, init_args; got None"),
    ],
)
def test_typos_in_a_data_set(project, path, value, message):
    project.write("configs/data/toy.yaml", changed(DATA, path, value))
    with pytest.raises(ConfigError, match=f"configs/data/toy.yaml: {message}"):
        make_plan(project.experiment(), project.runs)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"metods": ["cam"]}, "metods: unknown key; did you mean 'methods'"),
        ({"methods": "cam"}, r'methods: expected a list of methods or "\*"'),
        ({"methods": []}, "methods: expected at least one"),
        ({"methods": ["cam", "cam"]}, "names one twice"),
        ({"methods": ["camm"]}, r"camm.yaml does not exist; did you mean 'cam'"),
        ({"random_seeds": ["0"]}, r"random_seeds\[0\]: expected a whole number; got '0'"),
        ({"data": ["toi"]}, r"toi.yaml does not exist; did you mean 'toy'"),
        ({"refiners": ["tresh"]}, "tresh.yaml does not exist"),
        ({"trainer": "gpuu"}, "gpuu.yaml does not exist"),
        ({"jobs": "two"}, "jobs: expected a whole number"),
        ({"override": {"zer": {}}}, "override.zer: not a method of this experiment; did you mean 'zero'"),
        ({"override": {"cam": {"trainr": {}}}}, "override.cam.trainr: unknown key; did you mean 'trainer'"),
        ({"override": {"cam": {"trainer": 3}}}, "override.cam.trainer: expected a mapping; got 3"),
        ({"variants": {"cam": {"method": "cam"}}}, "variants.cam: a method has this name"),
        ({"variants": {"x": {"methd": "cam"}}}, "variants.x.methd: unknown key; did you mean 'method'"),
        (
            {"variants": {"x": {"method": "cam", "override": {"modl": {}}}}},
            "variants.x.override.modl: unknown key",
        ),
    ],
)
def test_typos_in_an_experiment(project, changes, message):
    file = project.experiment(**changes)
    with pytest.raises(ConfigError, match=message):
        make_plan(file, project.runs)


def test_other_files_are_strict_too(project):
    project.write("configs/trainer/cpu.yaml", {"trainr": {}})
    with pytest.raises(ConfigError, match=r"cpu.yaml: trainr: unknown key; did you mean 'trainer'"):
        make_plan(project.experiment(), project.runs)
    project.write("configs/trainer/cpu.yaml", {"trainer": {}})
    project.write("configs/refine/threshold.toy.yaml", {"refiner": {"init_arg": {}}})
    with pytest.raises(
        ConfigError, match=r"threshold.yaml with threshold.toy.yaml: refiner.init_arg: unknown key"
    ):
        make_plan(project.experiment(), project.runs)


def test_a_missing_experiment_is_named(project):
    with pytest.raises(ConfigError, match=r"nowhere\.yaml cannot be read"):
        read_experiment(project.root / "nowhere.yaml")


def test_a_broken_warm_start_is_named(project):
    project.write("configs/methods/clims.yaml", changed(METHODS["clims"], "bench.warm_start", "zero"))
    with pytest.raises(ConfigError, match=r"bench\.warm_start: zero has no train stage"):
        make_plan(project.experiment(methods=["clims"]), project.runs)
    project.write("configs/methods/clims.yaml", changed(METHODS["clims"], "bench.warm_start", "clims"))
    with pytest.raises(ConfigError, match="leads back to itself"):
        make_plan(project.experiment(methods=["clims"]), project.runs)


def test_shipped_files_are_valid():
    root = paths.ROOT
    for file in sorted((root / "experiments").rglob("*.yaml")):
        assert make_plan(file, Path("/nonexistent")).stages
    for file in sorted((root / "configs" / "trainer").glob("*.yaml")):
        assert "accelerator" in yaml.safe_load(file.read_text())["trainer"]
