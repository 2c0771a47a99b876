"""Command-line parser of the light commands, and the options that choose a matrix."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import NoReturn


class LineParser(argparse.ArgumentParser):
    """`argparse.ArgumentParser` that answers a wrong command line in one line, without the usage text."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}; `{self.prog} --help` shows the options\n")


def add_matrix_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what says which matrix is meant and where its results are."""
    parser.add_argument(
        "experiment",
        type=Path,
        help="path of an experiment, such as experiments/mini.yaml; or its name, own or shipped: mini",
    )
    parser.add_argument(
        "--methods",
        type=lambda text: text.split(","),
        metavar="NAME,...",
        help="methods to run in place of those of the experiment, as an experiment of its own",
    )
    parser.add_argument(
        "--runs", type=Path, default=Path("runs"), help="folder of all results (default: runs)"
    )
    parser.add_argument(
        "--configs",
        type=Path,
        help="own folder of configurations, read before the shipped one (default: the nearest folder "
        "`configs` above the experiment, or that of the working directory)",
    )
