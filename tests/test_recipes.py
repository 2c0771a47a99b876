"""Follows docs/recipes.md: writes its files into an empty folder and runs them there."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import paths
import pytest
import yaml

from wsss_bench.contract.checks import CHECKS, run_check
from wsss_bench.contract.configuration import find_method
from wsss_bench.contract.outcome import LeftOut
from wsss_bench.contract.rank_pair import RankPair
from wsss_bench.contract.subject import Subject

pytestmark = pytest.mark.slow

PAGE = (paths.ROOT / "docs" / "recipes.md").read_text()
FILES = dict(re.findall(r"^`([\w./]+)`:\n\n```\w+\n(.*?)```", PAGE, re.DOTALL | re.MULTILINE))
METHODS = [Path(name).stem for name in FILES if name.startswith("configs/methods/")]
STAGES = "stages_run_and_a_checkpoint_brings_the_same_maps_back"  # the bench runs them
ONE_PROCESS = [name for name in CHECKS if name not in (STAGES, "two_ranks")]
SMALL = ["--set", "data.global_batch_size=4", "--set", "trainer.max_epochs=1"]
BENCH = "import sys; from wsss_bench.bench import first_checks; from wsss_bench.cli import main; "
UNCHECKED = "first_checks.check_stages_to_run = lambda *_, **__: None; "
LIGHT = "main(['bench', 'few', *sys.argv[1:]]); sys.exit('torch' in sys.modules)"
PROGRAM = "sys.exit(main(['bench', 'few', *sys.argv[1:]]))"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The files of the page in a folder of their own, and the data `few`, a handful of images."""
    root = tmp_path_factory.mktemp("recipes")
    for name, text in FILES.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    data = yaml.safe_load((paths.CONFIGS / "data" / "mini.yaml").read_text())
    few = {"train_split": "few", "eval_splits": ["val"], "counts": {"few": 4, "val": 16}, "holdout": 0}
    data["protocol"] |= {**few, "prepare": [], "overlay": "mini"}
    data["data"]["val_split"] = None  # `few` is a part of `val`
    (root / "configs" / "data").mkdir()
    (root / "configs" / "data" / "few.yaml").write_text(yaml.safe_dump(data))
    experiment = yaml.safe_load(FILES["experiments/recipes.yaml"])
    experiment |= {"methods": METHODS, "data": ["few"], "refiners": ["median"]}
    (root / "experiments" / "few.yaml").write_text(yaml.safe_dump(experiment))
    return root


@pytest.fixture
def here(folder, monkeypatch):
    monkeypatch.chdir(folder)
    return folder


def bench(program, *arguments):
    environment = {**os.environ, "PYTHONSAFEPATH": "1", "PYTHONPATH": str(paths.ROOT / "src")}
    command = [sys.executable, "-c", BENCH + program, *SMALL, *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True)


def subject_of(name, world):
    path, content = find_method(name)
    return Subject(str(path), content, world)


def applies(check, subject):
    """Run a check that needs no second rank; False if it does not apply to the method."""
    try:
        run_check(check, subject, lambda: pytest.fail(f"{check} starts ranks"))
    except LeftOut:
        return False
    return True


def test_the_page_has_its_recipes():
    assert METHODS == ["ramp", "mean_teacher", "clip_gradcam", "posterized", "two_crops"]
    assert "configs/refine/median.yaml" in FILES


@pytest.mark.parametrize("name", [name for name in METHODS if name != "posterized"])
def test_a_recipe_meets_the_contract(name, here, mini_data):
    subject = subject_of(name, mini_data / "mini")
    met = [check for check in ONE_PROCESS if applies(check, subject)]
    assert len(met) >= (9 if subject.trains else 5)


def test_an_own_view_trains_alike_on_two_ranks(here, mini_data, tmp_path):
    pair = RankPair(tmp_path / "store")  # of its own: it finds modules in the folder in which it starts
    try:
        run_check("two_ranks", subject_of("two_crops", mini_data / "mini"), lambda: pair)
    finally:
        pair.close()


def test_all_recipes_run_in_one_bench(here, mini_data):
    done = bench(UNCHECKED + PROGRAM)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    (table,) = here.glob("runs/few-set-*/leaderboard.md")
    for name in METHODS:
        assert name in table.read_text()
    assert "median" in table.read_text()
    code = (here / "two_crops.py").read_text()
    try:
        (here / "two_crops.py").write_text(code.replace("purpose in (0, 1)", "purpose in (1, 0)"))
        changed = bench(UNCHECKED + LIGHT, "--dry-run")
    finally:
        (here / "two_crops.py").write_text(code)
    assert changed.returncode == 0, "a plan imports torch"
    assert "code changed: two_crops" in changed.stdout
