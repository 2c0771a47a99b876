"""`wsss-bench data coco-masks`: writes the masks of a COCO split as PNGs, with one hash over all of them.

The benchmark itself decodes the json and does not need these files. They are for other code bases; by the
hash two groups can check that they score against the same masks.
"""

from __future__ import annotations

import argparse
import hashlib
import multiprocessing
import os
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import track

from wsss_bench.artifacts.files import write_bytes, write_mask
from wsss_bench.data.sources.coco import COCO

_job: tuple[COCO, Path]  # source and folder of a worker process; too large to be sent with every image


def write_masks(source: COCO, split: str, out: str | Path, processes: int | None = None) -> str:
    """Write `<out>/<id>.png` for every image of a split, and `<out>/<split>.sha256`.

    Args:
        source: The data set; it must decode the json and not read prepared masks.
        split: `train` or `val`.
        out: Folder to write; a source reads the masks from there with its argument `masks`.
        processes: Number of processes; all cores by default.

    Returns:
        sha256 over ids and pixels in the order of the ids; it does not depend on the PNG encoder.
    """
    if source.masks is not None:
        raise ValueError(
            f"the source reads prepared masks from {source.masks}; leave `masks` out to decode the json"
        )
    ids = sorted(source.ids(split))
    folder = Path(out)
    total = hashlib.sha256()
    with multiprocessing.Pool(processes or os.cpu_count(), _start, (source, folder)) as pool:
        digests = pool.imap(_write, ids, chunksize=16)
        progress = track(digests, f"masks of {split}", total=len(ids), console=Console(stderr=True))
        for digest in progress:
            total.update(digest)
    write_bytes(folder / f"{split}.sha256", f"{total.hexdigest()}\n".encode())
    return total.hexdigest()


def _start(source: COCO, folder: Path) -> None:
    global _job
    _job = (source, folder)


def _write(image_id: str) -> bytes:
    source, folder = _job
    mask = source.mask(image_id)
    write_mask(folder, image_id, mask)
    return pixel_digest(image_id, mask)


def pixel_digest(image_id: str, mask: np.ndarray) -> bytes:
    """sha256 over the id and the pixels of a mask `(H, W)` uint8."""
    height, width = mask.shape
    return hashlib.sha256(f"{image_id} {height} {width}\n".encode() + mask.tobytes()).digest()


def register(commands: Any) -> None:
    """Add the command to the sub-commands of `wsss-bench data`."""
    parser = commands.add_parser("coco-masks", help="write the masks of a COCO split as PNGs")
    parser.add_argument("--root", required=True, help="folder that holds annotations/")
    parser.add_argument("--split", required=True, help="train or val")
    parser.add_argument("--out", type=Path, required=True, help="folder of masks")
    parser.add_argument("--year", type=int, default=2014)
    parser.add_argument("--vocabulary", default="coco", help="name, or path of a list of classes")
    parser.add_argument(
        "--other-categories", choices=("background", "ignored"), default="background",
        help="what the pixels of categories outside the vocabulary become (default: %(default)s)",
    )  # fmt: skip
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Write the masks and print their hash."""
    source = COCO(
        arguments.root, arguments.year, arguments.vocabulary, other_categories=arguments.other_categories
    )
    print(write_masks(source, arguments.split, arguments.out))
    return 0
