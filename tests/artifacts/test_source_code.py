"""The code that a stage runs: which edits change its digests, and which modules belong to it."""

from __future__ import annotations

import importlib.util
import shutil
import sys
from importlib.machinery import PathFinder

import paths
import pytest

from wsss_bench.artifacts import source_code
from wsss_bench.artifacts.source_code import ABSENT, SourceCode, changed_digests, roots_of

FILES = {
    "own_pkg/__init__.py": "",
    "own_pkg/method.py": '''"""A method."""

import json
from typing import TYPE_CHECKING

import torch

from . import blocks
from own_pkg.losses.margin import margin
import wsss_bench.readout

if TYPE_CHECKING:
    import own_pkg.only_types

raise RuntimeError("a plan imports nothing")


class Method:
    """Doc."""

    text = """first

    second"""

    def step(self):  # a comment
        from own_pkg import late
        return late.WEIGHT * margin(blocks)
''',
    "own_pkg/blocks.py": "import helper_of_mine\n",
    "own_pkg/late.py": "WEIGHT = 1.0\n",
    "own_pkg/only_types.py": "",
    "own_pkg/other.py": "",
    "own_pkg/prompts.yaml": "a: b\n",
    "own_pkg/losses/__init__.py": "SCALE = 2\n",
    "own_pkg/losses/margin.py": "from importlib import import_module\nimport_module('own_pkg.by_name')\n",
    "own_pkg/by_name.py": "",
    "helper_of_mine.py": "X = 1\n",
}
ROOT = "own_pkg.method.Method"


@pytest.fixture
def own(tmp_path, monkeypatch):
    for name, content in FILES.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def changed(own, name, old, new):
    """Modules that differ after an edit of a file."""
    before = SourceCode().digests([ROOT])
    text = (own / name).read_text()
    assert old in text
    (own / name).write_text(text.replace(old, new))
    return changed_digests(before, SourceCode().digests([ROOT]))


def test_all_own_modules_that_are_imported_belong_to_it_and_no_others(own):
    found = SourceCode().digests([ROOT])
    mine = {name for name in found if not name.startswith("wsss_bench")}
    assert mine == {
        *("own_pkg", "own_pkg.method", "own_pkg.blocks", "own_pkg.late", "own_pkg.losses"),
        *("own_pkg.losses.margin", "own_pkg.by_name", "helper_of_mine", "own_pkg/prompts.yaml"),
    }
    assert {"wsss_bench", "wsss_bench.readout", "wsss_bench.types"} <= set(found)
    assert "own_pkg" not in sys.modules  # found, not imported
    files = SourceCode().files([ROOT])
    assert own / "helper_of_mine.py" in files
    assert not [file for file in files if "wsss_bench" in file.parts]


@pytest.mark.parametrize(
    ("name", "old", "new", "expected"),
    [
        ("own_pkg/method.py", "late.WEIGHT *", "2 * late.WEIGHT *", ["own_pkg.method"]),
        ("own_pkg/method.py", "first\n\n", "first\n", ["own_pkg.method"]),  # a blank line of a text
        ("own_pkg/method.py", "second", "# second", ["own_pkg.method"]),
        ("own_pkg/late.py", "1.0", "2.0", ["own_pkg.late"]),
        ("own_pkg/losses/__init__.py", "2", "3", ["own_pkg.losses"]),
        ("helper_of_mine.py", "1", "2", ["helper_of_mine"]),
        ("own_pkg/prompts.yaml", "b", "c", ["own_pkg/prompts.yaml"]),
        ("own_pkg/by_name.py", "", "pass", ["own_pkg.by_name"]),
        ("own_pkg/late.py", "WEIGHT", "import own_pkg.other\nWEIGHT", ["own_pkg.late", "own_pkg.other"]),
        ("own_pkg/method.py", "  # a comment", "    # another\n\n        # two lines\n", []),
        ("own_pkg/method.py", '"""Doc."""', '"""Other\n\n    words."""\n\n', []),
        ("own_pkg/method.py", "A method.", "The method.", []),
        ("own_pkg/late.py", "WEIGHT", '__version__ = "1.0"\nWEIGHT', []),
        ("own_pkg/late.py", "WEIGHT", "version = 1\nWEIGHT", ["own_pkg.late"]),
        ("own_pkg/only_types.py", "", "pass", []),
        ("own_pkg/other.py", "", "pass", []),
        ("own_pkg/late.py", "WEIGHT", "def broken(:\nWEIGHT", ["own_pkg.late"]),
    ],
)
def test_an_edit_changes_the_module_that_it_is_in(own, name, old, new, expected):
    assert changed(own, name, old, new) == expected


def test_a_file_is_read_once_in_the_life_of_the_object(own):
    code = SourceCode()
    before = code.digests([ROOT])
    (own / "own_pkg/late.py").write_text("WEIGHT = 7.0\n")
    assert code.digests([ROOT]) == before != SourceCode().digests([ROOT])


def test_what_cannot_be_found_is_absent():
    assert SourceCode().digests(["no_such_module_here.Class"]) == {"no_such_module_here.Class": ABSENT}


def test_roots_are_the_command_all_class_paths_and_shipped_weights():
    config = {
        "model": {"class_path": "a.B", "init_args": {"part": [{"class_path": "c.D"}], "class_path": None}},
        "weights": ["package:mini/clip", "mini/clip"],
    }
    assert roots_of("fit", config) == ["wsss_bench.stages.fit", "a.B", "c.D", "package:mini/clip"]


def test_shipped_weights_count_where_they_are_named(tmp_path, monkeypatch):
    shutil.copytree(source_code.ASSETS, tmp_path / "assets")
    monkeypatch.setattr(source_code, "ASSETS", tmp_path / "assets")
    roots = ["package:mini/clip", "package:mini2/resnet.safetensors"]
    before = SourceCode().digests(roots)
    (tmp_path / "assets/mini/clip/tokenizer.json").write_text("{}")
    assert changed_digests(before, SourceCode().digests(roots)) == ["package:mini/clip"]


def test_an_edit_of_the_package_is_seen_by_the_stages_that_import_it(tmp_path, monkeypatch):
    source = paths.ROOT / "src" / "wsss_bench"
    shutil.copytree(source, tmp_path / "wsss_bench", ignore=shutil.ignore_patterns("assets", "__pycache__"))
    spec = PathFinder.find_spec("wsss_bench", [str(tmp_path)])
    real = importlib.util.find_spec
    monkeypatch.setattr(source_code, "find_spec", lambda name: spec if name == "wsss_bench" else real(name))
    roots = {
        command: [f"wsss_bench.stages.{command}", "wsss_bench.methods.cam.CAM"]
        for command in ("fit", "predict", "evaluate")
    }
    before = {command: SourceCode().digests(names) for command, names in roots.items()}
    for name in ("inference.py", "metrics/functional.py", "methods/clims/losses.py"):
        with open(tmp_path / "wsss_bench" / name, "a") as file:
            file.write("\nEDITED = True\n")
    code = SourceCode()
    after = {command: changed_digests(before[command], code.digests(roots[command])) for command in roots}
    assert "wsss_bench.inference" in after["predict"]
    assert "wsss_bench.metrics.functional" in after["evaluate"]
    assert not [name for found in after.values() for name in found if "clims" in name]  # CAM does not use it
