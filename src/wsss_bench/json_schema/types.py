"""JSON schemas of Python types and of the arguments of classes, as the readers of YAML files take them.

What cannot be said in a schema, such as a callable, accepts anything: an editor should not complain about a
file that runs.
"""

from __future__ import annotations

import ast
import dataclasses
import inspect
import re
import textwrap
import types
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from wsss_bench.data.own_class import OwnClass

Schema = dict[str, Any]

PLAIN: dict[Any, Schema] = {
    str: {"type": "string"},
    Path: {"type": "string"},
    bool: {"type": "boolean"},
    int: {"type": "integer"},
    float: {"type": "number"},
    type(None): {"type": "null"},
    None: {"type": "null"},
}
LISTS = (list, set, frozenset, Sequence, Iterable)
BOUNDS = {"least": "minimum", "most": "maximum", "above": "exclusiveMinimum", "below": "exclusiveMaximum"}
"""Arguments of `ranges.check_range`, and what they are called in a schema."""


def schema_of(expected: Any) -> Schema:
    """The schema of the values that a parameter of this type takes."""
    origin, arguments = get_origin(expected), get_args(expected)
    if expected in PLAIN:
        return dict(PLAIN[expected])
    if origin is Literal:
        return {"enum": list(arguments)}
    if origin in (Union, types.UnionType):
        return any_of([schema_of(option) for option in arguments])
    if origin is tuple and arguments[-1:] != (...,):
        items = [schema_of(item) for item in arguments]
        return {"type": "array", "items": items, "minItems": len(items), "maxItems": len(items)}
    if origin in LISTS or origin is tuple:
        return {"type": "array", "items": schema_of(arguments[0])}
    if origin is dict or origin is Mapping:
        return {"type": "object", "additionalProperties": schema_of(arguments[1])}
    if expected in (dict, list, tuple):
        return {"type": "object" if expected is dict else "array"}
    if dataclasses.is_dataclass(expected):
        return dataclass_schema(expected)  # type: ignore[arg-type]
    if inspect.isclass(expected) and issubclass(expected, OwnClass):
        return object_of({"class_path": PLAIN[str], "init_args": {"type": "object"}}, ["class_path"])
    if inspect.isclass(expected) and expected.__module__ not in ("builtins", "typing", "datetime"):
        return class_or_name()
    return {}


def any_of(options: list[Schema]) -> Schema:
    """One of several schemas; anything if one of them is anything."""
    return {} if {} in options else {"anyOf": options}


def class_or_name() -> Schema:
    """An object of some class: its name, or its name and arguments."""
    keys = {
        "class_path": {"type": "string"},
        "init_args": {"type": "object"},
        "dict_kwargs": {"type": "object"},
    }
    return {"anyOf": [{"type": "string"}, object_of(keys, ["class_path"])]}


def object_of(properties: Mapping[str, Schema], required: Sequence[str] = ()) -> Schema:
    """A mapping with these keys and no others."""
    content: Schema = {"type": "object", "properties": dict(properties), "additionalProperties": False}
    return content | {"required": list(required)} if required else content


def dataclass_schema(kind: type) -> Schema:
    """The fields of a dataclass."""
    fields = dataclasses.fields(kind)  # type: ignore[arg-type]
    absent = dataclasses.MISSING
    required = [one.name for one in fields if one.default is absent and one.default_factory is absent]
    return object_of(argument_schemas(kind), required)


def argument_schemas(kind: type) -> dict[str, Schema]:
    """The arguments of a class, also those that `**kwargs` passes on, with ranges and descriptions."""
    found: dict[str, Schema] = {}
    for owner in kind.__mro__:
        constructor = owner.__dict__.get("__init__")
        if constructor is None or owner is object:
            continue
        hints = _hints(constructor)
        described, ranges = _descriptions(owner), _ranges(owner)
        signature = inspect.signature(constructor).parameters.values()
        for one in list(signature)[1:]:
            if one.kind in (one.POSITIONAL_OR_KEYWORD, one.KEYWORD_ONLY) and one.name not in found:
                schema = _bounded(
                    schema_of(hints[one.name]) if one.name in hints else {}, ranges.get(one.name)
                )
                if one.name in described:
                    schema["description"] = described[one.name]
                found[one.name] = schema
        if not any(one.kind is one.VAR_KEYWORD for one in signature):
            break
    return found


def _hints(constructor: Any) -> dict[str, Any]:
    try:
        return get_type_hints(constructor)
    except (NameError, TypeError):  # a type that is imported for type checkers only
        return {}


def _descriptions(kind: type) -> dict[str, str]:
    """What the docstring says under `Args:`."""
    _, _, text = inspect.cleandoc(kind.__doc__ or "").partition("Args:\n")
    found: dict[str, str] = {}
    names: list[str] = []
    for line in text.splitlines():
        if start := re.match(r" {4}(\w+(?:, \w+)*): (.*)", line):
            names = start[1].split(", ")
            found.update(dict.fromkeys(names, start[2]))
        elif line.startswith("        ") and names:
            found.update({name: f"{found[name]} {line.strip()}" for name in names})
        else:
            break
    return found


def _ranges(kind: type) -> dict[str, Schema]:
    """The ranges that the constructor checks with `check_range` and `check_ranges`, where they are constants.

    The ranges of `check_ranges` are those of the items of a list.
    """
    found: dict[str, Schema] = {}
    for name in ("__init__", "__post_init__"):
        if not inspect.isfunction(method := kind.__dict__.get(name)):
            continue
        try:
            tree = ast.parse(textwrap.dedent(inspect.getsource(method)))
        except OSError:  # the constructor of a dataclass has no source
            continue
        for call in ast.walk(tree):
            if isinstance(call, ast.Call) and getattr(call.func, "id", "") in ("check_range", "check_ranges"):
                key, *_ = call.args
                if isinstance(key, ast.Constant):
                    bounds = _bounds(call)
                    items = getattr(call.func, "id", "") == "check_ranges"
                    found[str(key.value)] = {"items": bounds} if items else bounds
    return found


def _bounds(call: ast.Call) -> Schema:
    given = dict(zip(("least", "most"), call.args[2:4], strict=False))
    given |= {str(word.arg): word.value for word in call.keywords}
    found = {}
    for name, node in given.items():
        try:
            value = ast.literal_eval(node)
        except ValueError:  # computed from another argument
            continue
        if name in BOUNDS and value is not None:
            found[BOUNDS[name]] = value
    return found


def _bounded(schema: Schema, bounds: Schema | None) -> Schema:
    """A schema with a range for the numbers, or for the items of the lists, among its values."""
    if not bounds:
        return schema
    if "anyOf" in schema:
        return {**schema, "anyOf": [_bounded(option, bounds) for option in schema["anyOf"]]}
    if "items" in bounds:
        is_list = schema.get("type") == "array" and isinstance(schema.get("items"), dict)
        return {**schema, "items": _bounded(schema["items"], bounds["items"])} if is_list else schema
    return {**schema, **bounds} if schema.get("type") in ("integer", "number") else schema
