"""Tables of labels and captions: csv files whose every field is accounted for.

Fields are separated by commas, semicolons (spreadsheets of many languages) or tabs, as the first line says.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from wsss_bench.data.sources.text_files import read_text

SEPARATORS = {",": "comma", ";": "semicolon", "\t": "tab"}


class TableRow(NamedTuple):
    """One row of a table."""

    where: str  # "<file>, line <number>", for messages
    image: str  # file name, never empty
    value: str  # classes or caption
    split: str  # "train" in a table without a column `split`

    @property
    def image_id(self) -> str:
        """The file name without its suffix, with its folders."""
        return str(PurePosixPath(self.image).with_suffix(""))


def read_table(path: Path, column: str) -> Iterator[TableRow]:
    """Rows of a csv file with the columns `image`, `column` and optionally `split`, in any order.

    Names of columns are read without regard to case and surrounding blanks. Rows without any text are
    skipped, as are columns at the end that have neither a name nor a text: spreadsheets write both.

    Args:
        path: The table.
        column: Name of the column beside `image`.

    Raises:
        FileNotFoundError: no such file.
        ValueError: other columns, a row with more or fewer fields than columns, without an image, or without
            a split in a table that has this column; a quote that is not closed.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no table {path}; expected a csv with the columns image,{column}[,split]")
    text = read_text(path)
    separator = _separator(text)
    rows = csv.reader(io.StringIO(text), delimiter=separator, strict=True, skipinitialspace=True)
    try:
        header = _without_blank_end([name.strip().casefold() for name in next(rows, [])])
        _check_header(header, column, path)
        for fields in rows:
            if any(field.strip() for field in fields):
                where = f"{path}, line {rows.line_num}"
                named = _named(header, _without_blank_end(fields, len(header)), where, separator)
                yield _row(dict(named), column, path, rows.line_num)
    except csv.Error as error:
        name = SEPARATORS[separator]
        raise ValueError(
            f"{path}, line {rows.line_num}: {error}; a field with a {name} or a quote begins "
            f'and ends with a quote (") right beside the {name}s, and a quote in it is '
            'written twice ("")'
        ) from error


def _separator(text: str) -> str:
    """The separator that occurs most often in the first line with any text; a comma if none does."""
    first = next((line for line in text.split("\n") if line.strip()), "")
    return max(SEPARATORS, key=first.count)


def _without_blank_end(fields: list[str], least: int = 0) -> list[str]:
    """The fields without empty ones at their end, but not fewer than `least`."""
    while len(fields) > least and not fields[-1].strip():
        fields = fields[:-1]
    return fields


def _check_header(header: Sequence[str], column: str, path: Path) -> None:
    expected = f"image,{column}[,split], separated by commas, semicolons or tabs"
    if not {"image", column} <= set(header):
        raise ValueError(f"{path} has the columns {list(header)}; expected {expected}")
    unknown = [name for name in header if name not in ("image", column, "split")]
    if unknown or len(set(header)) < len(header):
        culprit = f"the unknown column {unknown[0]!r}" if unknown else "a column twice"
        raise ValueError(f"{path} has {culprit}; expected {expected}. Correct its name or remove the column")


def _named(
    header: Sequence[str], fields: Sequence[str], where: str, separator: str
) -> Iterator[tuple[str, str]]:
    if len(fields) != len(header):
        classes = (
            "Several classes are separated by semicolons"
            if separator != ";"
            else ('Several classes are separated by commas, or stand in quotes (")')
        )
        raise ValueError(
            f"{where}: {len(fields)} fields for the {len(header)} columns {separator.join(header)}: "
            f"{separator.join(fields)[:80]!r}. {classes}, and a text with a {SEPARATORS[separator]} "
            'stands in quotes (")'
        )
    return ((name, field.strip()) for name, field in zip(header, fields, strict=True))


def _row(fields: dict[str, str], column: str, path: Path, line: int) -> TableRow:
    where = f"{path}, line {line}"
    if not fields["image"]:
        raise ValueError(f"{where}: the row names no image; fill the column `image` or remove the row")
    split = fields.get("split", "train")
    if not split:
        raise ValueError(f"{where}: the row has no split; fill the column `split` or remove the row")
    return TableRow(where, fields["image"], fields[column], split)
