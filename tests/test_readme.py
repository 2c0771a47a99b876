"""The README is short, and its code does what it says."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import paths
import pytest
import torch
import yaml

from wsss_bench.cli import main
from wsss_bench.types import ImageBatch

README = (paths.ROOT / "README.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


def test_it_has_at_most_700_words():
    assert len(README.split()) <= 700


def test_the_method_of_the_page_trains():
    """With the settings of CAM on the mini world; its loss is not CAM's."""
    (code,) = (block for block in BLOCKS if "class Foo(CAM)" in block)
    names: dict = {}
    exec(code, names)
    settings = yaml.safe_load((paths.CONFIGS / "methods" / "cam.mini.yaml").read_text())["model"]["init_args"]
    settings.pop("optim")
    torch.manual_seed(0)  # new layers are random too
    methods = [kind(["cat", "dog"], **settings) for kind in (names["Foo"], names["CAM"])]
    methods[1].load_state_dict(methods[0].state_dict())
    batch = ImageBatch(
        image=torch.rand(2, 3, 32, 32),
        labels=torch.eye(2),
        image_ids=["a", "b"],
        valid=torch.ones(2, 32, 32, dtype=torch.bool),
    )
    new, old = (sum(method.eval().training_loss(batch).values()) for method in methods)
    assert torch.isfinite(new)
    assert abs(new - old) > 1e-4
    new.backward()
    assert any(parameter.grad is not None and parameter.grad.any() for parameter in methods[0].parameters())


@pytest.mark.slow
def test_the_method_of_the_page_meets_the_contract(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["new-method", "foo", "--like", "cam"]) == 0
    (code,) = (block for block in BLOCKS if "class Foo(CAM)" in block)
    (tmp_path / "foo.py").write_text(code)
    assert run_contract() == 0, capsys.readouterr().out


def run_contract():
    """In a process of its own, which imports `foo`."""
    words = [sys.executable, "-m", "wsss_bench", "contract", "configs/methods/foo.yaml"]
    return subprocess.run(words, env={**os.environ, "PYTHONPATH": str(paths.ROOT / "src")}).returncode


def test_every_data_set_that_it_names_has_a_file():
    table = README[README.index("| data |") : README.index("make prepare")]
    names = {name for line in table.splitlines()[2:] for name in re.findall(r"`(\w+)`", line)}
    assert {"voc", "coco", "mini"} <= names
    for name in names:
        assert Path(paths.CONFIGS / "data" / f"{name}.yaml").is_file(), name
