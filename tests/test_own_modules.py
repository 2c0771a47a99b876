"""What is imported from the working directory: modules that a configuration names, and nothing else."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path

import pytest

from wsss_bench.own_modules import admit

OWN = "from wsss_bench.data.sources.voc import VOC\n\n\nclass Mine(VOC):\n    pass\n"
PLANTED = "raise SystemExit('a planted module was run')\n"
CONFIG = "data:\n  source: {class_path: my_data.Mine, init_args: {root: ROOT, vocabulary: mini}}\n"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working directory with an own module and planted ones."""
    for name in ("torch", "yaml", "typing", "contextlib", "socket", "cv2", "apex"):
        (tmp_path / f"{name}.py").write_text(PLANTED)
    (tmp_path / "my_data.py").write_text(OWN)
    (tmp_path / "other_data.py").write_text(PLANTED)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "my_data", raising=False)
    return tmp_path


def test_a_named_module_is_found_and_another_is_not(folder):
    admit({"data": {"source": [{"class_path": "my_data.Mine"}]}})
    assert importlib.import_module("my_data").__file__ == str(folder / "my_data.py")
    for name in ("other_data", "apex"):
        with pytest.raises(ModuleNotFoundError):
            importlib.import_module(name)


def test_an_installed_module_wins(folder, monkeypatch):
    monkeypatch.delitem(sys.modules, "csv")
    admit({"model": "csv.Mine"})
    (folder / "csv.py").write_text(PLANTED)
    assert Path(importlib.import_module("csv").__file__).parent != folder


@pytest.mark.slow  # a cold start, which is what is tested
@pytest.mark.skipif(sys.version_info < (3, 11), reason="Python 3.10 has no option to keep the folder out")
def test_a_command_runs_nothing_that_is_planted_and_finds_the_named_module(folder, voc_root):
    protocol = (
        "protocol: {dataset: toy, counts: {train: 10, val: 5}, train_split: train, eval_splits: [val]}\n"
    )
    (folder / "data.yaml").write_text(CONFIG.replace("ROOT", str(voc_root)) + protocol)
    start = "import sys; from wsss_bench.cli import main; sys.exit(main())"  # as the console script does
    command = [sys.executable, "-P", "-c", start]
    result = subprocess.run(
        [*command, "data", "check", "--config", "data.yaml"], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    assert "no problems" in result.stdout
