"""The files that a stage wrote: recorded at its end, counted by the plan, checked by those who read them.

| file | content |
|---|---|
| `stage.json`, key `files` | `count`, `bytes`, `listing` (names and sizes), `sha256` of `files.json` |
| `files.json` | bytes and sha256 of each file, by path in the stage folder |

Log, progress, curves, plan, `begun.json`, `identity.json`, W&B and hidden files are not recorded. Files that
appear later do no harm. Those in a folder that was pruned (`pruning`) are not missed.
"""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Any

from wsss_bench.artifacts.files import is_complete, read_json, sha256_of, write_json
from wsss_bench.artifacts.layout import (
    BEGUN_FILE,
    CURVES,
    FAILURE_FILE,
    FILES,
    IDENTITY_FILE,
    INPUTS,
    LIGHTNING,
    LOG_FILE,
    MANIFEST,
    PLAN_FILE,
    PROGRESS,
    PRUNED_FILE,
    WANDB,
    find_json,
    find_manifest,
    how_to_mend,
    shortened,
)
from wsss_bench.artifacts.pruning import pruned_folders
from wsss_bench.artifacts.source_code import changed_digests

NOT_RECORDED = frozenset(
    {
        BEGUN_FILE,
        CURVES,
        FAILURE_FILE,
        FILES,
        IDENTITY_FILE,
        LIGHTNING,
        LOG_FILE,
        MANIFEST,
        PLAN_FILE,
        PROGRESS,
        PRUNED_FILE,
        WANDB,
    }
)
"""What a stage folder holds besides the results."""
REMOVED = ".removed"
"""Folder beside the stage folders for those that are being removed."""
MIXED = "mixed"
"""Digest of a module or an input that has changed between two attempts of a stage."""
Digests = dict[str, dict[str, Any]]
"""`bytes` and `sha256` by path: the content of `files.json`."""


class DamagedFileError(ValueError):
    """A file of a complete stage is missing, or is not the one that the stage wrote."""


def record_files(stage: Path) -> dict[str, Any]:
    """Write `files.json`; returns the value of the manifest's key `files`."""
    sizes = file_sizes(stage)
    content = {name: {"bytes": size, "sha256": sha256_of(stage / name)} for name, size in sizes.items()}
    write_json(stage / FILES, content)
    return {
        "count": len(sizes),
        "bytes": sum(sizes.values()),
        "listing": _listing(sizes),
        "sha256": sha256_of(stage / FILES),
    }


def begin(
    stage: Path, roots: list[str], modules: dict[str, str], config: Mapping[str, Any]
) -> dict[str, Any]:
    """Write down what a stage runs and reads, before it writes any result.

    Args:
        stage: The stage folder, locked.
        roots: What it runs (`source_code.roots_of`).
        modules: Digests of their modules.
        config: Its configuration, which names the stages that it reads.

    Returns:
        The manifest's keys `code` and `read`. Where an earlier attempt has left results, a module or an input
        that differed then is `MIXED`.
    """
    read = inputs_read(config)
    earlier = find_json(stage / BEGUN_FILE)
    if earlier and any("/" in name for name in file_sizes(stage)):  # checkpoints, seeds or masks
        changed = changed_digests(earlier.get("code", {}).get("modules", {}), modules)
        renewed = changed_digests(earlier.get("read", {}), read)
        modules, read = modules | dict.fromkeys(changed, MIXED), read | dict.fromkeys(renewed, MIXED)
        if changed or renewed:
            print(f"goes on with what has changed since it began: {shortened(changed + renewed)}", flush=True)
    begun = {"code": {"roots": roots, "modules": modules}, "read": read}
    write_json(stage / BEGUN_FILE, begun)
    return begun


def inputs_read(config: Mapping[str, Any]) -> dict[str, str]:
    """sha256 of `files.json` of each complete stage that a configuration names, by its key there."""
    manifests = {key: find_manifest(config[key]) for key in INPUTS if config.get(key)}
    return {key: content["files"]["sha256"] for key, content in manifests.items() if "files" in content}


def lost_files(stage: Path, manifest: Mapping[str, Any]) -> list[str]:
    """Files of a complete stage that are missing or have another size. Lists the folder and opens no file.

    Args:
        stage: The stage folder.
        manifest: Its manifest. One of an earlier version records no files, so that none are lost.
    """
    entry = manifest.get("files")
    if entry is None:
        return []
    sizes = file_sizes(stage)
    if _listing(sizes) == entry["listing"]:
        return [] if (stage / FILES).is_file() else [FILES]
    recorded = _recorded(stage, entry)
    if recorded is None:
        return [FILES]
    return [name for name, one in _kept(stage, recorded).items() if sizes.get(name) != one["bytes"]]


def damaged_files(stage: Path) -> list[str]:
    """Files of a complete stage that are missing or have another content. Reads all of them."""
    if not is_complete(stage):
        return []
    manifest = find_manifest(stage)
    if not manifest:
        return [MANIFEST, *_not_intact(stage, find_json(stage / FILES))]
    entry = manifest.get("files")
    if entry is None:
        return []
    recorded = _recorded(stage, entry)
    return [FILES] if recorded is None else _not_intact(stage, recorded)


def check_file(stage: Path, name: Path | str) -> None:
    """Check one file of another stage before it is read.

    Nothing is checked in a folder without manifest, and in a stage that an earlier version wrote.

    Raises:
        DamagedFileError: it is missing or has another content.
    """
    entry = find_manifest(stage).get("files")
    if entry is None:
        return
    recorded, path = _recorded(stage, entry), stage / name
    if recorded is None:
        raise DamagedFileError(f"{stage / FILES} is missing or was changed; {how_to_mend(path)}")
    if Path(name).as_posix() not in recorded:
        return
    if not _is_intact(path, recorded[Path(name).as_posix()]):
        what = (
            "is not the file that its stage wrote (size or sha256 differs)" if path.exists() else "is missing"
        )
        raise DamagedFileError(f"{path} {what}; {how_to_mend(path)}")


def mend(stage: Path) -> list[str]:
    """Reopen a complete stage if files are damaged; returns these, and nothing if it is intact."""
    damaged = damaged_files(stage)
    if damaged:
        reopen(stage, damaged)
    return damaged


def reopen(stage: Path, damaged: Iterable[str]) -> None:
    """Make a stage incomplete, so that its next run makes damaged and pruned files again.

    The manifest is removed last: if the process is killed in between, files are missing and the stage is
    known as damaged.
    """
    for name in (PRUNED_FILE, *damaged, FILES, MANIFEST):
        (stage / name).unlink(missing_ok=True)


def remove_stage(stage: Path) -> None:
    """Remove a stage folder, whose lock the caller holds; at any moment all of it is there, or none."""
    while stage.is_dir():
        grave = stage.parent / REMOVED / secrets.token_hex(8)
        grave.parent.mkdir(exist_ok=True)
        with suppress(FileNotFoundError):  # another bench has just swept the folder of the graves
            os.replace(stage, grave)
    sweep(stage.parent)


def sweep(stages: Path) -> None:
    """Delete what `remove_stage` has moved aside."""
    shutil.rmtree(stages / REMOVED, ignore_errors=True)


def file_sizes(stage: Path) -> dict[str, int]:
    """Bytes of the recorded files of a stage folder, by path with `/`, sorted."""
    return dict(sorted(_sizes(stage, "")))


def _sizes(folder: Path, prefix: str) -> Iterator[tuple[str, int]]:
    with os.scandir(folder) as entries:
        for entry in entries:
            if not prefix and (entry.name in NOT_RECORDED or entry.name.startswith(".")):
                continue
            if entry.name.startswith(".") and entry.name.endswith(".tmp"):  # a file that is being written
                continue
            if entry.is_dir():
                yield from _sizes(Path(entry.path), f"{prefix}{entry.name}/")
            elif entry.is_file():
                yield f"{prefix}{entry.name}", entry.stat().st_size


def _listing(sizes: Mapping[str, int]) -> str:
    return sha256("\n".join(f"{name}\0{size}" for name, size in sizes.items()).encode()).hexdigest()


def _recorded(stage: Path, entry: Mapping[str, Any]) -> Digests | None:
    """Content of `files.json`; None if it is not the one that belongs to the manifest."""
    path = stage / FILES
    if not path.is_file() or sha256_of(path) != entry["sha256"]:
        return None
    content: Digests = read_json(path)
    return content


def _not_intact(stage: Path, recorded: Digests) -> list[str]:
    kept = _kept(stage, recorded)
    return [name for name, one in kept.items() if not _is_intact(stage / name, one)]


def _kept(stage: Path, recorded: Digests) -> Digests:
    """Those of the recorded files that were not pruned."""
    folders = pruned_folders(stage)
    return {name: one for name, one in recorded.items() if name.partition("/")[0] not in folders}


def _is_intact(path: Path, recorded: Mapping[str, Any]) -> bool:
    try:
        # the size first: most damage shows there, without reading the file
        return path.stat().st_size == int(recorded["bytes"]) and sha256_of(path) == str(recorded["sha256"])
    except OSError:
        return False
