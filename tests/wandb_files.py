"""Reads a run of W&B from the files that it wrote offline."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import wandb
from wandb.proto.wandb_internal_pb2 import Record

BLOCK, FILE_HEADER, RECORD_HEADER = 32768, 7, 7
WHOLE, LAST_PART = 1, 4


@dataclass
class OfflineRun:
    """Content of a `.wandb` file.

    Args:
        id, name, group, job_type, tags: As W&B has them.
        config, summary: Values by key; keys of nested mappings are joined by dots.
        history: The logged rows.
        files: Folder of its images and tables.
    """

    id: str
    name: str
    group: str
    job_type: str
    tags: list[str]
    files: Path
    config: dict[str, Any] = field(default_factory=dict)
    summary: dict[str, Any] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)

    def points(self, key: str) -> list[Any]:
        """The logged values of a key."""
        return [row[key] for row in self.history if key in row]

    def table(self, key: str) -> list[list[Any]]:
        """Rows of a logged table."""
        (file,) = self.files.glob(f"media/table/{key}_*.json")
        rows: list[list[Any]] = json.loads(file.read_text())["data"]
        return rows


def offline_runs(folder: Path) -> list[OfflineRun]:
    """The runs below a folder, by id."""
    wandb.teardown()  # its process may still be writing when a run is finished
    return sorted(
        (read_run(file) for file in folder.rglob("offline-run-*/run-*.wandb")), key=lambda run: run.id
    )


def read_run(file: Path) -> OfflineRun:
    """Read the `.wandb` file of a run."""
    found = [(record.WhichOneof("record_type"), record) for record in _records(file.read_bytes())]
    header = next(record.run for kind, record in found if kind == "run")
    run = OfflineRun(
        header.run_id,
        header.display_name,
        header.run_group,
        header.job_type,
        list(header.tags),
        file.parent / "files",
    )
    for kind, record in found:
        if kind == "run":
            run.config |= _values(record.run.config.update)
        if kind == "config":
            run.config |= _values(record.config.update)
        if kind == "summary":
            run.summary |= _values(record.summary.update)
        if kind == "history":
            run.history.append(_values(record.history.item))
    return run


def _values(items: Any) -> dict[str, Any]:
    return {item.key or ".".join(item.nested_key): json.loads(item.value_json) for item in items}


def _records(content: bytes) -> Iterator[Record]:
    """The records of a log in LevelDB's format."""
    place, parts = FILE_HEADER, b""
    while place + RECORD_HEADER <= len(content):
        if (left := BLOCK - place % BLOCK) < RECORD_HEADER:  # the rest of a block is padding
            place += left
            continue
        size, kind = int.from_bytes(content[place + 4 : place + 6], "little"), content[place + 6]
        parts += content[place + RECORD_HEADER :][:size]
        place += RECORD_HEADER + size
        if kind in (WHOLE, LAST_PART):
            yield Record.FromString(parts)
            parts = b""
