"""The files of a new method: from templates, or from the files of a shipped method."""

from __future__ import annotations

import ast
from pathlib import Path
from string import Template

import yaml

from wsss_bench.new_method.names import class_name
from wsss_bench.plan.config_folder import METHODS, ConfigFolder, file_key
from wsss_bench.plan.schema import ConfigError

HERE = Path(__file__).parent
CLAIMS = ("paper", "remark")
"""Keys of `bench` that say something of a method's publication, which a copy does not share."""


def method_files(name: str, like: str | None, into: Path, shipped: ConfigFolder) -> dict[Path, str]:
    """The texts of the files, by where they belong; the Python file is the first.

    Args:
        name: Name of the method.
        like: A shipped method to derive from, with copies of its YAML file and of its overlays.
        into: Folder of a project. In a checkout of this repository the Python file belongs to the package.
        shipped: The shipped configurations.

    Raises:
        ConfigError: one of the files exists, or the class would have the name of one that it needs.
    """
    in_package = (into / "src/wsss_bench/methods").is_dir()
    folder = into / "src/wsss_bench/methods" if in_package else into
    cls = class_name(name)
    class_path = f"{'wsss_bench.methods.' if in_package else ''}{name}.{cls}"
    configs = into / "configs" / METHODS
    _refuse_existing(name, folder, configs)
    words = {"name": name, "class": cls, "class_path": class_path}
    if like is None:
        python = _fill("method.py.template", words)
        yaml_files = {f"{name}.yaml": _fill("method.yaml.template", words)}
    else:
        model = shipped.contents[file_key(METHODS, like)]["model"]
        base_module, _, base = str(model["class_path"]).rpartition(".")
        python = _fill("derived.py.template", {**words, "base": base, "base_module": base_module})
        yaml_files = {
            f"{name}{path.name.removeprefix(like)}": f"# {cls}. What follows was written for {like}.\n"
            + adapted(path.read_text(), class_path)
            for key, path in shipped.listed.items()
            if key.partition(".")[0] == f"{METHODS}/{like}"
        }
    if cls in _imported(python):
        raise ConfigError(f"{name!r} would make a class {cls}, which it imports; choose another name")
    return {folder / f"{name}.py": python, **{configs / file: text for file, text in yaml_files.items()}}


def adapted(text: str, class_path: str) -> str:
    """The YAML text of a method, comments included, with another class and without published claims."""
    root = yaml.compose(text, yaml.SafeLoader)
    lines = text.splitlines(keepends=True)
    if isinstance(root, yaml.MappingNode):
        for key, value in reversed(_children(root)):  # from the end, so that earlier positions hold
            for inner, node in reversed(_children(value)):
                if (key.value, inner.value) == ("model", "class_path"):
                    start, end = node.start_mark, node.end_mark
                    line = lines[start.line]
                    lines[start.line] = line[: start.column] + class_path + line[end.column :]
                elif key.value == "bench" and inner.value in CLAIMS:
                    last = node.end_mark
                    # a block ends where the next key begins, a flow within its line
                    del lines[inner.start_mark.line : last.line + (last.column > inner.start_mark.column)]
    return "".join(lines)


def _children(node: yaml.Node) -> list[tuple[yaml.Node, yaml.Node]]:
    return node.value if isinstance(node, yaml.MappingNode) else []


def _fill(template: str, words: dict[str, str]) -> str:
    return Template((HERE / template).read_text()).substitute(words)


def _imported(python: str) -> set[str]:
    nodes = (node for node in ast.parse(python).body if isinstance(node, (ast.Import, ast.ImportFrom)))
    return {alias.asname or alias.name for node in nodes for alias in node.names}


def _refuse_existing(name: str, folder: Path, configs: Path) -> None:
    """Overwrite nothing, and let neither a package nor an overlay of this name join the new files."""
    found = [path for path in (folder / f"{name}.py", folder / name / "__init__.py") if path.exists()]
    found += sorted([*configs.glob(f"{name}.yaml"), *configs.glob(f"{name}.*.yaml")])
    if found:
        raise ConfigError(
            f"{', '.join(map(str, found))} exist{'' if len(found) > 1 else 's'} already; nothing is written. "
            "Choose another name, or remove what is in the way"
        )
