"""Command-line parser of the light commands, and the options that choose a matrix."""

from __future__ import annotations

import argparse
import re
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NoReturn


class LineParser(argparse.ArgumentParser):
    """`argparse.ArgumentParser` that answers a wrong command line in one line, without the usage text.

    Options are not abbreviated, since a misspelt one could then be taken for another.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**{"allow_abbrev": False, **kwargs})

    def error(self, message: str) -> NoReturn:
        wrong = re.search(r"unrecognized arguments: (--?[\w-]+)", message)
        close = get_close_matches(wrong[1], self._option_string_actions, n=1) if wrong else []
        hint = f"; did you mean {close[0]}?" if close else ""
        self.exit(2, f"{self.prog}: {message}{hint}; `{self.prog} --help` shows the options\n")


def add_matrix_arguments(parser: argparse.ArgumentParser, optional: bool = False) -> None:
    """Add what says which matrix is meant and where its results are.

    Args:
        parser: Receives the arguments.
        optional: Whether the command does without an experiment, and takes all results then.
    """
    parser.add_argument(
        "experiment",
        type=Path,
        nargs="?" if optional else None,
        help="path of an experiment, such as experiments/mini.yaml; or its name, own or shipped: mini"
        + ("; all results without it" if optional else ""),
    )
    parser.add_argument(
        "--methods",
        type=lambda text: text.split(","),
        metavar="NAME,...",
        help="methods to run in place of those of the experiment, as an experiment of its own",
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="[ROW:]KEY=VALUE",
        help="change a key of the method's configuration, such as cam:trainer.max_epochs=1, in this row of "
        "the experiment, in several (cam,clims:... or cli*:...) or, without a row, in all; the results are "
        "stages and a table of their own, <experiment>-set-<digest> (may be given several times)",
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
