"""The source code that a stage runs: its modules with a digest of each, found without importing any.

A stage runs the module of its command and the classes that its configuration names (`class_path`), with all
modules that these import, directly or not, inside functions too. Followed are modules of `wsss_bench` and own
modules, which are those outside the standard library and the folders of installed packages.

The digest of a module does not depend on comments, docstrings, blank lines, the line `__version__ = ...` or
the version of Python. Files beside the modules of a package (prompts, class names) belong to it, and so do
weights that ship with `wsss_bench` where the configuration names them.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from hashlib import sha256
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import decode_source, find_spec
from pathlib import Path
from typing import Any, NamedTuple

from wsss_bench.artifacts.layout import ASSET_PREFIX, ASSETS

PACKAGE = "wsss_bench"
ABSENT = ""
"""Digest of a module that a stage names and that cannot be found."""
LARGEST = 8 * 2**20
"""Bytes of a data file beside modules; of a larger one only the size counts."""

VERSION = re.compile(r"^__version__ = .*$", re.MULTILINE)
"""A line that a release changes, and no result with it."""

NO_DATA = (".py", ".pyc", ".pyi", ".typed")
"""Ends of the names of files beside modules that are no data files."""


class Module(NamedTuple):
    """A module as it is on disk.

    Args:
        digest: Of its source.
        imports: Names that it imports, absolute; `from a import b` gives `a` and `a.b`, which need not be a
            module.
        files: Digests of the data files beside it, by name, if it is a package.
    """

    digest: str
    imports: tuple[str, ...]
    files: dict[str, str]


class SourceCode:
    """The modules of `wsss_bench` and own modules. Each is read once in the lifetime of the object."""

    def __init__(self) -> None:
        self._specs: dict[str, ModuleSpec | None] = {}
        self._modules: dict[str, Module | None] = {}
        self._closures: dict[str, dict[str, str]] = {}

    def digests(self, roots: Iterable[str]) -> dict[str, str]:
        """Digests of all modules and data files that `roots` lead to, by name, sorted.

        Args:
            roots: Names of modules, of classes or functions in them (`package.module.Class`), or of weights
                that ship with the package (`package:mini/clip`). One that cannot be found is `ABSENT`.
        """
        found: dict[str, str] = {}
        for root in roots:
            if root not in self._closures:
                self._closures[root] = self._closure(root)
            found |= self._closures[root]
        return dict(sorted(found.items()))

    def files(self, roots: Iterable[str]) -> list[Path]:
        """Source files of the own modules among those that `roots` lead to."""
        specs = (self._specs.get(name) for name in self.digests(roots) if not _is_in_package(name))
        return [Path(spec.origin) for spec in specs if spec is not None and spec.origin is not None]

    def remember_loaded(self) -> None:
        """Read all modules of `wsss_bench` that are imported, before their files can change."""
        for name in sorted(sys.modules):
            if _is_in_package(name):
                self._module(name)

    def _closure(self, root: str) -> dict[str, str]:
        if root.startswith(ASSET_PREFIX):
            return {root: _tree_digest(ASSETS / root.removeprefix(ASSET_PREFIX))}
        start = next((name for name in _prefixes(root) if self._module(name) is not None), None)
        if start is None:
            return {root: ABSENT}
        found: dict[str, str] = {}
        waiting = [start]
        while waiting:
            name = waiting.pop()
            if name in found or (module := self._module(name)) is None:
                continue
            found[name] = module.digest
            found |= {f"{name}/{file}": digest for file, digest in module.files.items()}
            waiting += [*module.imports, name.rpartition(".")[0]]
        return found

    def _module(self, name: str) -> Module | None:
        if name not in self._modules:
            spec = self._spec(name)
            self._modules[name] = None if spec is None else _read_module(name, spec)
        return self._modules[name]

    def _spec(self, name: str) -> ModuleSpec | None:
        """Where a module of the package or an own module is; None for anything else."""
        if name not in self._specs:
            self._specs[name] = self._find(name)
        return self._specs[name]

    def _find(self, name: str) -> ModuleSpec | None:
        parent = name.rpartition(".")[0]
        if parent:
            above = self._spec(parent)
            places = None if above is None else above.submodule_search_locations
            # unlike `find_spec`, this does not import the parent
            return None if places is None else PathFinder.find_spec(name, places)
        if not name.isidentifier() or name in sys.stdlib_module_names:
            return None
        try:
            spec = find_spec(name)
        except (ImportError, ValueError):
            return None
        return spec if spec is not None and _is_own(name, spec) else None


@lru_cache(maxsize=1)
def loaded_code() -> SourceCode:
    """The code of this process: what was imported is not read again when its file changes later."""
    return SourceCode()


def roots_of(command: str, config: Any) -> list[str]:
    """What a stage runs: the module of its command, and the classes and shipped weights of `config`.

    Args:
        command: `fit`, `predict`, `crf`, `refine` or `evaluate`.
        config: Its configuration in JSON types.
    """
    return [f"{PACKAGE}.stages.{command}", *sorted(set(_named_in(config)))]


def changed_digests(before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """Names whose digests differ, or that one of the two lacks, sorted."""
    return sorted(name for name in {*before, *now} if before.get(name) != now.get(name))


def _named_in(config: Any) -> Iterator[str]:
    """All values of `class_path`, and all names of shipped weights."""
    if isinstance(config, dict):
        if isinstance(config.get("class_path"), str):
            yield config["class_path"]
        config = list(config.values())
    if isinstance(config, list):
        for value in config:
            yield from _named_in(value)
    elif isinstance(config, str) and config.startswith(ASSET_PREFIX):
        yield config


def _prefixes(name: str) -> Iterator[str]:
    while name:
        yield name
        name = name.rpartition(".")[0]


def _is_in_package(name: str) -> bool:
    return name.partition(".")[0] == PACKAGE


def _is_own(name: str, spec: ModuleSpec) -> bool:
    places = [spec.origin] if spec.has_location else list(spec.submodule_search_locations or ())
    folders = {part for place in places if place for part in Path(place).parts}
    return _is_in_package(name) or bool(folders and not folders & {"site-packages", "dist-packages"})


def _read_module(name: str, spec: ModuleSpec) -> Module:
    files = {}
    if spec.submodule_search_locations is not None:
        folders = [Path(place) for place in spec.submodule_search_locations]
        files = {path.name: _digest_of_file(path) for folder in folders for path in _data_files(folder)}
    if not spec.has_location or spec.origin is None:  # a folder without __init__.py
        return Module(_digest(b""), (), files)
    content = Path(spec.origin).read_bytes()
    try:
        source = VERSION.sub("", decode_source(content))
        tree = ast.parse(source)
    except (SyntaxError, ValueError):  # compiled, or being edited
        return Module(_digest(content), (), files)
    package = name if spec.submodule_search_locations is not None else name.rpartition(".")[0]
    found = _Scan(tree)
    return Module(_digest(found.essence(source)), tuple(found.imports(package)), files)


def _data_files(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted(
        path
        for path in folder.iterdir()
        if not path.name.startswith(".") and path.suffix not in NO_DATA and path.is_file()
    )


class _Scan:
    """Import statements and strings of a syntax tree, found in one pass.

    What only a type checker reads (`if TYPE_CHECKING:`) is left out of the imports.
    """

    def __init__(self, tree: ast.Module) -> None:
        self._imports: list[ast.Import | ast.ImportFrom] = []
        self._named: list[str] = []
        self._strings: list[ast.expr] = []
        self._alone: set[int] = set()
        waiting: list[tuple[ast.AST, bool]] = [(tree, True)]
        while waiting:
            node, runs = waiting.pop()
            if isinstance(node, ast.Constant):
                if isinstance(node.value, str | bytes):
                    self._strings.append(node)
                continue
            if isinstance(node, ast.JoinedStr):
                # its parts have other positions before Python 3.12
                self._strings.append(node)
                continue
            if isinstance(node, ast.Import | ast.ImportFrom):
                if runs:
                    self._imports.append(node)
            elif isinstance(node, ast.Expr):
                if isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
                    self._alone.add(id(node.value))
            elif isinstance(node, ast.Call) and runs:
                self._named += _imported_by_name(node)
            elif isinstance(node, ast.If) and ast.unparse(node.test).split(".")[-1] == "TYPE_CHECKING":
                waiting += [(child, False) for child in node.body]
                waiting += [(child, runs) for child in node.orelse]
                continue
            waiting += [(child, runs) for child in ast.iter_child_nodes(node)]

    def imports(self, package: str) -> Iterator[str]:
        """Absolute names of what is imported by a module of `package`."""
        yield from self._named
        for node in self._imports:
            if isinstance(node, ast.Import):
                yield from (alias.name for alias in node.names)
                continue
            stem = node.module or ""
            if node.level:
                above = package.split(".")[: len(package.split(".")) - node.level + 1]
                stem = ".".join([*above, stem] if stem else above)
            yield stem
            yield from (f"{stem}.{alias.name}" for alias in node.names)

    def essence(self, source: str) -> bytes:
        """The source without comments, blank lines and strings that stand alone."""
        text = source.encode()
        starts = [0]
        for line in text.split(b"\n"):
            starts.append(starts[-1] + len(line) + 1)
        pieces, position = [], 0
        spans = [
            (
                starts[node.lineno - 1] + node.col_offset,
                starts[(node.end_lineno or node.lineno) - 1] + (node.end_col_offset or 0),
                id(node) in self._alone,
            )
            for node in self._strings
        ]
        for start, end, alone in sorted(spans):
            pieces.append(_without_comments(text[position:start]))
            if not alone:
                pieces.append(text[start:end].replace(b"\n", b"\0"))  # keeps the blank lines of a string
            position = end
        pieces.append(_without_comments(text[position:]))
        lines = (line.rstrip() for line in b"".join(pieces).split(b"\n"))
        return b"\n".join(line for line in lines if line)


def _imported_by_name(call: ast.Call) -> list[str]:
    """`import_module("a.b")` gives `a.b`."""
    name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", None)
    if name not in ("import_module", "__import__") or not call.args:
        return []
    first = call.args[0]
    return [first.value] if isinstance(first, ast.Constant) and isinstance(first.value, str) else []


def _without_comments(code: bytes) -> bytes:
    """Code between two strings without its comments."""
    return re.sub(rb"#[^\n]*", b"", code)


def _digest(content: bytes) -> str:
    return sha256(content).hexdigest()[:16]


def _digest_of_file(path: Path) -> str:
    size = path.stat().st_size
    return _digest(path.read_bytes() if size <= LARGEST else f"{size} bytes".encode())


def _tree_digest(path: Path) -> str:
    """Digest of a file, or of all files below a folder; `ABSENT` without either."""
    if not path.exists():
        return ABSENT
    files = sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]
    lines = (f"{file.relative_to(path.parent).as_posix()} {_digest_of_file(file)}" for file in files)
    return _digest("\n".join(lines).encode())
