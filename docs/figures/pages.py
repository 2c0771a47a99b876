"""What pages show of the results: tables as files of their own, single values, and printed lines.

A page shows a table between `<!-- table: NAME -->` and `<!-- end of table -->`, a value between
`<!--=NAME-->` and `<!--/-->`, and lines that a command printed in the block below `<!-- printed: NAME -->`.
The fingerprint in the name of a stage is a value, too, with the name of the stage.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path

from figures.printed import as_printed
from wsss_bench.artifacts.files import write_bytes

ROOT = Path(__file__).parents[2]
TABLES = ROOT / "docs" / "tables"
RESULTS, PRINTED = "results.json", "printed.json"
"""Files of the values and the printed lines that come from runs."""
BLOCK = re.compile(r"(<!-- table: ([\w-]+) -->\n).*?(<!-- end of table -->)", re.DOTALL)
VALUE = re.compile(r"<!--=(\S+?)-->(.*?)<!--/-->")
STAGE = re.compile(r"\b((?:train|seed|affinity|refine|segment|predict|crf|evaluate)-[\w-]+)-[0-9a-f]{8}\b")
LINES = re.compile(
    r"(<!-- printed: ([\w-]+) -->\n+)((?:    [^\n]*\n|\n(?=    ))+|```.*?^```$)", re.DOTALL | re.MULTILINE
)


def pages() -> list[Path]:
    """README.md and the pages of docs/, the logs left out."""
    docs = ROOT / "docs"
    return [ROOT / "README.md", *sorted(docs.glob("*.md")), *sorted((docs / "start").glob("*.md"))]


def write_table(name: str, lines: list[list[str]]) -> None:
    """Write a table, the head first, to `docs/tables/<name>.md`."""
    head, *rows = [f"| {' | '.join(line)} |" for line in lines]
    rule = "|" + "---|" * len(lines[0])
    write_bytes(TABLES / f"{name}.md", "\n".join([head, rule, *rows, ""]).encode())


def write_shown(file: str, known: Mapping[str, str], shown: set[str]) -> None:
    """Write those of the known texts that a page shows to `docs/tables/<file>`.

    Raises:
        ValueError: a page shows what is not known.
    """
    if absent := sorted(shown - known.keys()):
        near = {other for name in absent for other in get_close_matches(name, known)}
        raise ValueError(f"pages show {', '.join(absent)}; known and alike are {', '.join(sorted(near))}")
    content = {name: known[name] for name in sorted(shown)}
    write_bytes(TABLES / file, (json.dumps(content, indent=1, ensure_ascii=False) + "\n").encode())


def read_shown(file: str) -> dict[str, str]:
    """Texts that were written by `write_shown`."""
    found: dict[str, str] = json.loads((TABLES / file).read_text(encoding="utf-8"))
    return found


def fill_pages(facts: Mapping[str, str]) -> None:
    """Put tables, values and printed lines into the pages that show them.

    Args:
        facts: Values beside those of the results.
    """
    for page in pages():
        text = page.read_text(encoding="utf-8")
        if (now := filled(text, {**facts, **read_shown(RESULTS)}, read_shown(PRINTED))) != text:
            write_bytes(page, now.encode())


def filled(text: str, values: Mapping[str, str], printed: Mapping[str, str]) -> str:
    """The text of a page with tables, values and printed lines as they are now.

    Raises:
        FileNotFoundError: the page shows a table that does not exist.
        KeyError: it shows a value or lines that do not exist.
        ValueError: it shows a line of a kind that is not printed.
    """
    text = BLOCK.sub(lambda found: f"{found[1]}\n{_table(found[2])}\n{found[3]}", text)
    text = VALUE.sub(lambda found: f"<!--={found[1]}-->{values[found[1]]}<!--/-->", text)
    text = STAGE.sub(lambda found: f"{found[1]}-{values[found[1]]}", text)
    return LINES.sub(lambda found: found[1] + as_printed(found[3], printed[found[2]]), text)


def shown_tables(text: str) -> Iterator[str]:
    """Names of the tables that a page shows."""
    for found in BLOCK.finditer(text):
        yield found[2]


def shown_values() -> set[str]:
    """Names of the values that any page shows."""
    texts = [page.read_text(encoding="utf-8") for page in pages()]
    return {found[1] for text in texts for mark in (VALUE, STAGE) for found in mark.finditer(text)}


def shown_output() -> set[str]:
    """Names of the outputs of which any page shows lines."""
    return {found[2] for page in pages() for found in LINES.finditer(page.read_text(encoding="utf-8"))}


def _table(name: str) -> str:
    return (TABLES / f"{name}.md").read_text(encoding="utf-8")
