"""`wsss-bench new-method`: what it writes runs as it is, and nothing is overwritten."""

from __future__ import annotations

import sys
from pathlib import Path

import paths
import pytest
import yaml

from wsss_bench.cli import main
from wsss_bench.new_method.files import method_files
from wsss_bench.plan.planner import make_plan
from wsss_bench.plan.reader import read_configs

SHIPPED = read_configs(paths.CONFIGS)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty working directory; modules that are imported from it are forgotten afterwards."""
    monkeypatch.chdir(tmp_path)
    known = set(sys.modules)
    yield tmp_path
    for name in sys.modules.keys() - known:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(tmp_path)):
            del sys.modules[name]


def written() -> set[str]:
    return {str(path) for path in Path().rglob("*") if path.is_file()}


@pytest.mark.slow
@pytest.mark.parametrize("like", [None, "cam"])
def test_a_new_method_trains_as_it_is(folder, mini_data, like):
    name = f"trial_{like or 'alone'}"
    assert main(["new-method", name, *(["--like", like] if like else [])]) == 0
    files = [f"configs/methods/{name}{overlay}.yaml" for overlay in (["", ".mini"] if like else [""])]
    few = ["--data.train_split=few_train", "--data.global_batch_size=4", "--trainer.max_steps=2"]
    configs = [word for file in [*files, "configs/data/mini.yaml"] for word in ("--config", file)]
    options = ["--trainer.accelerator=cpu", "--trainer.limit_val_batches=0", "--out", "out"]
    assert main(["fit", *configs, *few, *options]) == 0
    assert (folder / "out" / "checkpoints" / "last.ckpt").is_file()


@pytest.mark.parametrize("like", SHIPPED.methods())
def test_each_shipped_method_can_be_begun_from(folder, like, capsys):
    assert main(["new-method", "mine", "--like", like]) == 0
    overlays = [Path(key).name for key in SHIPPED.listed if key.partition(".")[0] == f"methods/{like}"]
    expected = {f"configs/methods/{file.replace(like, 'mine', 1)}" for file in overlays}
    assert written() == {"mine.py", *expected}
    experiment = capsys.readouterr().out.partition("wsss-bench bench ")[2].split()[0]
    plan = make_plan(Path(experiment), folder / "runs", methods=["mine"])
    cell = plan.products[0].cell
    theirs = SHIPPED.method(like, cell.dataset, {})
    assert cell.content.model.class_path == "mine.Mine"
    assert cell.content.model.init_args == theirs.model.init_args
    assert cell.content.inference == theirs.inference
    assert not cell.content.bench.paper
    assert not cell.content.bench.remark


def test_a_checkout_gets_the_python_file_into_the_package(folder):
    Path("src/wsss_bench/methods").mkdir(parents=True)
    assert main(["new-method", "my_cam"]) == 0
    assert written() == {"src/wsss_bench/methods/my_cam.py", "configs/methods/my_cam.yaml"}
    content = yaml.safe_load(Path("configs/methods/my_cam.yaml").read_text())
    assert content["model"]["class_path"] == "wsss_bench.methods.my_cam.MyCam"


def test_another_folder_and_what_to_run_there(folder, capsys):
    assert main(["new-method", "foo", "--into", "a b/c"]) == 0
    assert written() == {"a b/c/foo.py", "a b/c/configs/methods/foo.yaml"}
    assert "next: cd 'a b/c' && wsss-bench bench mini --methods foo" in capsys.readouterr().out


@pytest.mark.parametrize(
    "file",
    ["foo.py", "foo/__init__.py", "configs/methods/foo.yaml", "configs/methods/foo.voc.yaml"],
)
def test_nothing_is_overwritten_or_joined(folder, file, capsys):
    Path(file).parent.mkdir(parents=True, exist_ok=True)
    Path(file).write_text("mine")
    assert main(["new-method", "foo"]) == 1
    assert f"{file} exists already; nothing is written" in capsys.readouterr().err
    assert written() == {file}
    assert Path(file).read_text() == "mine"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["my-cam"], "cannot be the name of a Python module"),
        (["cam.mini"], "cannot be the name of a Python module"),
        (["../foo"], "cannot be the name of a Python module"),
        (["lambda"], "cannot be the name of a Python module"),
        (["größe"], "cannot be the name of a Python module"),
        (["_"], "cannot be the name of a Python module"),
        (["clims"], "there is a method 'clims' already, configs/methods/clims.yaml"),
        (["ToCo"], "there is a method 'ToCo' already, configs/methods/toco.yaml"),
        (["torch"], "is an installed Python module"),
        (["random"], "is an installed Python module"),
        (["data"], "has a meaning of its own"),
        (["changed"], "has a meaning of its own"),
        (["method"], "would make a class Method, which it imports"),
        (["CoDe", "--like", "codecomp"], "would make a class CoDe, which it imports"),
        (["foo", "--like", "clim"], "no shipped method 'clim'; did you mean 'clims'"),
        (["foo", "--like", ""], "no shipped method ''; known: cam"),
    ],
)
def test_names_that_cannot_be(folder, words, message, capsys):
    assert main(["new-method", *words]) == 1
    assert message in capsys.readouterr().err
    assert written() == set()


def test_comments_of_a_copy_stay():
    def comments(text: str) -> list[str]:
        return [line for line in text.splitlines() if line.lstrip().startswith("#")]

    files = method_files("mine", "dalnet", Path("nowhere"), SHIPPED)
    copied = comments(files[Path("nowhere/configs/methods/mine.yaml")])
    original = comments((paths.CONFIGS / "methods" / "dalnet.yaml").read_text())
    assert original
    assert copied == ["# Mine. What follows was written for dalnet.", *original]
