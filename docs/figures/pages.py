"""Tables as files of their own, and the pages that show them between two comments."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from wsss_bench.artifacts.files import write_bytes

ROOT = Path(__file__).parents[2]
TABLES = ROOT / "docs" / "tables"
BLOCK = re.compile(r"(<!-- table: ([\w-]+) -->\n).*?(<!-- end of table -->)", re.DOTALL)


def pages() -> list[Path]:
    """README.md and the pages of docs/."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def write_table(name: str, lines: list[list[str]]) -> None:
    """Write a table, the head first, to `docs/tables/<name>.md`."""
    head, *rows = [f"| {' | '.join(line)} |" for line in lines]
    rule = "|" + "---|" * len(lines[0])
    write_bytes(TABLES / f"{name}.md", "\n".join([head, rule, *rows, ""]).encode())


def fill_pages() -> None:
    """Put each table into the pages that show it."""
    for page in pages():
        text = page.read_text(encoding="utf-8")
        if (filled := with_tables(text)) != text:
            write_bytes(page, filled.encode())


def with_tables(text: str) -> str:
    """The text of a page with the tables as they are now.

    Raises:
        FileNotFoundError: the page shows a table that does not exist.
    """
    return BLOCK.sub(lambda found: found[1] + "\n" + _table(found[2]) + "\n" + found[3], text)


def shown_tables(text: str) -> Iterator[str]:
    """Names of the tables that a page shows."""
    for found in BLOCK.finditer(text):
        yield found[2]


def _table(name: str) -> str:
    return (TABLES / f"{name}.md").read_text(encoding="utf-8")
