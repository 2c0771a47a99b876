"""Keeps what a benchmark measures in `docs/tables/performance.json`, from which docs/performance.md is made.

A benchmark's entry is replaced when the benchmark ends without an error.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from wsss_bench.artifacts.files import write_bytes

ROOT = Path(__file__).parents[1]
RECORDS = ROOT / "docs" / "tables" / "performance.json"


class Record(Protocol):
    """Prints a result and keeps it."""

    def __call__(self, what: str, measured: str, asked: str = "") -> None: ...


@contextmanager
def recorded(script: str) -> Iterator[Record]:
    """Gives a function that takes the results of a benchmark, each as a line of the table."""
    results: list[dict[str, str]] = []

    def record(what: str, measured: str, asked: str = "") -> None:
        results.append({"what": what, "measured": measured, "asked": asked})
        print(f"{what}: {measured}" + (f" (asked: {asked})" if asked else ""), flush=True)

    yield record
    entries = json.loads(RECORDS.read_text(encoding="utf-8")) if RECORDS.is_file() else {}
    name = Path(script).name
    entries[name] = {
        "command": shlex.join(["python", f"benchmarks/{name}", *map(_without_place, sys.argv[1:])]),
        "finished": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "commit": _commit(),
        "machine": _machine(),
        "results": results,
    }
    write_bytes(RECORDS, (json.dumps(entries, indent=1, sort_keys=True, ensure_ascii=False) + "\n").encode())


def _without_place(argument: str) -> str:
    """An argument as it is; of an absolute path the last part, since the others are of one machine only."""
    option, equals, value = argument.rpartition("=")
    return f"{option}{equals}{Path(value).name}" if Path(value).is_absolute() else argument


def _commit() -> str:
    command = ["git", "-C", str(ROOT), "describe", "--always", "--exclude=*", "--dirty"]
    found = subprocess.run(command, capture_output=True, text=True)
    return found.stdout.strip() or "unknown"


def _machine() -> str:
    """Processor and the number of cores that this process may use."""
    info = Path("/proc/cpuinfo")
    model = re.search(r"^model name\s*: (.*)$", info.read_text() if info.is_file() else "", re.MULTILINE)
    return f"{model[1] if model else 'unknown processor'}, {len(os.sched_getaffinity(0))} cores"
