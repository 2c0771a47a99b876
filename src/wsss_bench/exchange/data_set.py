"""The data set that a command names: a file of `configs/data`, or its name."""

from __future__ import annotations

import argparse
from pathlib import Path

from wsss_bench.data import check
from wsss_bench.data.sources.base import Source
from wsss_bench.plan.config import DataFile


def add_data_argument(parser: argparse.ArgumentParser) -> None:
    """Add `--data`."""
    parser.add_argument(
        "--data", type=Path, required=True, help="data set: such as configs/data/voc.yaml, or a name: voc"
    )


def read_data_set(name: Path) -> tuple[DataFile, Source]:
    """The file of a data set, checked, and its source.

    Raises:
        ConfigError, FileNotFoundError, ValueError: with what to change.
    """
    _, config = check.read_data_set(name)
    return config, check.load_source(config.source)
