"""Are the archives the official ones, and is what was made of them complete?"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

from wsss_bench.data.prepare.official import Archive
from wsss_bench.data.progress import Progress
from wsss_bench.data.sources.base import Source

BLOCK = 1 << 20
PARTS = ("lists", "images", "labels", "masks")


def check_sums(paths: dict[Archive, Path]) -> list[str]:
    """Compare size and md5 of the archives with the official ones; sizes first, since they are known at once.

    Returns:
        What is uncertain, one sentence each: archives whose md5 is not known, or is one of several.

    Raises:
        ValueError: another size or md5.
    """
    warnings = []
    for archive, path in paths.items():
        if archive.size not in (None, path.stat().st_size):
            expected = f"{archive.size} with the md5 {' or '.join(archive.md5)}"
            warnings += _refused(f"{path} has {path.stat().st_size} bytes, expected {expected}", archive)
    for archive, path in paths.items():
        if not archive.md5:
            warnings.append(f"no md5 of {archive.name} is known to this program, so it is taken as it is")
            continue
        found = md5_of(path)
        if found not in archive.md5:
            warnings += _refused(f"{path} has the md5 {found}, expected {' or '.join(archive.md5)}", archive)
    return warnings


def md5_of(path: Path) -> str:
    """md5 of a file, hexadecimal."""
    digest = hashlib.md5(usedforsecurity=False)
    with open(path, "rb") as file, Progress(f"md5 of {path.name}", path.stat().st_size) as progress:
        while block := file.read(BLOCK):
            digest.update(block)
            progress.advance(len(block))
    return digest.hexdigest()


def check_complete(source: Source, split: str, folder: Path) -> int:
    """The number of images of a split, each of which has its files.

    Raises:
        ValueError: an image, annotation or mask is missing.
    """
    ids = source.ids(split)
    for part in PARTS:
        paths = [Path(path) for files in source.files(split, part) or () for path in files.paths]
        _require(paths, split, folder)
    return len(ids)


def _require(paths: Iterable[Path], split: str, folder: Path) -> None:
    missing = [path for path in paths if not path.is_file()]
    if missing:
        raise ValueError(
            f"{len(missing)} files of the split {split!r} are missing in {folder}, first "
            f"{missing[0].relative_to(folder)}; an archive is incomplete (truncated?): download it again"
        )


def _refused(said: str, archive: Archive) -> list[str]:
    """The sentence as a warning, where other files of the name are good too.

    Raises:
        ValueError: there is one official file.
    """
    if archive.certain:
        raise ValueError(
            f"{said} ({archive.source}): a wrong year or a truncated download. Download it again from "
            f"{archive.url}; --no-md5 takes it as it is"
        )
    return [f"{said}; several files of this name are in circulation, so it is taken"]
