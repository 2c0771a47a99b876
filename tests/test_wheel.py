"""The package from outside of the repository: a wheel, made from the sdist, and a folder with own files."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import paths
import pytest
import yaml

pytestmark = pytest.mark.slow

BUILD = "import sys; from setuptools.build_meta import build_sdist; build_sdist(sys.argv[1])"
PROGRAM = "import sys; from wsss_bench.cli import main; sys.exit(main())"  # as the console script
UNCHECKED = (
    "from wsss_bench.bench import first_checks; first_checks.check_stages_to_run = lambda *_, **__: None; "
)
METHOD = '''
import torch
from wsss_bench.methods.base import Method


class Bright(Method):
    """Calls everything bright the first class."""

    supervision = "none"
    batch_type = None

    def segmentation_logits(self, image):
        logits = torch.zeros(len(image), 1 + len(self.class_names), *image.shape[2:])
        logits[:, 1] = image.mean(dim=1) - 0.5
        return logits
'''
CONFIG = {
    "model": {"class_path": "bright.Bright"},
    "data": {"view": "image", "global_batch_size": 4},
    "bench": {"pipeline": "zero_shot", "trains": False, "supervision": "none", "backbone": "none"},
}


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The unpacked wheel."""
    folder = tmp_path_factory.mktemp("wheel")
    for name in ("src", "configs", "experiments"):
        ignored = shutil.ignore_patterns("__pycache__", "*.egg-info")
        shutil.copytree(paths.ROOT / name, folder / "source" / name, symlinks=True, ignore=ignored)
    for name in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(paths.ROOT / name, folder / "source" / name)
    build = [sys.executable, "-c", BUILD, str(folder)]
    subprocess.run(build, cwd=folder / "source", check=True, capture_output=True)
    (sdist,) = folder.glob("*.tar.gz")
    pip = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "-q", "-w", str(folder)]
    subprocess.run([*pip, str(sdist)], cwd=folder, check=True)
    (built,) = folder.glob("*.whl")
    with zipfile.ZipFile(built) as archive:
        archive.extractall(folder / "unpacked")
    with tarfile.open(sdist) as archive:
        assert any(name.endswith("configs/methods/cam.mini.yaml") for name in archive.getnames())
    return folder / "unpacked"


@pytest.fixture
def run(wheel, mini_data, tmp_path):
    """Runs `wsss-bench` from the wheel in an empty folder."""

    def start(*arguments: str, program: str = PROGRAM) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "PYTHONPATH": str(wheel), "PYTHONSAFEPATH": "1"}
        command = [sys.executable, "-c", program, *arguments]
        return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)

    return start


def test_the_wheel_has_all_configurations_and_experiments(wheel):
    for name in ("configs", "experiments"):
        found = {path.relative_to(wheel / "wsss_bench") for path in (wheel / "wsss_bench" / name).rglob("*")}
        assert found == {path.relative_to(paths.ROOT) for path in (paths.ROOT / name).rglob("*")}


def test_a_shipped_experiment_is_planned_in_an_empty_folder(run, wheel):
    done = run("bench", "mini", "--dry-run", program=UNCHECKED + PROGRAM)
    assert done.returncode == 0, done.stderr
    assert "plan of mini in runs/stages" in done.stdout
    assert "clims-mini-s0" in done.stdout
    assert "in place of" not in done.stdout
    where = run(program="from wsss_bench import shipped; print(shipped.CONFIGS)")
    assert where.stdout.strip() == str(wheel / "wsss_bench" / "configs")


def test_a_method_of_one_python_and_one_yaml_file_runs(run, tmp_path):
    (tmp_path / "bright.py").write_text(METHOD)
    data = yaml.safe_load((paths.CONFIGS / "data" / "mini.yaml").read_text())
    few = {"train_split": "", "eval_splits": ["few"], "counts": {"few": 4}, "prepare": [], "overlay": "mini"}
    data["protocol"] |= few
    for name, content in (("methods/bright", CONFIG), ("data/few", data)):
        path = tmp_path / "configs" / f"{name}.yaml"
        path.parent.mkdir(parents=True)
        path.write_text(yaml.safe_dump(content))
    (tmp_path / "few.yaml").write_text("methods: [bright]\ndata: [few]\nrefiners: []\n")
    done = run("bench", "few")
    assert done.returncode == 0, done.stderr
    assert "bright" in (tmp_path / "runs" / "few" / "leaderboard.md").read_text()

    def states() -> str:
        return run("bench", "few", "--dry-run", program=UNCHECKED + PROGRAM).stdout

    assert "code" not in states()
    (tmp_path / "bright.py").write_text(METHOD.replace("0.5", "0.4"))
    assert "code changed: bright" in states()
