"""`wsss-bench data`: makes, prepares and checks data sets, exports masks. It does not import torch."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from wsss_bench.arguments import LineParser
from wsss_bench.data import check, coco_masks
from wsss_bench.data.init import command as init
from wsss_bench.data.prepare import command as prepare
from wsss_bench.data.progress import Progress


def main(argv: list[str]) -> int:
    """Run the command and return its exit status; `argv` has neither `wsss-bench` nor `data`."""
    parser = LineParser(prog="wsss-bench data", description="make, prepare or check data sets")
    commands = parser.add_subparsers(dest="command", required=True)
    mini = commands.add_parser("mini", help="write the generated mini world in VOC and in COCO layout")
    mini.add_argument("--root", type=Path, required=True, help="folder for it alone, made if absent")
    mini.add_argument("--size", default="full", help="full, or small for tests (default: %(default)s)")
    mini.add_argument(
        "--seed",
        type=int,
        default=0,
        help="random seed; the same one gives the same bytes (default: %(default)s)",
    )
    mini.add_argument("--processes", type=int, help="worker processes (default: one per core)")
    mini.set_defaults(run=_mini)
    prepare.register(commands)
    check.register(commands)
    init.register(commands)
    coco_masks.register(commands)
    arguments = parser.parse_args(argv)
    return arguments.run(arguments)


def _mini(arguments: argparse.Namespace) -> int:
    from wsss_bench.mini.world.writer import write_mini_world  # imports scipy, which no other command needs

    world = (arguments.root, arguments.size, arguments.seed, arguments.processes)
    try:
        with Progress("drawing the mini world", None, "images") as progress:
            write_mini_world(*world, progress.reach)
    except (ValueError, FileExistsError) as error:
        print(f"wsss-bench data mini: {error}", file=sys.stderr)
        return 2
    print(f"mini world ({arguments.size}, random seed {arguments.seed}) in {arguments.root}")
    return 0
