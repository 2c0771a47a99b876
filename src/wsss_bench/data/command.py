"""`wsss-bench data`: make data, check it, export masks. Imports no torch."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from wsss_bench.data import check, coco_masks
from wsss_bench.mini.world.writer import SIZES, write_mini_world


def main(argv: list[str]) -> int:
    """Run the command; `argv` without the program's and the subcommand's name. Returns the exit status."""
    parser = argparse.ArgumentParser(prog="wsss-bench data", description="make or check data sets")
    commands = parser.add_subparsers(dest="command", required=True)
    mini = commands.add_parser("mini", help="write the generated mini world in VOC and in COCO layout")
    mini.add_argument("--root", type=Path, required=True, help="a folder of its own, made if absent")
    mini.add_argument("--size", choices=list(SIZES), default="full")
    mini.add_argument("--seed", type=int, default=0, help="same seed, same bytes (default: %(default)s)")
    mini.add_argument("--processes", type=int, help="worker processes (default: one per core)")
    mini.set_defaults(run=_mini)
    check.register(commands)
    coco_masks.register(commands)
    arguments = parser.parse_args(argv)
    return arguments.run(arguments)


def _mini(arguments: argparse.Namespace) -> int:
    try:
        write_mini_world(arguments.root, arguments.size, arguments.seed, arguments.processes)
    except (ValueError, FileExistsError) as error:
        print(f"wsss-bench data mini: {error}", file=sys.stderr)
        return 2
    print(f"mini world ({arguments.size}, seed {arguments.seed}) in {arguments.root}")
    return 0
