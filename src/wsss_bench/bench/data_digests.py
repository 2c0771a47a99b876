"""Looks at the data of a plan, so that stages whose data changed are other stages."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

from wsss_bench.artifacts.data_reads import DataRead
from wsss_bench.artifacts.data_record import Recorded, read_record, write_record
from wsss_bench.artifacts.layout import DATA_FOLDER, DATA_RECORD
from wsss_bench.data.check import load_source
from wsss_bench.data.listing import listing_of, named_listing
from wsss_bench.data.sources.base import Source
from wsss_bench.data.sources.files import DigestCache, digest_of, write_listing
from wsss_bench.errors import explain
from wsss_bench.plan.plan import Plan, StageFolder


def look_at_data(plan: Plan, runs: Path, *, record: bool) -> Plan:
    """The plan of the same experiment with the digests of the data as they are now.

    Data that cannot be read keep the digests that were recorded, and none if there are none. Notes of the
    plan say what is missing and what changed.

    Args:
        plan: The plan, with the digests that were recorded.
        runs: Folder of all results. Digests of files are cached there.
        record: Whether to record the digests, so that a machine without the data plans alike.
    """
    path = runs / plan.experiment / DATA_RECORD
    recorded = read_record(path)
    digests = {read: known.digest for read, known in recorded.items() if read in plan.data}
    look = _Look(runs / DATA_FOLDER, record)
    digests |= {read: digest for read in plan.data if (digest := look.digest(read)) is not None}
    look.cache.save()
    new = plan.with_data(digests)
    StageFolder(runs).check_results(new.stages.values())
    new.notes += look.notes()
    changed = [read for read, known in recorded.items() if digests.get(read, known.digest) != known.digest]
    if changed:
        since = min(recorded[read].since for read in changed)
        count = len(new.stages.keys() - plan.stages.keys())
        new.notes.append(
            f"data changed since {since}: {count} stages are new ({_names(changed)}); "
            "the results for the old data stay where they are"
        )
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    found = {
        read: recorded[read]
        if read in recorded and recorded[read].digest == digest
        else Recorded(digest, now)
        for read, digest in digests.items()
    }
    if record and found != recorded:
        write_record(path, found)
    return new


class _Look:
    """Builds each source once and computes the digests of what is read of it.

    Args:
        folder: Folder of the cache, and of the listings that name changed files later.
        keep: Whether to write them.
    """

    def __init__(self, folder: Path, keep: bool) -> None:
        self.cache = DigestCache(folder)
        self._folder = folder
        self._keep = keep
        self._sources: dict[str, Source | None] = {}
        self._unreadable: dict[str, str] = {}
        self._unknown: set[str] = set()

    def digest(self, read: DataRead) -> str | None:
        """The digest; None if the data cannot be read, or the source does not say what it reads."""
        try:
            listing = self._listing(read)
        except Exception as error:  # whatever the code of a source raises; the checks of stages refuse it
            reason = explain(error) or f"{type(error).__name__}: {error}"
            self._unreadable.setdefault(read.path or f"the data of {_class(read.source)}", reason)
            return None
        if listing is None:
            return None
        if self._keep:
            write_listing(self._folder, listing)
        return digest_of(listing)

    def notes(self) -> Iterator[str]:
        """What could not be looked at."""
        for what, reason in self._unreadable.items():
            yield f"{what} cannot be read now, so that changes are not seen: {reason}"
        for source in sorted(self._unknown):
            yield (
                f"{_class(source)} does not say which files it reads (no `root`, no `files`), "
                "so that changed data are not seen"
            )

    def _listing(self, read: DataRead) -> dict[str, str] | None:
        if not read.source:
            return named_listing(read.path, self.cache)
        source = self._source(read.source)
        if source is None:
            return None
        listing = listing_of(source, read, self.cache)
        if listing is None:
            self._unknown.add(read.source)
        return listing

    def _source(self, config: str) -> Source | None:
        if config not in self._sources:
            self._sources[config] = None  # an error is reported once
            self._sources[config] = load_source(json.loads(config))
        return self._sources[config]


def _names(reads: list[DataRead]) -> str:
    names = sorted({read.name for read in reads})
    return ", ".join(names[:6]) + (", ..." if len(names) > 6 else "")


def _class(source: str) -> str:
    return str(json.loads(source).get("class_path")).rpartition(".")[2]
