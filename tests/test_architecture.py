"""Who may import whom (the layers of the design), read from the source of every module."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "wsss_bench"
LEAVES = {"types", "artifacts", "metrics", "losses", "nn", "readout", "weights", "vocabulary", "nouns"}
MAY_IMPORT = {
    **dict.fromkeys(LEAVES, LEAVES),
    "data": LEAVES | {"data"},
    "inference": LEAVES,
    "refine": LEAVES | {"refine"},
    "methods": LEAVES | {"inference", "methods"},
    "affinity": LEAVES | {"inference", "refine", "methods", "affinity"},
    "segmenters": LEAVES | {"inference", "methods", "segmenters"},
    "pretrain": LEAVES | {"data", "pretrain"},
    "callbacks": LEAVES | {"data", "inference", "refine", "methods", "stages"},
    "tracking": {"stages"},
    "stages": LEAVES
    | {"data", "inference", "refine", "methods", "segmenters", "callbacks", "tracking", "stages", "cli"},
    "bench": {"artifacts", "metrics", "bench", "report", "cli", "stages"},
    "report": {"artifacts", "metrics", "report", "bench"},
    "cli": set(),
    "__main__": {"cli"},
}
WITHOUT_TORCH = [
    "wsss_bench.cli",
    "wsss_bench.bench.command",
    "wsss_bench.report.command",
    "wsss_bench.data.command",
]


def modules():
    return sorted(path for path in SOURCE.rglob("*.py") if path != SOURCE / "__init__.py")


def part(path):
    name = path.relative_to(SOURCE).parts[0]
    return name.removesuffix(".py")


def imported_parts(path):
    """Parts of the package that a module imports anywhere in it."""
    package = ["wsss_bench", *path.relative_to(SOURCE).parent.parts]
    for node in ast.walk(ast.parse(path.read_text())):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            stem = ".".join([*base, node.module] if node.module else base)
            names = [f"{stem}.{alias.name}" for alias in node.names] if stem == "wsss_bench" else [stem]
        for name in names:
            head, _, rest = name.partition(".")
            if head == "wsss_bench" and rest:
                yield rest.split(".")[0]


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(SOURCE)))
def test_imports_follow_the_layers(path):
    forbidden = set(imported_parts(path)) - MAY_IMPORT[part(path)]
    assert not forbidden, f"{part(path)} may not import {forbidden}"


def test_no_method_imports_another_method():
    shared = {"base.py", "single_stage.py", "optim.py", "__init__.py"}  # bases, no methods
    for path in (SOURCE / "methods").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("wsss_bench.methods."):
                assert f"{node.module.split('.')[-1]}.py" in shared, f"{path.name} imports {node.module}"


def test_losses_and_nn_know_nothing_of_lightning():
    for folder in ("losses", "nn"):
        for path in (SOURCE / folder).glob("*.py"):
            assert "lightning" not in path.read_text(), path


def test_forbidden_file_names_do_not_exist():
    assert not [path for path in modules() if path.stem in ("utils", "misc", "helpers")]


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
