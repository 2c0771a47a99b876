"""Files and Python names in the inline code and the Python blocks of README and docs exist."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from fnmatch import fnmatch
from pkgutil import resolve_name
from textwrap import dedent

import documented
import paths
import pytest

FOLDERS = ("benchmarks", "configs", "constraints", "docs", "experiments", "notebooks", "src", "tests")
FILES = [
    path.relative_to(paths.ROOT).as_posix() for folder in FOLDERS for path in (paths.ROOT / folder).rglob("*")
]
FILES += [*FOLDERS, *(path.name for path in paths.ROOT.iterdir() if path.is_file())]
ENDS = (".cfg", ".ipynb", ".md", ".py", ".toml", ".yaml")
WRITTEN = ("leaderboard.md", "*plan.yaml")
"""Files in the folders of results."""
MADE_UP = (
    "configs/data/farm*",
    "configs/data/leaves*",
    "configs/data/mydata.yaml",
    "configs/methods/*.leaves.yaml",
    "configs/methods/cam.mydata.yaml",
    "configs/methods/gwrp*",
    "configs/methods/small_maps*",
    "configs/methods/ramp.voc.yaml",
    "experiments/leaves.yaml",
    "foo.py",
    "foo/method.py",
    "my_method.mini.yaml",
    "my_methods.py",
    "src/wsss_bench/methods/gwrp.py",
    "tools/convert_datasets/pascal_context.py",  # of another repository
    "torch.py",
    "typing.py",
)
"""Files that a page makes up, besides those whose content follows their name."""
MADE_UP_NAMES = ("wsss_bench.methods.gwrp",)
PAGES = {page.relative_to(paths.ROOT).as_posix(): page.read_text() for page in documented.PAGES}


def files_named(text: str) -> Iterator[tuple[int, str]]:
    """The files and folders of this repository that inline code names, with the numbers of their lines.

    `<name>`, `{a,b}` and `...` stand for any text, as `*` does.
    """
    shown = {name for name, _ in shown_files(text)}
    for number, code, in_block in documented.code(text):
        for word in () if in_block else code.split():
            name = re.sub(r"<[\w ]+>|\{[^}]*\}|\.\.\.", "*", word.rstrip("/")).removeprefix("$WSSS_DATA/")
            is_name = re.fullmatch(r"[\w.*/-]+", name) and name.strip("*.")
            rooted = name.partition("/")[0] in FOLDERS and "/" in name
            if (
                is_name
                and (rooted or name.endswith(ENDS))
                and not name.startswith("runs/")
                and name not in shown
            ):
                yield number, name


def shown_files(text: str) -> list[tuple[str, str]]:
    """Names and contents of the files that a page tells the reader to write."""
    return re.findall(r"`([\w./]+)`[^`\n]*:\n+ *```\w+\n(.*?)```", text, re.DOTALL)


def exists(name: str) -> bool:
    """Whether a file has this path in the repository, or one that ends in it where it names no folder."""
    rooted = name.partition("/")[0] in FOLDERS
    return any(fnmatch(file, name) or (not rooted and fnmatch(file, f"*/{name}")) for file in FILES)


def python_names(text: str) -> Iterator[str]:
    """Names of this package with their modules: as they are written, and in the imports of Python blocks."""
    yield from re.findall(r"\bwsss_bench(?:\.[A-Za-z]\w*)+", text)
    for block in re.findall(r"^ *```(?:python|py)\n(.*?)^ *```", text, re.DOTALL | re.MULTILINE):
        for node in ast.walk(ast.parse(dedent(block))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("wsss_bench"):
                yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("page", PAGES)
def test_files_in_inline_code_exist(page):
    made_up = (*MADE_UP, *WRITTEN)
    absent = [
        f"{page}:{line}: {name}"
        for line, name in files_named(PAGES[page])
        if not exists(name) and not any(fnmatch(name, other) for other in made_up)
    ]
    assert not absent


@pytest.mark.slow  # imports what is named
@pytest.mark.parametrize("page", PAGES)
def test_names_of_the_package_can_be_imported(page):
    for name in set(python_names(PAGES[page])):
        if not name.startswith(MADE_UP_NAMES):
            resolve_name(name)


def test_names_that_a_page_makes_up_are_used_and_do_not_exist():
    named = {name for text in PAGES.values() for _, name in files_named(text)}
    for pattern in MADE_UP:
        assert any(fnmatch(name, pattern) for name in named), f"no page names {pattern}"
        assert not exists(pattern), f"{pattern} exists"


PAGE = """
See `configs/methods/<name>.yaml`, `nn/clip.py`, `configs/methods/camm.yaml`, `toco_{a,c}.yaml`, `absent.py`,
`runs/x/leaderboard.md`, `wsss_bench.nn.clip.CLIP`.

`own.py`:

```python
from wsss_bench.losses import absent
```
"""


def test_what_is_not_there_is_found():
    named = list(files_named(PAGE))
    assert [name for line, name in named if line == 2 and exists(name)] == [
        "configs/methods/*.yaml",
        "nn/clip.py",
    ]
    assert [name for _, name in named if not exists(name)] == [
        "configs/methods/camm.yaml",
        "toco_*.yaml",
        "absent.py",
    ]
    assert list(python_names(PAGE)) == [
        "wsss_bench.nn.clip.CLIP",
        "wsss_bench.losses",
        "wsss_bench.losses.absent",
    ]
    with pytest.raises(AttributeError):
        resolve_name("wsss_bench.losses.absent")
