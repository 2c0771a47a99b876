"""The stage folder of imported results: its manifest says where they come from."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import track

from wsss_bench.artifacts.data_reads import DataRead
from wsss_bench.artifacts.run import StageInfo, open_stage
from wsss_bench.data.listing import checked_digests
from wsss_bench.data.sources.base import Source
from wsss_bench.data.sources.files import DigestCache, FileSet, by_size, digest_of, listing_files

Progress = Callable[[Sequence[str]], Iterator[str]]
"""Yields ids and shows how far they are."""


@contextmanager
def imported_stage(
    out: Path,
    config: Mapping[str, Any],
    source: Source,
    split: str,
    parts: Sequence[str],
    folder: Path,
    files: Sequence[Path],
) -> Iterator[Progress]:
    """Open the stage folder `out`, which is complete when the body ends without an error.

    Args:
        out: The folder.
        config: What the manifest records; it has the key `source`.
        source: The data set.
        split: The split.
        parts: What is read of the split, besides its list.
        folder: Folder of the imported files.
        files: The imported files, compared by name and size: another import into the same folder is refused
            if these differ.
    """
    plain = json.dumps(config["source"], sort_keys=True)
    reads = [DataRead(plain, split, part) for part in ("lists", *parts)]
    data = checked_digests(source, reads, {}, out)
    data["imported"] = digest_of(listing_files([FileSet(folder, files, by_size)], DigestCache()))
    with open_stage(out, "import", dict(config), StageInfo(), data) as run:

        def progress(ids: Sequence[str]) -> Iterator[str]:
            for done, image_id in enumerate(track(ids, "importing", console=Console(stderr=True))):
                yield image_id
                run.progress(done + 1, len(ids), "images")

        yield progress
        run.record(image_count=len(files))
