"""Finds the YAML file of a method, by its path or by its name."""

from __future__ import annotations

from pathlib import Path

from wsss_bench.plan.config import MethodFile
from wsss_bench.plan.config_folder import METHODS
from wsss_bench.plan.reader import read_method
from wsss_bench.plan.search_path import find_config
from wsss_bench.shipped import CONFIGS

CPU = {"accelerator": "cpu", "devices": 1, "precision": "32-true"}
"""Arguments of the trainer."""


def find_method(given: str) -> tuple[Path, MethodFile]:
    """The file of a method and its content with its overlay `<name>.mini.yaml`, if there is one.

    The overlay of a file in a folder `configs/methods` may be a shipped one, as in a bench.

    Args:
        given: Path of a YAML file, or the name of an own or a shipped method.

    Raises:
        FileNotFoundError, ConfigError: no such file, or one that is not valid.
    """
    path = find_config(METHODS, Path(given))
    if not path.is_file():
        raise FileNotFoundError(
            f"{path} does not exist; give the YAML file of a method, or the name of one in configs/methods"
        )
    overlay = path.with_name(f"{path.stem}.mini.yaml")
    if not overlay.is_file() and path.resolve().parent.name == METHODS:
        overlay = CONFIGS / METHODS / overlay.name
    return path, read_method(path, overlay, CPU)
