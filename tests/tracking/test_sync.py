"""`wsss-bench sync` lists offline runs and hands them to W&B's own tool."""

from __future__ import annotations

import subprocess
import sys

import pytest

from wsss_bench.artifacts.locks import locked
from wsss_bench.cli import main
from wsss_bench.plan.planner import make_plan
from wsss_bench.tracking import sync


@pytest.fixture
def runs(project, monkeypatch, tmp_path):
    """Runs of two experiments, of which one run is uploaded already; nobody is logged in."""
    for name in ("WANDB_API_KEY", "WANDB_IDENTITY_TOKEN_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    plan = make_plan(project.experiment(methods=["zero"]), project.runs)
    first, second, *_ = plan.stages.values()
    folders = [
        first.path,
        second.path,
        project.runs / "toy",
        project.runs / "stages" / "train-other-x-01234567",
    ]
    for folder in folders:
        run = folder / "wandb" / "offline-run-20260101_000000-x"
        run.mkdir(parents=True)
        (run / "run-x.wandb").touch()
    (second.path / "wandb/offline-run-20260101_000000-x/run-x.wandb.synced").touch()
    return project


def uploaded(monkeypatch) -> list[list[str]]:
    calls: list[list[str]] = []

    def run(command):
        calls.append(command)
        return subprocess.CompletedProcess(command, 3)

    monkeypatch.setattr(sync.subprocess, "run", run)
    return calls


def test_a_dry_run_lists_the_runs_of_an_experiment_and_what_is_missing(runs, monkeypatch, capsys):
    calls = uploaded(monkeypatch)
    arguments = [str(runs.root / "experiments/toy.yaml"), "--runs", str(runs.runs), "--dry-run"]
    assert main(["sync", *arguments]) == 0
    printed = capsys.readouterr().out
    assert "would upload 2 runs of W&B:" in printed
    assert f"{runs.runs}/toy/wandb/offline-run-20260101_000000-x" in printed
    assert "train-other" not in printed
    assert "note: no login for http" in printed
    assert "run `wandb login`, or set WANDB_API_KEY" in printed
    assert calls == []


def test_a_running_stage_is_left_out(runs, monkeypatch, capsys):
    (folder,) = runs.runs.glob("stages/train-other-*")
    with locked(folder, "stage"):
        assert main(["sync", "--runs", str(runs.runs), "--dry-run"]) == 0
    printed = capsys.readouterr().out
    assert f"left out, since these stages are running: {folder.name}" in printed
    assert "would upload 2 runs of W&B:" in printed


def test_without_an_experiment_all_runs_go_to_wandb(runs, monkeypatch):
    calls = uploaded(monkeypatch)
    monkeypatch.setenv("WANDB_API_KEY", "k" * 40)
    assert main(["sync", "--runs", str(runs.runs)]) == 3  # the status of `wandb sync`
    (command,) = calls
    assert command[:4] == [sys.executable, "-m", "wandb", "sync"]
    assert len(command[4:]) == 3
    assert not any("evaluate-zero" in path or "synced" in path for path in command[4:])


def test_without_a_login_nothing_is_tried(runs, monkeypatch, capsys):
    calls = uploaded(monkeypatch)
    monkeypatch.setattr("sys.stdin", open("/dev/null"))  # noqa: SIM115
    assert main(["sync", "--runs", str(runs.runs)]) == 1
    assert "no login for http" in capsys.readouterr().err
    assert calls == []


def test_a_key_in_netrc_is_a_login(runs, tmp_path):
    (tmp_path / "netrc").write_text("machine wandb.test\n  login user\n  password secret\n")
    assert sync.is_logged_in("https://wandb.test/api")
    assert not sync.is_logged_in("https://other.test")


@pytest.mark.parametrize(
    ("mode", "reason"), [("disabled", "WANDB_MODE is disabled here"), ("online", "at the server at once")]
)
def test_no_runs_are_explained(tmp_path, monkeypatch, capsys, mode, reason):
    monkeypatch.setenv("WANDB_MODE", mode)
    assert main(["sync", "--runs", str(tmp_path)]) == 0
    assert reason in capsys.readouterr().out
