"""Command-line parser of the light commands."""

from __future__ import annotations

import argparse
from typing import NoReturn


class LineParser(argparse.ArgumentParser):
    """`argparse.ArgumentParser` that answers a wrong command line in one line, without the usage text."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}; `{self.prog} --help` shows the options\n")
