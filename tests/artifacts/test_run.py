"""What a stage records about the code that made it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from wsss_bench.artifacts import run
from wsss_bench.artifacts.files import read_manifest
from wsss_bench.artifacts.run import StageInfo, open_stage
from wsss_bench.artifacts.source_code import SourceCode, roots_of
from wsss_bench.artifacts.stage_files import MIXED


def git(folder: Path, *arguments: str) -> str:
    names = ("-c", "user.name=a", "-c", "user.email=a@b")
    done = subprocess.run(["git", *names, *arguments], cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_the_commit_is_marked_where_any_file_of_the_package_has_changed(tmp_path, monkeypatch):
    package = tmp_path / "src" / "package"
    for name in ("artifacts/run.py", "nn/resnet.py", "../../README.md"):
        (package / name).parent.mkdir(parents=True, exist_ok=True)
        (package / name).write_text("")

    git(tmp_path, "init")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-m", "one")
    monkeypatch.setattr(run, "__file__", str(package / "artifacts" / "run.py"))
    head = git(tmp_path, "rev-parse", "--short=12", "HEAD")
    assert run.commit.__wrapped__() == head
    (tmp_path / "README.md").write_text("changed")  # not part of the package
    assert run.commit.__wrapped__() == head
    (package / "nn" / "resnet.py").write_text("changed")
    assert run.commit.__wrapped__() == f"{head}+"


def test_there_is_no_commit_outside_a_checkout(tmp_path, monkeypatch):
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    monkeypatch.setattr(run, "__file__", str(tmp_path / "package" / "artifacts" / "run.py"))
    (tmp_path / "package").mkdir()
    assert run.commit.__wrapped__() == ""
    git(tmp_path, "init")  # of a project with an environment in it
    git(tmp_path, "commit", "--allow-empty", "-m", "one")
    assert run.commit.__wrapped__() == ""


def test_a_change_of_the_configurations_or_of_an_own_module_is_a_local_change(tmp_path, monkeypatch):
    package, configs, own = tmp_path / "src" / "package", tmp_path / "configs", tmp_path / "own.py"
    for path in (package / "artifacts" / "run.py", configs / "methods" / "cam.yaml", own):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")
    git(tmp_path, "init")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-m", "one")
    monkeypatch.setattr(run, "__file__", str(package / "artifacts" / "run.py"))
    head = git(tmp_path, "rev-parse", "--short=12", "HEAD")
    assert run.commit.__wrapped__() == head == run.mark_local_changes(head, [own])
    own.write_text("changed")
    assert run.mark_local_changes(head, [own]) == f"{head}+" == run.mark_local_changes(f"{head}+", [own])
    assert run.mark_local_changes("", [own]) == ""
    outside = tmp_path.parent / f"{tmp_path.name}-outside.py"
    outside.write_text("")
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert run.mark_local_changes(head, [outside]) == f"{head}+"  # in no checkout
    (configs / "methods" / "mine.yaml").write_text("new")
    assert run.commit.__wrapped__() == f"{head}+"


OWN = {"model": {"class_path": "own_method_of_test_run.Method"}}


@pytest.fixture
def own_module(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(run, "loaded_code", SourceCode)  # a process of its own for each stage
    monkeypatch.setattr(run, "roots_of", lambda command, config: roots_of(command, config)[1:])  # faster
    path = tmp_path / "own_method_of_test_run.py"
    path.write_text("class Method: pass\n")
    return path


def modules_of(stage) -> dict[str, str]:
    return read_manifest(stage)["code"]["modules"]


def test_a_stage_records_the_code_that_it_began_with(own_module, tmp_path):
    with open_stage(tmp_path / "out", "train", OWN, StageInfo()):
        own_module.write_text("class Method: changed = True\n")
    found = modules_of(tmp_path / "out")
    assert found["own_method_of_test_run"] != SourceCode().digests(["own_method_of_test_run"])


@pytest.mark.parametrize(("left", "mixed"), [("checkpoints/last.ckpt", True), ("config.yaml", False)])
def test_a_stage_that_goes_on_with_other_code_says_so(own_module, tmp_path, left, mixed, capsys):
    """What an attempt without results ran is of no importance: it failed, and was mended."""
    out = tmp_path / "out"

    def attempt(killed: bool) -> None:
        with open_stage(out, "train", OWN, StageInfo()):
            (out / left).parent.mkdir(exist_ok=True)
            (out / left).write_text("")
            if killed:
                raise RuntimeError("killed")

    with pytest.raises(RuntimeError, match="killed"):
        attempt(killed=True)
    own_module.write_text("class Method: changed = True\n")
    attempt(killed=False)
    assert (modules_of(out)["own_method_of_test_run"] == MIXED) == mixed
    assert ("goes on with what has changed since it began: own_method" in capsys.readouterr().out) == mixed
