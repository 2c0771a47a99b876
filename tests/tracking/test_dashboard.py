"""The workspace of an experiment, as the JSON that is printed where no server answers."""

from __future__ import annotations

import json
import sys

import pytest

from wsss_bench.cli import main
from wsss_bench.plan.planner import make_plan
from wsss_bench.tracking import dashboard

EXPERIMENT = {"methods": ["cam", "full"], "random_seeds": [0, 1]}


@pytest.fixture
def printed(project, capsys):
    file = project.experiment(**EXPERIMENT)
    assert main(["dashboard", str(file), "--runs", str(project.runs)]) == 0
    said = capsys.readouterr()
    assert "nothing was sent, these are the workspaces: WANDB_MODE is disabled" in said.err
    (workspace,) = json.loads(said.out)
    return workspace


def panels(workspace, heading):
    sections = workspace["spec"]["section"]["panelBankConfig"]["sections"]
    (section,) = [section for section in sections if section["name"] == heading]
    return [(panel["viewType"], panel["config"]) for panel in section["panels"]]


def test_methods_are_compared_by_bars_over_random_seeds(printed):
    bars = {config["metrics"][0]: (kind, config) for kind, config in panels(printed, "Scores")}
    assert list(bars) == [
        *(f"miou/{name}" for name in ("seed_fixed", "seed_heldout", "refined_threshold")),
        *(f"miou/{name}" for name in ("ss_raw", "ss_crf", "ms_raw", "ms_crf", "val_ood/ss_raw")),
    ]
    for kind, config in bars.values():
        assert kind == "Bar Chart"
        assert (config["groupBy"], config["groupAgg"], config["groupArea"]) == (
            "method.value",
            "mean",
            "stddev",
        )
    costs = [config.get("metrics", [None])[0] for _, config in panels(printed, "Cost")]
    assert costs[:3] == ["cost/total_seconds", "cost/train_seconds", "cost/params"]


def test_curves_are_grouped_by_method_and_stage_like_the_runs(printed):
    section = printed["spec"]["section"]
    assert section["settings"]["useRunsTableGroupingInPanels"] is True
    (runs,) = section["runSets"]
    assert [key["name"] for key in runs["grouping"]] == ["method.value", "stage.value"]
    curves = panels(printed, "Curves")
    assert [config["metrics"] for _, config in curves[:2]] == [["train/total"], ["gradient_norm"]]
    assert curves[-1][1]["metricRegex"] == "train/.*"
    assert all(config["xAxis"] == "trainer/global_step" and "groupBy" not in config for _, config in curves)
    ((_, thresholds),) = panels(printed, "Thresholds of seeds")
    assert (thresholds["xAxis"], thresholds["metrics"]) == ("curve/threshold", ["curve/miou"])
    assert [config["mediaKeys"] for _, config in panels(printed, "Images")] == [
        [f"images/{split}"] for split in ("train", "val", "val_ood")
    ]


def test_the_runs_are_those_of_the_plan(printed, project):
    plan = make_plan(project.root / "experiments/toy.yaml", project.runs)
    (runs,) = printed["spec"]["section"]["runSets"]
    ((chosen,),) = [runs["filters"]["filters"]]
    assert (chosen["key"]["name"], chosen["op"]) == ("name", "IN")  # W&B's word for the id
    cells = {f"cell-toy-{row}-toy-s{seed}" for row in ("cam", "full") for seed in (0, 1)}
    assert set(chosen["value"]) == {
        *(stage.path.name for stage in plan.stages.values()),
        *cells,
        "leaderboard-toy",
    }


def test_where_a_server_answers_report_and_workspace_are_saved(project, monkeypatch, capsys):
    from wandb_workspaces.reports.v2 import Report
    from wandb_workspaces.workspaces import Workspace

    saved = []
    monkeypatch.setattr(dashboard, "find_entity", lambda: ("team", ""))
    for kind in (Report, Workspace):
        monkeypatch.setattr(kind, "save", lambda self: saved.append(self) or self)
        monkeypatch.setattr(kind, "url", property(lambda self: f"https://wandb.test/{type(self).__name__}"))
    file = project.experiment(**EXPERIMENT)
    (project.runs / "toy").mkdir(parents=True)
    (project.runs / "toy" / "leaderboard.md").write_text("### Seeds\n")
    assert main(["dashboard", str(file), "--runs", str(project.runs)]) == 0
    assert "workspace of toy: https://wandb.test/Workspace" in capsys.readouterr().out
    report, workspace = saved
    assert (report.entity, workspace.entity) == ("team", "team")
    assert report.blocks[-1].text == "### Seeds\n"
    (grid,) = [block for block in report.blocks if getattr(block, "panels", None)][:1]
    assert "leaderboard-toy" in grid.runsets[0].filters


def test_without_a_login_nothing_is_sent(monkeypatch):
    monkeypatch.delenv("WANDB_MODE")
    monkeypatch.setattr(dashboard, "login_problem", lambda: "no login for x")
    assert dashboard.find_entity() == (None, "no login for x")


def test_a_missing_package_is_named(project, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "wandb_workspaces", None)
    assert main(["dashboard", str(project.experiment()), "--runs", str(project.runs)]) == 1
    assert "pip install 'wandb-workspaces>=0.4'" in capsys.readouterr().err
