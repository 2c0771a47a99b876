"""`wsss-bench contract` as a user types it."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from paths import CONFIGS

from wsss_bench.cli import main
from wsss_bench.contract import run
from wsss_bench.contract.configuration import find_method
from wsss_bench.plan.yaml_files import read_yaml
from wsss_bench.stages.check import TryOut

pytestmark = pytest.mark.slow

SETTINGS = {
    "data": {"view": "image", "transform": {"kind": "irn", "crop_size": 64}},
    "bench": {"pipeline": "multi_stage", "supervision": "image", "backbone": "own", "threshold": 0.3},
}
FILES = {
    "broken_import": "import torch\nimport does_not_exist_anywhere\n",
    "broken_syntax": "x = 1\ndef f(:\n",
    "own_classes": """
from abc import abstractmethod
from planted import MeanTeacher

class Plain:
    pass

class Abstract(MeanTeacher):
    @abstractmethod
    def neck(self): ...

class Named(MeanTeacher):
    def __init__(self, class_names, kind: str, place: str, base: str):
        super().__init__(class_names)

class Raises(MeanTeacher):
    def __init__(self, class_names):
        {}["missing"]
""",
}


@pytest.fixture
def folder(tmp_path, monkeypatch, mini_data):
    """The working directory, with own modules in it."""
    for name, text in FILES.items():
        (tmp_path / f"{name}.py").write_text(text)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(run, "cached_world", lambda: mini_data / "mini")
    return tmp_path


def write(folder, class_path, **bench):
    content = {**SETTINGS, "model": {"class_path": class_path}, "bench": {**SETTINGS["bench"], **bench}}
    path = folder / "mine.yaml"
    path.write_text(yaml.safe_dump(content))
    return str(path)


@pytest.mark.parametrize(
    ("class_path", "sentence"),
    [
        ("broken_import.X", "broken_import.py, line 2: ModuleNotFoundError: No module named 'does_not_exist"),
        ("broken_syntax.X", "broken_syntax.py, line 2: SyntaxError: invalid syntax"),
        ("nowhere_at_all.X", "cannot be imported (No module named 'nowhere_at_all')"),
        ("own_classes.Missing", "has no attribute 'Missing'"),
        ("own_classes.Plain", "is no method; derive it from"),
        ("own_classes.Abstract", "is abstract; define neck"),
        ("own_classes.Raises", "line 18: KeyError: 'missing'"),
    ],
)
def test_a_class_that_cannot_be_built_is_one_sentence(folder, class_path, sentence, capsys):
    assert main(["contract", write(folder, class_path)]) == 1
    *_, line = capsys.readouterr().err.strip().splitlines()
    assert line.startswith("wsss-bench contract: ")
    assert "mine.yaml" in line
    assert sentence in line


def test_a_line_for_each_check_and_the_exit_status(folder, capsys):
    checks = ["the_file_states_what_the_class_is", "maps_have_the_right_shape_and_range"]
    only = [word for name in checks for word in ("--only", name)]
    assert main(["contract", write(folder, "planted.MeanTeacher"), *only]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:2] for line in lines[1:3]] == [["ok", name] for name in checks]
    assert lines[3].startswith("the method meets the contract (")
    wrong = write(folder, "planted.MeanTeacher", supervision="caption")
    assert main(["contract", wrong, *only]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert "bench.supervision is caption, but MeanTeacher.supervision is image" in lines[1]
    assert lines[3].startswith("1 of 2 checks failed (")


@pytest.mark.parametrize(
    ("deviation", "sentence"),
    [
        ({"two_ranks": {"tolerance": 0.1}}, "missing key 'reason'"),
        ({"two_ranks": {"tolerance": 0.1, "reason": " "}}, "reason is empty"),
        (
            {"two_rank": {"reason": "none"}},
            "bench.contract: there is no check 'two_rank'; did you mean 'two_ranks'?",
        ),
    ],
)
def test_a_deviation_needs_a_reason(folder, deviation, sentence, capsys):
    assert main(["contract", write(folder, "planted.MeanTeacher", contract=deviation)]) == 1
    assert sentence in capsys.readouterr().err


def test_an_overlay_is_that_of_the_bench(folder):
    """Overlays belong to a name: a shipped one lies over an own file in `configs/methods`."""
    (folder / "configs" / "methods").mkdir(parents=True)
    own = folder / "configs" / "methods" / "cam.yaml"
    own.write_text(yaml.safe_dump(read_yaml(CONFIGS / "methods" / "cam.yaml")))
    shipped = find_method(str(CONFIGS / "methods" / "cam.yaml"))[1]
    for given in ("cam", "configs/methods/cam.yaml", str(own)):
        path, content = find_method(given)
        assert path.resolve() == own
        assert content == shipped
    (folder / "cam.yaml").write_text(own.read_text())
    assert find_method(str(folder / "cam.yaml"))[1] != shipped


def test_an_argument_may_have_any_name(folder, capsys):
    """Also one that the functions which build a class use themselves."""
    checks = ["--only", "maps_have_the_right_shape_and_range"]
    file = write(folder, "own_classes.Named")
    content = read_yaml(Path(file))
    content["model"]["init_args"] = {"kind": "a", "place": "b", "base": "c"}
    Path(file).write_text(yaml.safe_dump(content))
    assert main(["contract", file, *checks]) == 0, capsys.readouterr()
    TryOut()._method(SimpleNamespace, kind="a", self="b")


def test_a_name_without_a_file(folder, capsys):
    assert main(["contract", "no_such_method"]) == 1
    assert "there is no methods/no_such_method.yaml; known: cam, " in capsys.readouterr().err
