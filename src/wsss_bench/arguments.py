"""Command-line parser of the light commands."""

from __future__ import annotations

import argparse
import re
from difflib import get_close_matches
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


def add_set(parser: argparse.ArgumentParser) -> None:
    """Add the option `--set`, with which an experiment is changed for one run (`plan.changes`)."""
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="[ROW:]KEY=VALUE",
        help="change a key of the method's configuration, such as cam:trainer.max_epochs=1, in this row of "
        "the experiment, in several (cam,clims:... or cli*:...) or, without a row, in all; the results are "
        "stages and a table of their own, <experiment>-set-<digest> (may be given several times)",
    )
