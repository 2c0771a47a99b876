"""What README and docs show: commands that a reader can paste, and names in inline code."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import paths

PAGES = [
    *(paths.ROOT / name for name in ("README.md", "CONTRIBUTING.md")),
    *sorted((paths.ROOT / "docs").rglob("*.md")),
]
SHELLS = ("", "bash", "sh", "shell", "console")
"""Languages of fenced blocks that hold commands."""
PROGRAM = re.compile(
    r"(?:[A-Z_]+=\S+ )*((?:make|wsss-bench|python3?|pip|sbatch|srun|torchrun|\.venv/bin/\S+)(?: .*)?)$"
)
REST = "..."
"""What a page leaves out of a command."""


@dataclass(frozen=True)
class Command:
    """A command of a page.

    Args:
        page: The page, as a path in the repository.
        line: Number of its line, from 1.
        words: Its words, without variables of the environment, comments and what follows a pipe.
        whole: Whether it is shown to be run as it is; inline code may be a part of a command.
    """

    page: str
    line: int
    words: tuple[str, ...]
    whole: bool

    def __str__(self) -> str:
        return f"{self.page}:{self.line}: {shlex.join(self.words)}"


def commands(text: str, page: str) -> Iterator[Command]:
    """The commands of a page, one for each of the alternatives of `a|b`."""
    for number, line, in_block in code(text):
        if found := PROGRAM.match(line):
            words = re.sub(r"(?<= )\[|\](?= |$)", "", found[1])  # of what may be left out
            for choice in product(*map(_alternatives, _until_operator(words))):
                yield Command(page, number, choice, in_block and REST not in choice)


def code(text: str) -> Iterator[tuple[int, str, bool]]:
    """Lines of shell blocks, those that end in a backslash joined, and inline code.

    Yields:
        The number of the line, the code, and whether it is a line of a block.
    """
    block, running = _parted(text)
    for found in re.finditer(r"^.+(?:(?<=\\)\n.+)*", block, re.MULTILINE):
        line = re.sub(r"\s*\\\n\s*", " ", found[0]).strip()
        yield block.count("\n", 0, found.start()) + 1, line, True
    for found in re.finditer(r"`((?:[^`\n]|\n(?!\n))+)`", running):
        yield running.count("\n", 0, found.start()) + 1, " ".join(found[1].split()), False


def prose(text: str) -> str:
    """A page with empty lines in the place of its blocks of code."""
    return _parted(text)[1]


def _parted(text: str) -> tuple[str, str]:
    """The shell blocks of a page and its prose, each with empty lines in the place of all else."""
    block, running = [], []
    fence, before = None, ""
    for line in text.splitlines():
        # a block is indented by four blanks and begins after an empty line, or stands between fences
        in_block = fence in SHELLS or (
            fence is None and line.startswith("    ") and before[:4] in ("", "    ")
        )
        if opened := re.match(r"\s*```(\w*)", line):
            fence, line = (opened[1] if fence is None else None), ""
        block.append(line if in_block else "")
        running.append(line if not in_block and fence is None else "")
        before = line.rstrip()
    return "\n".join(block), "\n".join(running)


def _until_operator(line: str) -> list[str]:
    words = shlex.split(line, comments=True)
    ends = [at for at, word in enumerate(words) if re.fullmatch(r"\||&&|;|&|\d?>>?", word)]
    return words[: ends[0]] if ends else words


def _alternatives(word: str) -> list[str]:
    return word.split("|") if re.fullmatch(r"[\w-]+(\|[\w-]+)+", word) else [word]


def every(pages: list[Path] = PAGES) -> list[Command]:
    """The commands of all pages, each text once."""
    found = {}
    for page in pages:
        for command in commands(page.read_text(), page.relative_to(paths.ROOT).as_posix()):
            found.setdefault((command.words, command.whole), command)
    return list(found.values())
