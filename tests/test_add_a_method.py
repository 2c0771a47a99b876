"""Follows docs/add_a_method.md: writes its files into a copy of the repository and runs its commands."""

import os
import re
import shutil
import subprocess
import sys

import paths
import pytest

pytestmark = pytest.mark.slow

ROOT = paths.ROOT
PAGE = (ROOT / "docs" / "add_a_method.md").read_text()
MINI_PLAN = """
import sys
from wsss_bench.bench import first_checks
from wsss_bench.cli import main
first_checks.check_stages_to_run = lambda *_, **__: None  # the contract has built the method
sys.exit(main(["bench", "experiments/gwrp.yaml", "--dry-run"]))
"""
VOC_STAGES = """
from pathlib import Path
from wsss_bench.plan.planner import make_plan
from wsss_bench.stages.check import check
stages = make_plan(Path("voc"), Path("runs"), methods=["gwrp"]).stages.values()
for stage in stages:
    check(stage.command, stage.config)  # parsed as on a machine with VOC; nothing is built
train = next(stage.config for stage in stages if stage.kind == "train")
print(len(stages), train["model"]["init_args"]["decay"], train["data"]["transform"]["crop_size"])
"""


def block(kind, marker):
    """The first code block of a kind whose text contains `marker`."""
    found = [text for text in re.findall(rf"```{kind}\n(.*?)```", PAGE, re.DOTALL) if marker in text]
    assert found, f"the page has no {kind} block with {marker!r}"
    return found[0]


def test_the_page_adds_a_method_that_meets_the_contract(tmp_path):
    for name in ("src", "configs", "tests", "experiments"):
        shutil.copytree(
            ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info")
        )
    for name in ("setup.cfg", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path / name)
    (tmp_path / "src/wsss_bench/methods/gwrp.py").write_text(block("python", "class GWRP"))
    (tmp_path / "configs/methods/gwrp.yaml").write_text(block("yaml", "gwrp.GWRP"))
    (tmp_path / "configs/methods/gwrp.mini.yaml").write_text(block("yaml", "package:mini2/resnet.json"))
    (tmp_path / "experiments/gwrp.yaml").write_text(block("yaml", "methods: [cam, gwrp]"))
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "src")}
    command = [
        "-m",
        "pytest",
        "-p",
        "no:cacheprovider",
        "tests/methods/test_contract.py",
        "-k",
        "gwrp and not two_ranks",
    ]
    contract = subprocess.run(
        [sys.executable, *command], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert contract.returncode == 0, contract.stdout[-4000:]
    assert " passed" in contract.stdout
    shown = run(MINI_PLAN, tmp_path, environment)
    assert "gwrp-mini-s0" in shown
    assert run(VOC_STAGES, tmp_path, environment).split() == ["17", "0.996", "512"]


def run(program, folder, environment):
    """What a program prints in the copy of the repository."""
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout
