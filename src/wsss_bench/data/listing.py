"""The files that a stage reads of a source, with their digests."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from wsss_bench.artifacts.data_reads import DataRead
from wsss_bench.artifacts.files import mask_path
from wsss_bench.artifacts.layout import data_folder
from wsss_bench.data.sources.base import Source
from wsss_bench.data.sources.files import (
    DigestCache,
    FileSet,
    changed_files,
    digest_of,
    listing_files,
    read_listing,
)
from wsss_bench.variables import expand_variables

MODEL_CONFIG = "config.json"
"""File that every folder with a model of `transformers` has."""


def listing_of(source: Source, read: DataRead, cache: DigestCache) -> dict[str, str] | None:
    """Digests of the files that a stage reads, by name; None if the source does not say what it reads."""
    if read.part == "named":
        return named_listing(read.path, cache)
    if read.part == "maps":
        folder = Path(expand_variables(read.path)).expanduser()
        paths = [mask_path(folder, image_id) for image_id in source.ids(read.split)]
        return listing_files([FileSet(folder, paths)], cache)
    files = source.files(read.split, read.part)
    return None if files is None else listing_files(files, cache)


def named_listing(text: str, cache: DigestCache) -> dict[str, str] | None:
    """Digests of a file, or of the files of a model folder, by name; None if the text names neither.

    The name of a model on a hub has a slash, too, and belongs to no file.
    """
    try:
        path = Path(expand_variables(text)).expanduser()
    except (ValueError, RuntimeError):  # a variable or a user that does not exist; the stage refuses it
        return None
    if os.path.isfile(path):  # a text may be too long for a path, which `Path.is_file` does not forgive
        return listing_files([FileSet(path.parent, [path])], cache)
    if os.path.isfile(path / MODEL_CONFIG):
        paths = sorted(file for file in path.iterdir() if file.is_file())
        return listing_files([FileSet(path, paths)], cache)
    return None


def checked_digests(
    source: Source, reads: Iterable[DataRead], planned: dict[str, str], out: Path
) -> dict[str, str]:
    """Digests of what a stage reads, by the names of `reads`; unknown ones are left out.

    Args:
        source: The source, as the stage built it.
        reads: What the stage reads.
        planned: The digests that it was planned with; empty for a stage that was started by hand.
        out: The stage folder.

    Raises:
        ValueError: a digest is not the planned one; the message names up to five files.
    """
    folder = data_folder(out)
    cache = DigestCache(folder)
    digests: dict[str, str] = {}
    changed: list[str] = []
    for read in reads:
        listing = listing_of(source, read, cache)
        if listing is None:
            continue
        digests[read.name] = digest_of(listing)
        if planned.get(read.name, digests[read.name]) != digests[read.name]:
            before = None if folder is None else read_listing(folder, planned[read.name])
            files = [] if before is None else changed_files(before, listing)
            shown = ", ".join(files[:5]) + (f", and {len(files) - 5} more" if len(files) > 5 else "")
            changed.append(f"{read.name} ({shown})" if files else read.name)
    cache.save()
    if changed:
        raise ValueError(
            f"the data are not those that {out} was planned with: {'; '.join(changed)}. Restore them, or run "
            "the bench again, which plans new stages for the changed data"
        )
    return digests
