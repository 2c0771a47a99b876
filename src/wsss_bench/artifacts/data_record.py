"""The digests of the data that an experiment was last planned with: `<runs>/<experiment>/data.json`.

A machine that has the results but not the data plans with them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from wsss_bench.artifacts.data_reads import DataRead
from wsss_bench.artifacts.files import read_json, write_json


@dataclass(frozen=True)
class Recorded:
    """A digest and when it was first found, in UTC."""

    digest: str
    since: str


def read_record(path: Path) -> dict[DataRead, Recorded]:
    """Read a record; empty if there is none.

    Raises:
        ValueError: the file is not such a record.
    """
    if not path.is_file():
        return {}
    try:
        return {
            DataRead(*(entry[field] for field in DataRead._fields)): Recorded(entry["digest"], entry["since"])
            for entry in read_json(path)
        }
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path} is no record of data ({error!r}); delete it and run again") from error


def write_record(path: Path, record: Mapping[DataRead, Recorded]) -> None:
    """Write a record, atomically."""
    write_json(
        path,
        [
            {**read._asdict(), "digest": recorded.digest, "since": recorded.since}
            for read, recorded in record.items()
        ],
    )
