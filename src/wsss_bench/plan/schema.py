"""Strict conversion of plain YAML values into dataclasses.

An unknown key, a missing key or a value of the wrong type raises an error with the file, the key, what was
expected and what was found; for an unknown key also the most similar known one.
"""

from __future__ import annotations

import contextlib
import dataclasses
import difflib
import types
from functools import cache
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

T = TypeVar("T")


class ConfigError(ValueError):
    """A YAML file that cannot be used as it is; the message says what to change."""


def read_as(cls: type[T], value: Any, file: object, key: str = "") -> T:
    """Convert a mapping into the dataclass `cls` and check every key and every type.

    Args:
        cls: A dataclass whose fields are JSON-like types, `Literal`s, unions, or further dataclasses.
        value: Content of the YAML file, or of one key in it.
        file: Path of the file, for messages.
        key: Dotted path of `value` inside the file, for messages.

    Raises:
        ConfigError: unknown key, missing key, or a value of the wrong type or out of range.
    """
    known = {field.name: field for field in dataclasses.fields(cls)}  # type: ignore[arg-type]
    if not isinstance(value, dict):
        raise ConfigError(
            f"{_place(file, key)}: expected a mapping of {', '.join(known)}; got {_shown(value)}"
        )
    for name in value:
        if name not in known:
            raise ConfigError(f"{_place(file, _join(key, name))}: unknown key; {nearest(str(name), known)}")
    missing = [
        name
        for name, field in known.items()
        if name not in value
        and field.default is dataclasses.MISSING
        and field.default_factory is dataclasses.MISSING
    ]
    if missing:
        raise ConfigError(
            f"{_place(file, key)}: missing key {missing[0]!r}; add it ({_type_name(cls, missing[0])})"
        )
    hints = _hints(cls)  # type: ignore[arg-type]
    values = {name: _convert(hints[name], item, file, _join(key, name)) for name, item in value.items()}
    try:
        return cls(**values)
    except ValueError as error:  # a value out of range: the message begins with its key
        parent, _, own = key.rpartition(".")
        # which may be that of the whole block
        raise ConfigError(
            f"{file}: {_join(parent if str(error).startswith(f'{own}.') else key, error)}"
        ) from error


@cache
def _hints(cls: type) -> dict[str, Any]:
    """The types of the fields of a dataclass; evaluating them is slow."""
    return get_type_hints(cls)


def nearest(name: str, known: Any) -> str:
    """End of a message about an unknown name: `did you mean 'x'?` if one is similar, and all known names.

    Examples:
        >>> nearest("clim", ["cam", "clims"])
        "did you mean 'clims'? Known: cam, clims"
    """
    close = difflib.get_close_matches(name, known, n=1)
    listed = ", ".join(known)
    return f"did you mean {close[0]!r}? Known: {listed}" if close else f"known: {listed}"


def _convert(expected: Any, value: Any, file: object, key: str) -> Any:
    origin = get_origin(expected)
    if expected is Any:
        return value
    if dataclasses.is_dataclass(expected):
        return read_as(expected, value, file, key)  # type: ignore[arg-type]
    if origin in (Union, types.UnionType):
        if value is None and type(None) in get_args(expected):
            return None
        options = [option for option in get_args(expected) if option is not type(None)]
        if len(options) == 1:  # an optional value: the message about its type is more specific
            return _convert(options[0], value, file, key)
        for option in options:
            with contextlib.suppress(ConfigError):
                return _convert(option, value, file, key)
    elif origin is Literal:
        if value in get_args(expected):
            return value
        if isinstance(value, str):
            raise ConfigError(
                f"{_place(file, key)}: unknown value {value!r}; {nearest(value, get_args(expected))}"
            )
    elif origin is list:
        if isinstance(value, list):
            (item_type,) = get_args(expected)
            return [_convert(item_type, item, file, f"{key}[{index}]") for index, item in enumerate(value)]
    elif origin is dict:
        if isinstance(value, dict) and all(isinstance(name, str) for name in value):
            _, item_type = get_args(expected)
            return {name: _convert(item_type, item, file, _join(key, name)) for name, item in value.items()}
    elif expected is float:
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            return float(value)
    elif isinstance(value, expected) and not (expected is int and isinstance(value, bool)):
        return value
    raise ConfigError(f"{_place(file, key)}: expected {_type_text(expected)}; got {_shown(value)}")


def _place(file: object, key: str) -> str:
    return f"{file}: {key}" if key else str(file)


def _join(key: str, name: object) -> str:
    return f"{key}.{name}" if key else str(name)


def _type_name(cls: type, name: str) -> str:
    return _type_text(_hints(cls)[name])


def _type_text(expected: Any) -> str:
    origin = get_origin(expected)
    if origin is Literal:
        return "one of " + ", ".join(str(option) for option in get_args(expected))
    if origin in (Union, types.UnionType):
        return " or ".join(_type_text(option) for option in get_args(expected))
    if origin is list:
        return f"a list of {_type_text(get_args(expected)[0])}"
    if origin is dict or dataclasses.is_dataclass(expected):
        return "a mapping"
    names = {str: "text", int: "a whole number", float: "a number", bool: "true or false", type(None): "null"}
    return names.get(expected, str(expected))


def _shown(value: Any) -> str:
    text = repr(value)
    return f"{text if len(text) <= 60 else text[:57] + '...'} ({type(value).__name__})"
