"""Reads a page of docs/start as a script: files to write, commands to run, and what they print.

A fenced block is one of two kinds. `console` holds commands behind `$ `, a backslash continues one, and below
each a part of what it prints. Any other block is the content of the file that the line above it names.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

BLOCK = re.compile(
    r"^(?:`(?P<file>[^`\n]+)`:\n\n)?```(?P<kind>\w+)\n(?P<text>.*?)^```$", re.DOTALL | re.MULTILINE
)
PROMPT, CUT = "$ ", "..."
COMMIT_OR_FINGERPRINT = re.compile(r"\b(?=[0-9a-f]*\d)[0-9a-f]{8}\b")
FIGURE = re.compile(r"\(?[-+±]?\d[\d.,:]*[)‡*†?]*|(?<=\s)best(?=\s)")
SIGNS = re.compile(r"[≈‡*†]")


@dataclass(frozen=True)
class File:
    """A file that the reader writes."""

    name: str
    text: str


@dataclass(frozen=True)
class Command:
    """A command, and the lines below it."""

    text: str
    shown: tuple[str, ...]


@dataclass(frozen=True)
class Page:
    """What a page says to do, in its order, and what it says beside that."""

    steps: tuple[File | Command, ...]
    prose: str

    @property
    def words(self) -> int:
        """Number of words beside the blocks."""
        return len(self.prose.split())

    @property
    def files_named(self) -> set[str]:
        """Files and folders in the prose, such as `runs/quick/report/index.html` or `photos/`."""
        codes = re.findall(r"`([^`\n]+)`", self.prose)
        return {code for code in codes if re.fullmatch(r"[\w*./-]+(/|\.[a-z]+)", code)}

    @property
    def options_named(self) -> set[str]:
        """Options in the prose, such as `--masks`."""
        return set(re.findall(r"`(--[\w-]+)", self.prose))

    @property
    def commands_named(self) -> set[str]:
        """Commands of the program and of make in the prose."""
        return set(re.findall(r"`((?:make|wsss-bench) [^`\n]+)`", self.prose))


def read_page(path: Path) -> Page:
    """The page at a path.

    Raises:
        ValueError: a block that is neither commands nor a named file.
    """
    text = path.read_text(encoding="utf-8")
    steps: list[File | Command] = []
    for block in BLOCK.finditer(text):
        if block["kind"] == "console":
            steps += _commands(block["text"])
        elif block["file"]:
            steps.append(File(block["file"], block["text"]))
        else:
            raise ValueError(f"{path}: no line above this block names a file:\n{block['text']}")
    return Page(tuple(steps), re.sub(r"<!--.*?-->", "", BLOCK.sub("", text)))


def _commands(text: str) -> list[Command]:
    """The commands of a `console` block."""
    found: list[tuple[str, list[str]]] = []
    for line in text.replace("\\\n", "").splitlines():
        if line.startswith(PROMPT):
            found.append((line.removeprefix(PROMPT), []))
        elif line.strip() not in ("", CUT):
            found[-1][1].append(line)
    return [Command(command, tuple(shown)) for command, shown in found]


def shape(line: str) -> str:
    """A printed line with a sign in the place of what depends on machine, data or code."""
    line = COMMIT_OR_FINGERPRINT.sub("#", line)
    line = SIGNS.sub("", FIGURE.sub("#", f" {line} "))
    return re.sub(r"[─\s]+", " ", line).strip()


def missing(shown: tuple[str, ...], printed: str) -> list[str]:
    """The shown lines whose shape no printed line has; one that ends with `...` may go on."""
    shapes = [shape(line) for line in printed.splitlines()]

    def is_printed(line: str) -> bool:
        if line.endswith(CUT):
            return any(found.startswith(shape(line.removesuffix(CUT))) for found in shapes)
        return shape(line) in shapes

    return [line for line in shown if not is_printed(line)]
