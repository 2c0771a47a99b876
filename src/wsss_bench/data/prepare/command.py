"""`wsss-bench data voc|coco|...`: from the official archives to the layout that the sources read."""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path
from typing import Any

from wsss_bench.artifacts.disk import naming_full_disk, size_text
from wsss_bench.artifacts.locks import locked
from wsss_bench.data.prepare.download import download, part_of
from wsss_bench.data.prepare.layouts import DATA_SETS, DataSet
from wsss_bench.data.prepare.official import Archive
from wsss_bench.data.prepare.space import check_target, require_space, require_writable
from wsss_bench.data.prepare.unpacking import Plan, make_plan, unpack
from wsss_bench.data.prepare.verification import check_complete, check_sums
from wsss_bench.data.progress import Progress
from wsss_bench.data.sources.base import expand_root

DATA_ROOT = "${WSSS_DATA}"


def register(commands: Any) -> None:
    """Add a command for each data set to the sub-commands of `wsss-bench data`."""
    for data_set in DATA_SETS:
        parser = commands.add_parser(
            data_set.name, help=f"make {data_set.folder}/ from {', '.join(a.name for a in data_set.archives)}"
        )
        parser.add_argument(
            "--archives", type=Path, required=True, help="folder of the official archives, under their names"
        )
        parser.add_argument(
            "--root",
            default=DATA_ROOT,
            help=f"folder that gets {data_set.folder}/ (default: $WSSS_DATA, or `data`)",
        )
        parser.add_argument(
            "--download", action="store_true", help="download archives that are missing, or go on with it"
        )
        parser.add_argument(
            "--mirror", metavar="URL", help="download from <URL>/<name of the archive> instead"
        )
        parser.add_argument(
            "--no-md5",
            action="store_true",
            help="take archives of another size or md5, such as repacked ones",
        )
        if data_set.optional:
            parser.add_argument(
                "--partial",
                action="store_true",
                help="make what the archives that are there allow",
            )
        parser.set_defaults(run=run, data_set=data_set, partial=False)


def run(arguments: argparse.Namespace) -> int:
    """Prepare a data set.

    Raises:
        ValueError, FileNotFoundError: archives are missing, not the official ones or broken; the root
            cannot be written, is too small, or has other files of the same names.
    """
    data_set: DataSet = arguments.data_set
    root = expand_root(arguments.root)
    folder = root / data_set.folder
    require_writable(folder)
    with locked(folder, "data"):
        paths = _find(data_set, arguments)
        if not arguments.no_md5:
            for warning in check_sums(paths):
                print(f"warning: {warning}", file=sys.stderr)
        plan = make_plan(data_set.rules, paths, folder)
        print(check_target(plan), flush=True)
        made = {name: split for name, split in data_set.splits.items() if split.needs in (None, *paths)}
        with naming_full_disk(folder):
            with Progress("unpacking", sum(step.bytes for step in plan.steps)) as progress:
                unpack(plan, progress)
            sources = {name: split.source(folder) for name, split in made.items()}
            if data_set.finish:
                data_set.finish(folder, sources)
        counts = {name: check_complete(source, name, folder) for name, source in sources.items()}
    _report(data_set, plan, counts, root)
    return 0


def _find(data_set: DataSet, arguments: argparse.Namespace) -> dict[Archive, Path]:
    """Where the archives are; missing ones are downloaded if that was asked for.

    Raises:
        FileNotFoundError: archives are missing.
    """
    if arguments.mirror and not arguments.download:
        raise ValueError("--mirror says where to download from; add --download, or leave it out")
    if arguments.mirror and not arguments.mirror.startswith(("http://", "https://")):
        raise ValueError(f"--mirror {arguments.mirror} is no address; it begins with http:// or https://")
    paths = {archive: arguments.archives / archive.name for archive in data_set.archives}
    missing = [archive for archive, path in paths.items() if not path.is_file()]
    if arguments.download and missing:
        _download({archive: paths[archive] for archive in missing}, arguments.mirror)
        missing = []
    if not missing:
        return paths
    found = {archive: path for archive, path in paths.items() if archive not in missing}
    if arguments.partial and _can_do_without(data_set, missing):
        print(f"without {_lost(data_set, missing)}", flush=True)
        return found
    here = ", ".join(archive.name for archive in found) or "none of its archives"
    absent = "; ".join(_missing(archive, arguments.archives) for archive in missing)
    possible = _can_do_without(data_set, missing)
    partial = f", or --partial to do without {_lost(data_set, missing)}" if possible else ""
    raise FileNotFoundError(
        f"{data_set.name}: {arguments.archives} has {here}; missing: {absent}. Put what is missing there, "
        f"or add --download{partial}"
    )


def _can_do_without(data_set: DataSet, missing: list[Archive]) -> bool:
    return set(missing) <= set(data_set.optional) and any(
        split.needs not in missing for split in data_set.splits.values()
    )


def _lost(data_set: DataSet, missing: list[Archive]) -> str:
    return "; ".join(f"{data_set.optional[archive]} ({archive.name})" for archive in missing)


def _missing(archive: Archive, folder: Path) -> str:
    begun = ", whose download has begun" if part_of(folder / archive.name).is_file() else ""
    account = ", which asks for an account" if archive.login else ""
    size = "size unknown" if archive.size is None else size_text(archive.size)
    return f"{archive.name} ({size}, {archive.url}{account}{begun})"


def _download(paths: dict[Archive, Path], mirror: str | None) -> None:
    """Download archives, after a look at the space that is free.

    Raises:
        ValueError: one asks for an account, or there is no space; or see `download`.
    """
    if not mirror and (closed := [archive for archive in paths if archive.login]):
        raise ValueError(
            f"{' and '.join(archive.url for archive in closed)} ask for an account: log in with a browser, "
            f"and put {' and '.join(archive.name for archive in closed)} into {paths[closed[0]].parent}"
        )
    folder = next(iter(paths.values())).parent
    require_writable(folder)
    begun = sum(part.stat().st_size for part in map(part_of, paths.values()) if part.is_file())
    needed = max(0, sum(archive.size or 0 for archive in paths) - begun)
    free = require_space(needed, len(paths), folder)
    unknown = [archive.name for archive in paths if archive.size is None]
    print(
        f"{size_text(needed)} to download into {folder}, {free}"
        + (f"; the size of {', '.join(unknown)} is unknown and not in it" if unknown else ""),
        flush=True,
    )
    for archive, path in paths.items():
        download(f"{mirror.rstrip('/')}/{archive.name}" if mirror else archive.url, path)


def _report(data_set: DataSet, plan: Plan, counts: dict[str, int], root: Path) -> None:
    """Print what was made, and the next command."""
    print(f"{plan.folder} is complete:")
    for name, count in sorted(plan.counts().items()):
        print(f"  {name}: {count} files")
    for split, count in counts.items():
        print(f"  split {split}: {count} images")
    same = root.absolute() == expand_root(DATA_ROOT).absolute()
    prefix = "" if same else f"WSSS_DATA={shlex.quote(str(root))} "
    others = f" (it serves {', '.join(data_set.configs[1:])} too)" if data_set.configs[1:] else ""
    print(f"next: {prefix}wsss-bench data check --config {data_set.configs[0]}{others}")
