"""Command-line parser of the light commands."""

from __future__ import annotations

import argparse
from typing import NoReturn


class LineParser(argparse.ArgumentParser):
    """`argparse.ArgumentParser` that answers a wrong command line in one line, without the usage text."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}; `{self.prog} --help` shows the options\n")


def add_set(parser: argparse.ArgumentParser) -> None:
    """Add the option `--set`, with which an experiment is changed for one run (`plan.changes`)."""
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="[ROW:]KEY=VALUE",
        help="change a key of the method's configuration, such as cam:trainer.max_epochs=1, in this row of the "
        "experiment, in several (cam,clims:... or cli*:...) or, without a row, in all; the results are stages "
        "and a table of their own, <experiment>-set-<digest> (may be given several times)",
    )
