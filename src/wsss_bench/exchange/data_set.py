"""The data set that a command names: a file of `configs/data`, or its name."""

from __future__ import annotations

import argparse
from pathlib import Path

from wsss_bench.data.check import load_source
from wsss_bench.data.sources.base import Source
from wsss_bench.plan.config import DataFile
from wsss_bench.plan.config_folder import DATA, read_data_file
from wsss_bench.plan.search_path import find_config
from wsss_bench.plan.yaml_files import read_yaml
from wsss_bench.short_names import with_full_paths


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
    file = find_config(DATA, name)
    config = read_data_file(file, with_full_paths(read_yaml(file), f"{file}: "))
    return config, load_source(config.source)
