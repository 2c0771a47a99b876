"""`wsss-bench export`: masks for other programs. It does not import torch."""

from __future__ import annotations

import argparse
from pathlib import Path

from wsss_bench.arguments import LineParser
from wsss_bench.exchange.data_set import read_data_set
from wsss_bench.exchange.pseudo_masks import export_pseudo_masks
from wsss_bench.exchange.voc_test import COMPETITIONS, export_voc_test


def main(argv: list[str]) -> int:
    """Run the command and return its exit status; `argv` has neither `wsss-bench` nor `export`."""
    parser = LineParser(prog="wsss-bench export", description="write masks for other programs")
    commands = parser.add_subparsers(dest="command", required=True)
    test = commands.add_parser("voc-test", help="predictions of VOC's test images, for its evaluation server")
    test.add_argument("--masks", type=Path, required=True, help="predict stage, or folder of <image id>.png")
    test.add_argument("--data", type=Path, default=Path("voc"), help="data set (default: %(default)s)")
    test.add_argument(
        "--competition",
        choices=COMPETITIONS,
        default=COMPETITIONS[0],
        help="comp5: trained on the segmentation data of VOC 2012 alone; comp6: on other data, too "
        "(default: %(default)s)",
    )
    test.set_defaults(run=_voc_test)
    masks = commands.add_parser("pseudo-masks", help="masks of a stage, a list and a manifest")
    masks.add_argument("masks", type=Path, metavar="STAGE", help="complete refine or predict stage")
    masks.add_argument(
        "--ignored",
        choices=("keep", "background"),
        default="keep",
        help="what becomes of pixels with 255 (default: %(default)s)",
    )
    masks.set_defaults(run=_pseudo_masks)
    for command, form in ((test, "tar file: .tar, .tar.gz or .tgz"), (masks, "new folder, or tar file")):
        command.add_argument("--readout", metavar="NAME", help="folder of a predict stage, such as ms-crf")
        command.add_argument("--out", type=Path, required=True, help=form)
    arguments = parser.parse_args(argv)
    return arguments.run(arguments)


def _voc_test(arguments: argparse.Namespace) -> int:
    _, source = read_data_set(arguments.data)
    count = export_voc_test(source, arguments.masks, arguments.out, arguments.competition, arguments.readout)
    print(f"{count} masks for {arguments.competition} in {arguments.out}")
    return 0


def _pseudo_masks(arguments: argparse.Namespace) -> int:
    manifest = export_pseudo_masks(arguments.masks, arguments.out, arguments.readout, arguments.ignored)
    print(f"{manifest['images']} masks in {arguments.out}, sha256 {manifest['sha256']}")
    return 0
