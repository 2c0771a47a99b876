"""`wsss-bench import`: results of other repositories, as stages. It does not import torch."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from wsss_bench.arguments import LineParser
from wsss_bench.exchange.cam_files import MAPS
from wsss_bench.exchange.data_set import add_data_argument, read_data_set
from wsss_bench.exchange.import_masks import import_masks
from wsss_bench.exchange.import_seeds import import_seeds
from wsss_bench.exchange.seed_of_cams import Reading


def main(argv: list[str]) -> int:
    """Run the command and return its exit status; `argv` has neither `wsss-bench` nor `import`."""
    parser = LineParser(prog="wsss-bench import", description="results of other repositories, as stages")
    commands = parser.add_subparsers(dest="command", required=True)
    seeds = commands.add_parser("seeds", help="class activation maps: <image id>.npy or .npz")
    seeds.add_argument("--cams", type=Path, required=True, help="folder of the files")
    seeds.add_argument(
        "--map",
        metavar="NAME",
        help=f"maps of a dictionary to read (default: the first of {', '.join(MAPS)})",
    )
    seeds.add_argument(
        "--numbering",
        choices=("classes", "mask_values"),
        default="classes",
        help="what the keys of a dictionary number: classes, 0 is the first one, or mask_values, 0 is "
        "background (default: %(default)s)",
    )
    seeds.add_argument("--clip", action="store_true", help="set negative scores to 0")
    seeds.add_argument("--normalize", action="store_true", help="divide each map by its maximum")
    seeds.set_defaults(run=_seeds)
    masks = commands.add_parser("masks", help="pseudo masks: <image id>.png, indexed or 8 bit grey")
    masks.add_argument("--masks", type=Path, required=True, help="folder of the files")
    masks.set_defaults(run=_masks)
    for command in (seeds, masks):
        add_data_argument(command)
        command.add_argument("--split", required=True, help="split of the images, such as train")
        command.add_argument("--out", type=Path, required=True, help="stage folder to write")
    arguments = parser.parse_args(argv)
    return arguments.run(arguments)


def _seeds(arguments: argparse.Namespace) -> int:
    data, source = read_data_set(arguments.data)
    reading = Reading(arguments.map, arguments.numbering, arguments.clip, arguments.normalize)
    config = _recorded(arguments, data.source) | {"cams": str(arguments.cams), **reading._asdict()}
    noted = import_seeds(source, arguments.split, arguments.cams, arguments.out, reading, config)
    print(f"{noted}seeds of split {arguments.split!r} in {arguments.out}")
    return 0


def _masks(arguments: argparse.Namespace) -> int:
    data, source = read_data_set(arguments.data)
    config = _recorded(arguments, data.source) | {"imported_masks": str(arguments.masks)}
    import_masks(source, arguments.split, arguments.masks, arguments.out, config)
    print(f"masks of split {arguments.split!r} in {arguments.out}")
    return 0


def _recorded(arguments: argparse.Namespace, source: dict[str, Any]) -> dict[str, Any]:
    """What the manifest says about both kinds."""
    return {"source": source, "split": arguments.split, "out": str(arguments.out)}
