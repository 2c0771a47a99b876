"""What is imported from the working directory: modules that a configuration names, and nothing else."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path

import pytest

from wsss_bench.cli import main
from wsss_bench.own_modules import admit, import_classes

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


def test_a_named_module_is_found_while_the_parser_reads_a_file_elsewhere(
    folder, tmp_path_factory, monkeypatch
):
    admit({"trainer": {"plugins": [{"class_path": "my_data.Mine"}]}})
    monkeypatch.chdir(tmp_path_factory.mktemp("stage"))
    assert importlib.import_module("my_data").__file__ == str(folder / "my_data.py")


def test_an_installed_module_wins(folder, monkeypatch):
    monkeypatch.delitem(sys.modules, "csv")
    admit({"model": "csv.Mine"})
    (folder / "csv.py").write_text(PLANTED)
    assert Path(importlib.import_module("csv").__file__).parent != folder


BROKEN = [
    (
        "import math\n\nx = math.nope\n",
        "line 3: AttributeError: module 'math' has no attribute 'nope'; correct",
    ),
    ("def f(:\n    pass\n", "line 1: SyntaxError: invalid syntax; correct this line"),
    ("if True:\nx = 1\n", "line 2: IndentationError: expected an indented block"),
    (
        "\nimport no_such_package_here\n",
        "line 2: ModuleNotFoundError: No module named 'no_such_package_here'; inst",
    ),
    ("from math import nope\n", "line 1: ImportError: cannot import name 'nope' from 'math'"),
    ("import sys\n\nsys.exit('not\\na script')\n", "line 3: SystemExit: not a script; correct"),
    ("import json\n\njson.loads('{')\n", "line 3: JSONDecodeError: Expecting property name"),
    ("def f():\n    raise KeyError('inner')\n\n\nf()\n", "line 2: KeyError: 'inner'"),
]


@pytest.mark.parametrize(("text", "message"), BROKEN)
def test_a_module_that_does_not_import_is_named_with_the_line(folder, text, message):
    (folder / "broken_method.py").write_text(text)
    config = {"trainer": {"callbacks": [{"class_path": "broken_method.Mine"}]}}
    with pytest.raises(ValueError, match=r"broken_method\.Mine cannot be imported: ") as caught:
        import_classes(config)
    assert f"{folder}/broken_method.py, {message}" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_line_may_be_in_another_file_of_an_own_package(folder, monkeypatch):
    (folder / "broken_package").mkdir()
    (folder / "broken_package" / "__init__.py").write_text("from . import inner\n")
    (folder / "broken_package" / "inner.py").write_text("\n\n1 / 0\n")
    with pytest.raises(ValueError, match=r"broken_package/inner\.py, line 3: ZeroDivisionError"):
        import_classes({"class_path": "broken_package.method.Mine"})


def test_absent_modules_and_short_names_are_left_to_the_parser(folder):
    import_classes({"class_path": "no_such_module_here.Mine", "model": {"class_path": "CAM"}})
    import_classes({"text": {"model": "package:mini/clip", "source": "a.b"}})  # no class path


@pytest.mark.slow  # imports torch
@pytest.mark.parametrize(
    ("class_path", "message"),
    [
        (
            "lists_of_mine.Fop",
            "model: {folder}/lists_of_mine.py has no class 'Fop'; did you mean 'Foo'? Known: Foo",
        ),
        (
            "no_such_module_here.Foo",
            "install the module, put it into PYTHONPATH or run the command in its folder",
        ),
    ],
)
def test_a_class_that_does_not_exist(folder, class_path, message, capsys):
    (folder / "lists_of_mine.py").write_text("from pathlib import Path\n\n\nclass Foo:\n    pass\n")
    (folder / "a.yaml").write_text(f"model: {{class_path: {class_path}}}\n")
    assert main(["fit", "--config", "a.yaml", "--out", "out"]) == 1
    error = capsys.readouterr().err
    assert message.format(folder=folder) in error
    assert error.count("\n") == 1


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
