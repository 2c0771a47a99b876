"""`wsss-bench data init`: writes the configuration of own images, and checks them."""

from __future__ import annotations

import argparse
import re
import shlex
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from wsss_bench.artifacts.files import file_names, write_bytes
from wsss_bench.data import check
from wsss_bench.data.init.files import NewDataSet, config_files, portable, table_text
from wsss_bench.data.init.splits import TRAIN, VAL_FRACTION, splits_of
from wsss_bench.data.sources.class_lists import check_class_names, read_class_list
from wsss_bench.data.sources.folder import Folder
from wsss_bench.data.sources.tables import TableRow, read_table
from wsss_bench.plan.config_folder import DATA
from wsss_bench.plan.schema import ConfigError
from wsss_bench.ranges import check_range
from wsss_bench.shipped import CONFIGS

NAME = re.compile(r"[a-z][a-z0-9_]*")
LABELS, CLASSES = "labels.csv", "classes.txt"
"""Files that are written where the user's own say too little, in a folder beside the YAML file."""


def register(commands: Any) -> None:
    """Add the command to the sub-commands of `wsss-bench data`."""
    parser = commands.add_parser("init", help="write the configuration of own images, and check them")
    parser.add_argument("--images", type=Path, required=True, help="folder of images, with its sub-folders")
    parser.add_argument("--labels", type=Path, help="csv with the columns image,classes[,split]; required")
    parser.add_argument("--masks", type=Path, help="folder of <id>.png, for scores and full supervision")
    parser.add_argument("--name", default="own", help="name of the data set (default: %(default)s)")
    parser.add_argument(
        "--classes",
        type=Path,
        help="list of classes in the order of the mask values (default: those of the table, sorted)",
    )
    parser.add_argument(
        "--mask-values",
        type=_mask_value,
        nargs="+",
        metavar="FILE=MASK",
        help="what values in the files of masks mean: 255=1 for objects of a single class painted as 255",
    )
    parser.add_argument(
        "--val-fraction",
        type=float,
        help=f"share of images that `val` is drawn from, without a column `split` (default: {VAL_FRACTION}, "
        "or all images with a mask, if only some have one)",
    )
    parser.add_argument(
        "--random-seed", type=int, default=0, help="random seed of that draw (default: %(default)s)"
    )
    parser.add_argument(
        "--into", type=Path, default=Path(), metavar="DIR", help="project to write to (default: this folder)"
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Write the files, check the data, and say what to run next; 1 if the data have problems."""
    _check_arguments(arguments)
    rows = list(read_table(arguments.labels, "classes"))
    if not rows:
        raise ValueError(f"{arguments.labels} lists no image; add one row for each")
    images = {row.image_id for row in rows}
    on_disk = file_names(arguments.masks) if arguments.masks else set[str]()
    masked = images & {name.removesuffix(".png") for name in on_disk if name.endswith(".png")}
    if arguments.masks and not masked:
        raise ValueError(
            f"{arguments.masks} has no mask of an image in {arguments.labels}; expected <id>.png, such as "
            f"{min(images)}.png"
        )
    splits = splits_of(rows, masked, arguments.val_fraction, arguments.random_seed)
    own = {} if splits == [row.split for row in rows] else {LABELS: table_text(rows, splits)}
    classes = read_class_list(arguments.classes) if arguments.classes else _classes_in(rows)
    if not arguments.classes:
        check_class_names(classes, f"the column `classes` of {arguments.labels}")
        own[CLASSES] = "".join(f"{name}\n" for name in classes)
    folder = arguments.into / "configs" / DATA / arguments.name
    given = {"labels": arguments.labels, "classes": arguments.classes}
    source = {"root": portable(folder), "images": portable(arguments.images)}
    source |= {
        key: name if name in own else portable(given[key])
        for key, name in (("labels", LABELS), ("classes", CLASSES))
    }
    if arguments.masks:
        source["masks"] = portable(arguments.masks)
    values = {"mask_values": dict(arguments.mask_values)} if arguments.mask_values else {}
    _try_out(source | values, own, rows)
    data = NewDataSet(
        arguments.name, source | values, classes, _counts(splits), _unscored(rows, splits, masked)
    )
    files = {folder / name: text for name, text in own.items()}
    files |= {arguments.into / name: text for name, text in config_files(data).items()}
    _write(files)
    _describe(data, files, own, bool(arguments.masks))
    status = check.run(
        argparse.Namespace(
            config=arguments.into / f"configs/{DATA}/{arguments.name}.yaml", experiment=None, json=None
        )
    )
    place = f"cd {shlex.quote(str(arguments.into))} && " if arguments.into != Path() else ""
    print(f"next: {place}wsss-bench bench experiments/{arguments.name}.yaml --dry-run")
    return status


def _check_arguments(arguments: argparse.Namespace) -> None:
    """Refuse what is missing or cannot be used, before anything is read."""
    if arguments.labels is None:
        raise ConfigError(
            "--labels is missing: methods learn from the classes of each image; give a table with the "
            "columns image,classes. Images without labels can be segmented one by one, with words for the "
            "classes: docs/start/own_images.md"
        )
    if not NAME.fullmatch(arguments.name):
        raise ConfigError(
            f"--name: {arguments.name!r} cannot name a data set; expected small letters, digits and _, such "
            "as leaves_2024"
        )
    # in a checkout, one's own files lie beside those that come with the package
    if (file := CONFIGS / DATA / f"{arguments.name}.yaml").is_file():
        raise ConfigError(
            f"--name: there is a data set {arguments.name!r} already ({file}); choose another name, or "
            f"remove its files first: configs/{DATA}/{arguments.name}*, configs/*/*.{arguments.name}.yaml "
            f"and experiments/{arguments.name}.yaml"
        )
    for option, folder in (("--images", arguments.images), ("--masks", arguments.masks)):
        if folder is not None and not folder.is_dir():
            raise FileNotFoundError(f"{option}: there is no folder {folder}; check the path")
    if arguments.val_fraction is not None:
        check_range("--val-fraction", arguments.val_fraction, above=0, below=1)


def _mask_value(text: str) -> tuple[int, int]:
    found = re.fullmatch(r"(\d+)=(\d+)", text)
    if found is None:
        raise argparse.ArgumentTypeError(f"expected FILE=MASK, such as 255=1; got {text!r}")
    return int(found[1]), int(found[2])


def _classes_in(rows: Sequence[TableRow]) -> tuple[str, ...]:
    """The classes of a table, sorted."""
    names = {name.strip() for row in rows for part in row.value.split(";") for name in part.split(",")}
    found = tuple(sorted(names - {""}, key=str.casefold))
    if not found:
        raise ValueError("no row of the table names a class; fill its column `classes`")
    return found


def _counts(splits: Sequence[str]) -> dict[str, int]:
    """Number of images of each split, `train` first."""
    counts = Counter(splits)
    return {TRAIN: counts.pop(TRAIN), **counts}


def _unscored(rows: Sequence[TableRow], splits: Sequence[str], masked: set[str]) -> list[str]:
    """The splits without any mask."""
    scored = {split for row, split in zip(rows, splits, strict=True) if row.image_id in masked}
    return [split for split in _counts(splits) if split not in scored]


def _try_out(source: dict[str, Any], own: dict[str, str], rows: Sequence[TableRow]) -> None:
    """Build the source with the files that will be written, so that nothing is written for a bad table.

    Raises:
        FileNotFoundError, ValueError: with the lines of the user's table in place of those of the copy.
    """
    with tempfile.TemporaryDirectory() as name:
        for file, text in own.items():
            Path(name, file).write_text(text, encoding="utf-8")
        copy = f"{Path(name, LABELS)}, line "

        def of_table(found: re.Match[str]) -> str:  # the copy has a header and no blank line
            return rows[int(found[1]) - 2].where

        try:
            Folder(**source | {"root": name})
        except (FileNotFoundError, ValueError) as error:
            if copy not in str(error):
                raise
            raise type(error)(re.sub(rf"{re.escape(copy)}(\d+)", of_table, str(error))) from error


def _write(files: dict[Path, str]) -> None:
    if existing := [str(path) for path in files if path.exists()]:
        raise ConfigError(
            f"{', '.join(existing)} exist{'' if len(existing) > 1 else 's'} already; nothing is written. "
            "Choose another --name, or remove what is in the way"
        )
    for path, text in files.items():
        write_bytes(path, text.encode())


def _describe(data: NewDataSet, files: dict[Path, str], own: dict[str, str], has_masks: bool) -> None:
    """Say what was written, and what was decided."""
    for line in _decisions(data, own, has_masks):
        print(line)
    print(f"written: {', '.join(map(str, files))}", flush=True)


def _decisions(data: NewDataSet, own: dict[str, str], has_masks: bool) -> Iterator[str]:
    if CLASSES in own and has_masks:
        values = ", ".join(f"{value} {name}" for value, name in enumerate(data.class_names, start=1))
        yield f"mask values: {values}; give --classes FILE where the masks are numbered in another order"
    if LABELS in own:
        counts = ", ".join(f"{split} {count}" for split, count in data.counts.items())
        yield f"splits, drawn: {counts}; a column `split` in the table says otherwise"
    if data.unscored:
        yield (
            f"without masks: {', '.join(data.unscored)}. Methods are trained and make seeds and predictions, "
            "which get no score there; full supervision needs masks of train"
        )
