"""YAML files as the plan reads them, and the merging of their layers."""

from __future__ import annotations

import re
from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml
from yaml.constructor import SafeConstructor
from yaml.resolver import Resolver

from wsss_bench.plan.schema import ConfigError


class _Strict(SafeConstructor, Resolver):
    """Plain YAML, except that `1e-4` is a number and that a key given twice is an error."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, Hashable):
                continue  # refused below, with its line
            if key in seen:
                raise ConfigError(
                    f"line {key_node.start_mark.line + 1}: key {key!r} is given twice; keep one"
                )
            seen.add(key)
        return super().construct_mapping(node, deep)


# YAML 1.1 requires a dot in a float; people write 1e-4
_Strict.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)$"), list("-+0123456789.")
)


class StrictLoader(_Strict, yaml.SafeLoader):
    """The loader in Python; its error messages quote the line."""


if yaml.__with_libyaml__:

    class FastLoader(_Strict, yaml.CSafeLoader):
        """The loader with the parser of libyaml: several times as fast, with shorter error messages."""
else:
    FastLoader = StrictLoader  # type: ignore[misc, assignment]


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML mapping.

    Raises:
        ConfigError: no such file, not YAML, or not a mapping.
    """
    try:
        content = _parse(path.read_text())
    except OSError as error:
        raise ConfigError(
            f"{path} cannot be read ({error.strerror}); give the path of a YAML file"
        ) from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not UTF-8 text ({error}); save it as UTF-8") from error
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None
    except yaml.YAMLError as error:
        raise ConfigError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from error
    if content is None:
        raise ConfigError(f"{path} is empty; write the keys of the file into it, or remove it")
    if not isinstance(content, dict):
        raise ConfigError(f"{path}: expected a mapping of keys to values; got {type(content).__name__}")
    return content


def parse_value(text: str, place: str) -> Any:
    """What a text says as YAML.

    Args:
        text: A number, a word, `[1, 2]`, `{a: b}` or the like; empty for null.
        place: Start of the message.

    Raises:
        ConfigError: not YAML.

    Examples:
        >>> parse_value("1e-4", "--set"), parse_value("[1, 2]", "--set"), parse_value("poly", "--set")
        (0.0001, [1, 2], 'poly')
    """
    try:
        return _parse(text)
    except ConfigError as error:
        raise ConfigError(f"{place}: {error}") from None
    except yaml.YAMLError as error:
        problem = " ".join(str(error).split())
        raise ConfigError(f"{place}: the value is not valid YAML ({problem}); quote it") from error


def _parse(text: str) -> Any:
    try:
        return yaml.load(text, FastLoader)
    except yaml.YAMLError:
        return yaml.load(text, StrictLoader)  # for its better message


def merge(*layers: dict[str, Any]) -> dict[str, Any]:
    """Merge nested mappings key by key.

    A value that is not a mapping, such as a list, is replaced by that of the later layer. The layers are not
    changed; values that are not merged are shared with them, not copied.

    Examples:
        >>> merge({"trainer": {"max_epochs": 5, "devices": [0]}}, {"trainer": {"devices": [1, 2]}})
        {'trainer': {'max_epochs': 5, 'devices': [1, 2]}}
    """
    merged: dict[str, Any] = {}
    for layer in layers:
        for key, value in layer.items():
            both = isinstance(value, dict) and isinstance(merged.get(key), dict)
            merged[key] = merge(merged[key], value) if both else value
    return merged
