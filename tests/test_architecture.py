"""Who may import whom (the layers of the design), read from the source of every module."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "wsss_bench"
LEAVES = {
    "types",
    "vocabulary",
    "artifacts",
    "ranges",
    "own_modules",
    "processes",
    "shipped",
    "short_names",
    "transfer",
    "variables",
}
INFERENCE = {
    "inference", "inference_config", "inference_batches", "published_readout", "published_probabilities",
}  # fmt: skip
BLOCKS = LEAVES | INFERENCE | {"nn", "losses", "crf", "readout", "placement", "metrics"}
METHODS = BLOCKS | {"methods"}
MAY_IMPORT = {
    "types": set(),
    "vocabulary": set(),
    "renamed": set(),
    "short_names": set(),
    "transfer": set(),
    "ranges": set(),
    "own_modules": set(),
    "shipped": set(),
    "variables": set(),
    "arguments": set(),
    "closed_pipe": set(),
    "errors": {"parser_errors"},
    "parser_errors": {"plan"},
    "processes": set(),
    "artifacts": {"types"},
    "metrics": LEAVES,
    "readout": {"types"},
    "placement": set(),
    "bicubic": {"transfer"},
    "inference_config": {"ranges"},
    "inference_batches": {"inference_config", "types"},
    "inference": {"inference_config", "types", "placement", "bicubic", "transfer"},
    "crf": LEAVES,
    "published_readout": {"crf", "ranges"},
    "published_probabilities": {
        "published_readout",
        "types",
        "placement",
        "inference",
        "inference_config",
        "nn",  # PAMR
        "transfer",
    },
    "nn": LEAVES,
    "losses": LEAVES | {"nn"},  # full precision
    # parser_errors: what is wrong in the arguments of an own view or transform
    "data": LEAVES | {"mini", "plan", "arguments", "parser_errors"},
    "mini": LEAVES | {"nn", "arguments"},
    "methods": BLOCKS,
    "segmenters": METHODS,
    "refine": METHODS,
    "callbacks": BLOCKS,
    "compiled_networks": {"nn"},  # networks that are held without being submodules
    "tracking": {"artifacts", "plan", "arguments"},
    "library": METHODS,
    "stages": METHODS
    | {
        "data",
        "refine",
        "segmenters",
        "callbacks",
        "tracking",
        "renamed",
        "errors",
        "cli",
        "stage_help",
        "library",  # `predict --image` is the library on the command line, an ordinary parser before it
        "arguments",
    },
    "exchange": {"artifacts", "types", "data", "plan", "stages", "arguments", "short_names", "vocabulary"},
    "doctor": {"arguments", "artifacts", "crf", "data", "errors", "plan", "stages", "variables"},
    "contract": METHODS | {"data", "mini", "plan", "stages", "arguments", "errors"},
    # vocabulary: the number of classes, which costs depend on
    "plan": {
        "artifacts",
        "processes",
        "renamed",
        "ranges",
        "own_modules",
        "shipped",
        "short_names",
        "vocabulary",
        "inference_config",  # sizes, which costs depend on
        "crf",  # settings
    },
    "json_schema": {
        "bench",  # the file of a cluster
        "artifacts",
        "plan",
        "arguments",
        "own_modules",
        "data",
        "crf",
        "inference_config",
        "published_readout",
        "shipped",
        "short_names",
    },
    # data: the source of the images that the page shows
    "report": {"artifacts", "metrics", "plan", "arguments", "types", "readout", "data", "crf"},
    "new_method": {"artifacts", "plan", "arguments", "shipped"},
    "bench": {
        "ranges",
        "artifacts",
        "plan",
        "report",
        "stages",
        "data",
        "tracking",
        "errors",
        "arguments",
        "processes",
        "cli",
        "closed_pipe",
    },
    "cli": {"errors", "parser_errors", "processes", "shipped", "stage_help", "closed_pipe"},
    "stage_help": set(),
    "__main__": {"cli"},
}
"""What each part of the package may import besides itself. `cli` has module names of commands as text."""
WITHOUT_TORCH = [
    "wsss_bench",
    "wsss_bench.methods",
    "wsss_bench.segmenters",
    "wsss_bench.refine",
    "wsss_bench.data.sources",
    "wsss_bench.cli",
    "wsss_bench.bench.command",
    "wsss_bench.report.command",
    "wsss_bench.report.html.command",
    "wsss_bench.data.command",
    "wsss_bench.new_method.command",
    "wsss_bench.exchange.import_command",
    "wsss_bench.exchange.export_command",
    "wsss_bench.exchange.score",
    "wsss_bench.stages.evaluate",
    "wsss_bench.tracking.evaluation",
    "wsss_bench.tracking.result_runs",
    "wsss_bench.tracking.sync",
    "wsss_bench.tracking.dashboard",
]


def modules():
    return sorted(path for path in SOURCE.rglob("*.py") if path != SOURCE / "__init__.py")


def name_of(path):
    """Module name without `wsss_bench.`: `nn.clip`; a package has the name of its folder."""
    parts = path.relative_to(SOURCE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


NAMES = {name_of(path): path for path in modules()}


def imports_of(path):
    """Modules of the package that a module imports, anywhere in it, but not for a type checker only."""
    package = ["wsss_bench", *path.relative_to(SOURCE).parent.parts]
    tree = ast.parse(path.read_text())
    for node in list(ast.walk(tree)):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            node.body = []
    for node in ast.walk(tree):
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


def bases_of(path):
    """Modules of the package whose classes a module derives from."""
    tree = ast.parse(path.read_text())
    classes = [node for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
    named = {ast.unparse(base) for node in classes for base in node.bases}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and named.issuperset(alias.name for alias in node.names):
            yield (node.module or "").removeprefix("wsss_bench.")


def test_a_family_does_not_import_another():
    """Except a class that it derives from: a method may be another one, changed (`new-method --like`)."""
    shared = {"methods.base", "methods"}
    while more := {name for user in shared for name in IMPORTS[user] if part_of(name) == "methods"} - shared:
        shared |= more
    for name, found in IMPORTS.items():
        if name.startswith("methods."):
            above = set(bases_of(NAMES[name]))
            others = {family_of(other) for other in found - above if other.startswith("methods")}
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


LOADERS = {
    # allowed only with this argument
    "torch.load": "weights_only=True",
    "np.load": "allow_pickle=False",
    "yaml.load": "FastLoader|StrictLoader",  # both are safe loaders
    # safe as they are: they build plain values, decode pixels or read headers
    "yaml.safe_load": "",
    "json.load": "",
    "json.loads": "",
    "ElementTree.parse": "",
    "Image.open": "",
    "tarfile.open": "",
    "zipfile.ZipFile": "",
    "csv.DictReader": "",
    "csv.reader": "",
}
"""Every function that reads a file into objects, and the argument without which it is not safe."""
UNSAFE = re.compile(
    r"(pickle|dill|joblib|shelve|marshal)\.|torch\.hub\.|np\.fromfile|yaml\.(full_load|unsafe_load|load_all)"
    r"|(tar|archive|zip\w*)\.extract(all)?$|shutil\.unpack_archive|^(eval|exec|__import__)$|os\.system|\.read_pickle$"
)


def calls():
    """All calls of the package, with the name of the function and the text of the arguments."""
    for path in modules():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call):
                arguments = [*map(ast.unparse, node.args), *(ast.unparse(word) for word in node.keywords)]
                yield path, ast.unparse(node.func), arguments


def test_every_loader_is_in_its_safe_mode():
    """Nothing that is read from disk can run code: no pickles, no YAML tags, no unpacked archives."""
    used = set()
    for path, name, arguments in calls():
        assert not UNSAFE.search(name), f"{path} calls {name}"
        safe = next((safe for loader, safe in LOADERS.items() if name == loader), None)
        used.add(name)
        if safe:
            assert any(re.fullmatch(safe, argument) for argument in arguments), (
                f"{path}: {name} without {safe}"
            )
    looks_like_a_loader = re.compile(r"^(torch|np|numpy|yaml|json|tarfile|zipfile|ElementTree|Image|csv)\.")
    reads = re.compile(r"(load|loads|safe_load|open|parse|fromstring|ZipFile|reader|DictReader)$")
    listed = {name for name in used if looks_like_a_loader.match(name) and reads.search(name)}
    assert listed <= set(LOADERS), f"not in the list of loaders: {listed - set(LOADERS)}"


def test_one_module_alone_reads_a_pickle_and_calls_nothing_that_it_names():
    readers = [path for path in modules() if re.search(r"Unpickler\b", path.read_text())]
    assert [path.relative_to(SOURCE).as_posix() for path in readers] == ["exchange/array_pickle.py"]
    from wsss_bench.exchange import array_pickle

    called = [entry for entry in array_pickle.ADMITTED.values() if callable(entry)]
    assert {entry.__module__ for entry in called if entry is not dict} == {array_pickle.__name__}


def test_yaml_loaders_are_safe_ones():
    from yaml.constructor import SafeConstructor

    from wsss_bench.plan import yaml_files

    for loader in (yaml_files.FastLoader, yaml_files.StrictLoader):
        assert issubclass(loader, SafeConstructor)


def test_nothing_lifts_the_limit_of_pil():
    """An image of more than 179 megapixels is refused as a decompression bomb."""
    from PIL import Image

    assert Image.MAX_IMAGE_PIXELS is not None
    assert all("MAX_IMAGE_PIXELS" not in path.read_text() for path in modules())


def test_no_command_goes_through_a_shell():
    for path, name, arguments in calls():
        assert not (name.startswith("subprocess.") and "shell=True" in arguments), path
