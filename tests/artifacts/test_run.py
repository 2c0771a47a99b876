"""What a stage records about the code that made it."""

from __future__ import annotations

import subprocess

from wsss_bench.artifacts import run


def test_the_commit_is_marked_where_any_file_of_the_package_has_changed(tmp_path, monkeypatch):
    package = tmp_path / "src" / "package"
    for name in ("artifacts/run.py", "nn/resnet.py", "../../README.md"):
        (package / name).parent.mkdir(parents=True, exist_ok=True)
        (package / name).write_text("")

    def git(*arguments: str) -> str:
        names = ("-c", "user.name=a", "-c", "user.email=a@b")
        done = subprocess.run(
            ["git", *names, *arguments], cwd=tmp_path, capture_output=True, text=True, check=True
        )
        return done.stdout.strip()

    git("init")
    git("add", ".")
    git("commit", "-m", "one")
    monkeypatch.setattr(run, "__file__", str(package / "artifacts" / "run.py"))
    head = git("rev-parse", "--short=12", "HEAD")
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
