"""The examples in docstrings of the package say what comes out."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from doctest import DocTestParser, DocTestRunner
from importlib import import_module
from pathlib import Path

import paths
import pytest

SOURCE = paths.ROOT / "src"
PROMPT = ">>> "


def examples(path: Path) -> Iterator[tuple[str, str, int]]:
    """Name, docstring and line of each function or class of a module that has examples.

    They are read from the source, as `doctest` itself passes by functions that a decorator has replaced.
    """
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, (ast.FunctionDef, ast.ClassDef, ast.Module)):
            text = ast.get_docstring(node) or ""
            if PROMPT in text:
                yield getattr(node, "name", path.stem), text, getattr(node, "lineno", 1)


EXAMPLES = [
    (path.relative_to(SOURCE).as_posix(), *found)
    for path in sorted((SOURCE / "wsss_bench").rglob("*.py"))
    if PROMPT in path.read_text()
    for found in examples(path)
]


def run(module: str, name: str, text: str, line: int) -> str:
    """Run the examples of a docstring with the names of its module; what differs is returned."""
    names = dict(vars(import_module(module)))
    said: list[str] = []
    test = DocTestParser().get_doctest(text, names, name, module, line)
    DocTestRunner(verbose=False).run(test, out=said.append)
    return "".join(said)


@pytest.mark.slow  # imports torch
@pytest.mark.parametrize(("file", "name", "text", "line"), EXAMPLES, ids=[f"{e[0]}:{e[1]}" for e in EXAMPLES])
def test_an_example_gives_what_it_shows(file, name, text, line):
    module = file.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
    assert not run(module, name, text, line)


def test_all_examples_are_found():
    shown = sum(path.read_text().count(f" {PROMPT}") for path in (SOURCE / "wsss_bench").rglob("*.py"))
    assert sum(text.count(PROMPT) for _, _, text, _ in EXAMPLES) == shown
    assert len(EXAMPLES) >= 30


def test_a_wrong_example_is_found():
    wrong = ">>> check_range('share', 0.5, 0, 1)\n0.5\n"
    assert "Expected:\n    0.5" in run("wsss_bench.ranges", "check_range", wrong, 1)
    assert "NameError" in run("wsss_bench.ranges", "check_range", ">>> chek_range(1)\n", 1)
