"""What jsonargparse says about a configuration, in one sentence with the key.

Its messages are trees: a value is tried as each member of a union, classes are built inside of classes, and
the line that says what is wrong stands among those that did not fit for other reasons.
"""

from __future__ import annotations

import inspect
import re
import sys
from argparse import ArgumentError
from typing import NamedTuple

from wsss_bench.plan.schema import nearest

KEY = re.compile(r'Parser key "([^"]*)"( element \d+)?:\s*(.*)')
CLASS = re.compile(r"Problem with given class_path '([^']*)':")
UNKNOWN = re.compile(
    r"Option '([^']*)' is not accepted|[Uu]nrecognized arguments: --([^\s=]+)|Key '?([^' ]*)'? is not exp"
)
GROUP = re.compile(r"Group '([^']*)' does not accept option '([^']*)'")
GROUPS = {"trainer": "lightning.pytorch.Trainer", "data": "wsss_bench.data.datamodule.WSSSDataModule"}
"""Groups of options that are the arguments of a class."""
OWN_CLASS = re.compile(r"Not of type Own\w+: ")
"""Begin of what `data.own_class` says, a sentence of its own."""
EXPECTED = re.compile(r"(?:Expected a|Not of type) (.*?)(?:\. Got value: (.*)|: .*)?$")
FRAMES = ("Does not validate against any of the Union subtypes", "Subtypes: ", "Errors:", "Given value")
TYPE_NAMES = {
    "str": "text",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "NoneType": "null",
}
UNION_INDENT = 4
"""Depth of the members of a union below its own lines."""
LONGEST_VALUE = 80

ADVICE = {
    "does not accept option": "correct its name (`--help` lists the options)",
    "does not correspond to a subclass": "name a class of this kind",
    "unrecognized arguments": "options begin with --, and a file is given with --config FILE",
    "Unexpected config": "the file is empty or a list; a configuration is a mapping of keys to values",
    "Path is not a file": "name a YAML file in it",
    "File does not exist": "check the path",
}
"""What to do about a message of the parser that contains certain words."""


class Line(NamedTuple):
    """A line of a message, and its depth in the tree."""

    depth: int
    text: str


def is_parser_error(error: BaseException) -> bool:
    """Whether the parser of configurations raised the error, or wrapped another one in it."""
    wrapped = (KEY.pattern[:12], *FRAMES[:1], "Problem with given class_path", "Problems parsing config")
    return isinstance(error, ArgumentError) or (
        isinstance(error, (TypeError, ValueError)) and str(error).startswith(wrapped)
    )


def is_own(root: BaseException) -> bool:
    """Whether the parser itself raised the first error of a chain, and not a class that it built."""
    trace = root.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    package = "" if trace is None else trace.tb_frame.f_globals.get("__name__", "")
    return is_parser_error(root) or package.startswith(("jsonargparse", "argparse", "importlib"))


def parser_sentence(error: BaseException, root: str | None = None) -> str:
    """One sentence for an error of the parser: the key, what is wrong, what was expected.

    Args:
        error: The error.
        root: The sentence for the error at its root, where that is not one of the parser's own.
    """
    lines = _lines(str(error))
    at = _leaf(lines)
    parents = _parents(lines, at)
    key, class_path = _place(parents)
    text = root if root is not None else _said(lines, at, class_path)
    return f"{key}: {text}" if key and not text.startswith(key) else text


def _lines(message: str) -> list[Line]:
    found = []
    for text in message.splitlines():
        bare = text.lstrip(" -")
        if bare:
            found.append(Line(len(text) - len(bare), OWN_CLASS.sub("", bare).rstrip()))
    return found


def _leaf(lines: list[Line]) -> int:
    """Index of the first line that says what is wrong; else of the deepest one about types."""
    types = []
    for index, (_, text) in enumerate(lines):
        if text.startswith(FRAMES) or CLASS.match(text):
            continue
        key = KEY.match(text)
        said = key[3] if key else text
        if EXPECTED.match(said):
            types.append(index)
        elif said:
            return index
    return max(types, key=lambda index: lines[index].depth, default=len(lines) - 1)


def _parents(lines: list[Line], at: int) -> list[str]:
    """The lines that a line stands below, outer ones first, and the line itself."""
    parents = [lines[at].text]
    depth = lines[at].depth
    for line in reversed(lines[:at]):
        if line.depth < depth and not line.text.startswith(FRAMES):
            parents.append(line.text)
            depth = line.depth
    return parents[::-1]


def _place(parents: list[str]) -> tuple[str, str]:
    """The key with those that lead to it, and the class that is built there, if there is one."""
    keys: list[str] = []
    class_path = ""
    for text in parents:
        if key := KEY.match(text):
            name = key[1] + (f"[{int(key[2].split()[1]) - 1}]" if key[2] else "")
            if keys[-1:] != [name]:
                keys.append(name)
            class_path = ""
        elif found := CLASS.match(text):
            class_path = found[1]
            keys.append("init_args")
    if keys[-1:] == ["init_args"]:
        keys.pop()
    return ".".join(keys), class_path


def _said(lines: list[Line], at: int, class_path: str) -> str:
    depth, text = lines[at]
    if key := KEY.match(text):
        text = key[3]
    if group := GROUP.search(text):
        return f"{group[1]} has no option {group[2]!r}; {_options(GROUPS.get(group[1], ''), group[2])}"
    if unknown := UNKNOWN.search(text):
        name = next(filter(None, unknown.groups()))
        return f"{class_path or 'this command'} has no option {name!r}; {_options(class_path, name)}"
    if class_path and text.startswith(f"module {class_path.rpartition('.')[0]!r} has no attribute"):
        return _no_such_class(class_path)
    if class_path and re.match(r"(No module named|module '.*' has no attribute|Not possible to load)", text):
        return (
            f"class_path {class_path!r} cannot be imported ({text}); name module and class, and install the "
            "module, put it into PYTHONPATH or run the command in its folder"
        )
    expected = EXPECTED.match(text)
    if expected is None:
        advice = next((advice for words, advice in ADVICE.items() if words in text), None)
        return f"{text.rstrip(': ')}; {advice}" if advice else text
    kinds, value = expected[1], expected[2]
    for line in lines:  # all members of the union that the value was tried as
        if line.depth == depth - UNION_INDENT and line.text.startswith("Subtypes: "):
            kinds = line.text.removeprefix("Subtypes: ")[1:-1]
        if line.depth == depth - UNION_INDENT and line.text.startswith("Given value: "):
            value = line.text.removeprefix("Given value: ")
    shown = "" if value is None else f"; got {value[:LONGEST_VALUE]}"
    return f"expected {_type_names(kinds)}{shown}"


def _type_names(kinds: str) -> str:
    """`<class 'str'>, <class 'NoneType'>` -> `text or null`."""
    bare = re.sub(r"<class '(?:[\w.]*\.)?(\w+)'>", lambda found: TYPE_NAMES.get(found[1], found[1]), kinds)
    joined = re.sub(r", (?![^\[]*\])", " or ", bare.replace("typing.", ""))
    return re.sub(r"Literal\[(.*?)\]", r"one of \1", joined)


def _no_such_class(class_path: str) -> str:
    """That a module, which was imported, lacks a class, and those that it defines."""
    module, _, name = class_path.rpartition(".")
    found = sys.modules[module]
    classes = [
        key
        for key, value in vars(found).items()
        if isinstance(value, type) and value.__module__ == module and not key.startswith("_")
    ]
    return f"{getattr(found, '__file__', None) or module} has no class {name!r}; {nearest(name, classes)}"


def _options(class_path: str, name: str) -> str:
    """The options of a class that was imported, the most similar one first."""
    module, _, attribute = class_path.rpartition(".")
    found = getattr(sys.modules.get(module), attribute, None)
    if found is None:
        return "`--help` lists the options" if not class_path else "remove it"
    return nearest(name, [option for option in inspect.signature(found).parameters if option != "self"])
