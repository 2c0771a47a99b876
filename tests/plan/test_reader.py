"""Every YAML file of an experiment is read once, and the plan is computed from what was read."""

from __future__ import annotations

import shutil
import sys
from collections import Counter
from pathlib import Path

import paths
import pytest

from wsss_bench.plan.plan import StageFolder
from wsss_bench.plan.planner import make_plan, plan_experiment
from wsss_bench.plan.reader import read_configs, read_files

OPENED: list[Counter[str]] = []
"""The counters that are counting at the moment; an audit hook cannot be removed."""


def count_opened_yaml(event: str, arguments: tuple) -> None:
    if OPENED and event == "open" and str(arguments[0]).endswith(".yaml"):
        for counter in OPENED:
            counter[str(Path(arguments[0]).resolve())] += 1


sys.addaudithook(count_opened_yaml)


@pytest.fixture
def opened():
    counter: Counter[str] = Counter()
    OPENED.append(counter)
    yield counter
    OPENED.remove(counter)


@pytest.mark.parametrize("name", ["openvocab", "mini_settings"])
def test_each_file_is_read_at_most_once(name, opened, tmp_path):
    file = paths.ROOT / "experiments" / f"{name}.yaml"
    make_plan(file, tmp_path)
    assert opened[str(file)] == 1
    assert len(opened) > 10
    assert set(opened.values()) == {1}


def test_the_plan_needs_no_file_after_reading(project):
    project.write("configs/methods/cam.toy.yaml", {"bench": {"threshold": 0.4}})
    file = project.experiment(methods=["cam", "clims", "zero"], random_seeds=[0, 1])
    expected = make_plan(file, project.runs)
    files, folder = read_files(file), StageFolder(project.runs)
    shutil.rmtree(project.root)
    plan = plan_experiment(files, folder, frozenset())
    assert (plan.stages, plan.products) == (expected.stages, expected.products)


def test_files_that_no_row_needs_are_not_read(project):
    project.write("configs/methods/full.yaml", "not: [yaml")
    project.write("configs/methods/cam.elsewhere.yaml", "not: [yaml")
    assert make_plan(project.experiment(methods=["cam"]), project.runs).stages


@pytest.mark.parametrize("place", ["file", "overlay", "override", "variant"])
def test_the_method_behind_a_warm_start_is_read_too(project, place):
    start = {"bench": {"warm_start": "cam"}}
    changes = {
        "file": {"methods": ["clims"]},
        "overlay": {"methods": ["full"]},
        "override": {"methods": ["full"], "override": {"full": start}},
        "variant": {"methods": ["full"], "variants": {"warm": {"method": "full", "override": start}}},
    }
    if place == "overlay":
        project.write("configs/methods/full.toy.yaml", start)
    plan = make_plan(project.experiment(**changes[place]), project.runs)
    assert "cam-toy-s0" in [stage.title for stage in plan.stages.values() if stage.kind == "train"]


def test_a_whole_folder_can_be_read(project):
    configs = read_configs(project.root / "configs")
    assert configs.names("refine") == ["threshold"]
    assert configs.contents.keys() == configs.listed.keys()
