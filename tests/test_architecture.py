"""Who may import whom (the layers of the design), read from the source of every module."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "wsss_bench"
LEAVES = {"types", "vocabulary", "artifacts", "processes"}
BLOCKS = LEAVES | {"nn", "losses", "crf", "readout", "inference", "metrics"}
METHODS = BLOCKS | {"methods"}
MAY_IMPORT = {
    "types": set(),
    "vocabulary": set(),
    "renamed": set(),
    "processes": set(),
    "artifacts": {"types"},
    "metrics": LEAVES,
    "readout": {"types"},
    "inference": {"types"},
    "crf": LEAVES,
    "nn": LEAVES,
    "losses": LEAVES,
    "data": LEAVES | {"mini"},
    "mini": LEAVES | {"nn"},
    "methods": BLOCKS,
    "segmenters": METHODS,
    "refine": METHODS,
    "callbacks": BLOCKS,
    "tracking": {"artifacts"},
    "stages": METHODS | {"data", "refine", "segmenters", "callbacks", "tracking", "renamed", "cli"},
    "plan": {"artifacts", "renamed"},
    "report": {"artifacts", "metrics", "plan"},
    "bench": {"artifacts", "plan", "report", "stages", "cli", "processes"},
    "cli": {"processes"},
    "__main__": {"cli"},
}
"""What each part of the package may import besides itself. `cli` has module names of commands as text."""
WITHOUT_TORCH = [
    "wsss_bench.cli",
    "wsss_bench.bench.command",
    "wsss_bench.report.command",
    "wsss_bench.data.command",
]


def modules():
    return sorted(path for path in SOURCE.rglob("*.py") if path != SOURCE / "__init__.py")


def name_of(path):
    """Module name without `wsss_bench.`: `nn.clip`; a package has the name of its folder."""
    parts = path.relative_to(SOURCE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


NAMES = {name_of(path): path for path in modules()}


def imports_of(path):
    """Modules of the package that a module imports, anywhere in it."""
    package = ["wsss_bench", *path.relative_to(SOURCE).parent.parts]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            stem = ".".join([*base, node.module] if node.module else base)
            found = [f"{stem}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in found:
            _, _, rest = name.partition("wsss_bench.")
            while rest and rest not in NAMES:
                rest = rest.rpartition(".")[0]
            if rest:
                yield rest


IMPORTS = {name: set(imports_of(path)) - {name} for name, path in NAMES.items()}


def part_of(name):
    return name.split(".")[0]


def family_of(name):
    """`methods.clims` for a module of that folder, `methods.cam` for a method of one file; else the part."""
    parts = name.split(".")
    return ".".join(parts[:2]) if parts[0] == "methods" else parts[0]


@pytest.mark.parametrize("name", NAMES)
def test_imports_follow_the_layers(name):
    own = part_of(name)
    forbidden = {other for other in IMPORTS[name] if part_of(other) not in MAY_IMPORT[own] | {own}}
    assert not forbidden, f"{own} may not import {forbidden}"


def test_the_layers_have_no_circle():
    left = {part: set(allowed) for part, allowed in MAY_IMPORT.items()}
    while left:
        lowest = [part for part, below in left.items() if not below & left.keys()]
        assert lowest, f"circle among {sorted(left)}"
        for part in lowest:
            del left[part]


def test_modules_do_not_import_each_other_in_a_circle():
    left = {name: set(found) for name, found in IMPORTS.items()}
    while left:
        lowest = [name for name, below in left.items() if not below & left.keys()]
        assert lowest, f"circle among {sorted(left)}"
        for name in lowest:
            del left[name]


def test_a_family_does_not_import_another():
    shared = {"methods.base", "methods.optim", "methods"}
    for name, found in IMPORTS.items():
        if name.startswith("methods."):
            others = {family_of(other) for other in found if other.startswith("methods")}
            assert others <= shared | {family_of(name)}, f"{name} imports {others}"


@pytest.mark.parametrize("name", [name for name in NAMES if re.match(r"(nn|losses)\.", name)])
def test_shared_blocks_serve_two_families(name):
    """What one family alone uses lives in its folder."""
    users = {other for other, found in IMPORTS.items() if name in found}
    while more := {other for other, found in IMPORTS.items() if found & users & SHARED} - users:
        users |= more
    families = {family_of(user) for user in users - SHARED}
    assert len(families) > 1, f"{name} is used by {families or 'nobody'}; move it there"


SHARED = {name for name in NAMES if part_of(name) in ("nn", "losses")}


def test_losses_and_nn_know_nothing_of_lightning():
    for folder in ("losses", "nn"):
        for path in (SOURCE / folder).glob("*.py"):
            assert "lightning" not in path.read_text(), path


def test_forbidden_file_names_do_not_exist():
    assert not [path for path in modules() if path.stem in ("utils", "misc", "helpers")]


@pytest.mark.slow
def test_light_commands_do_not_import_torch():
    code = f"import sys, {', '.join(WITHOUT_TORCH)}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_nothing_is_unpickled_from_disk():
    """`torch.load` says weights_only, numpy never allows pickles."""
    for path in modules():
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call):
                continue
            name = ast.unparse(node.func)
            arguments = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
            assert name not in ("pickle.load", "pickle.loads", "joblib.load"), path
            if name == "torch.load":
                assert arguments.get("weights_only") == "True", path
            if name == "np.load":
                assert arguments.get("allow_pickle") == "False", path
