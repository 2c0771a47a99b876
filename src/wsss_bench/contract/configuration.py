"""Finds the YAML file of a method, by its path or by its name."""

from __future__ import annotations

from pathlib import Path

from wsss_bench.plan.config import MethodFile
from wsss_bench.plan.reader import read_method

CPU = {"accelerator": "cpu", "devices": 1, "precision": "32-true"}
"""Arguments of the trainer."""
SHIPPED = Path(__file__).resolve().parents[3] / "configs"


def find_method(given: str) -> tuple[Path, MethodFile]:
    """The file of a method and its content with its overlay `<name>.mini.yaml`, if there is one.

    Args:
        given: Path of a YAML file, or the name of one in `configs/methods` of the working directory, a folder
            above it, or this repository.

    Raises:
        FileNotFoundError, ConfigError: no such file, or one that is not valid.
    """
    path = Path(given)
    if path.suffix not in (".yaml", ".yml"):
        folders = [folder / "configs" for folder in (Path.cwd(), *Path.cwd().parents)] + [SHIPPED]
        found = [folder / "methods" / f"{given}.yaml" for folder in folders]
        path = next((file for file in found if file.is_file()), found[0])
    if not path.is_file():
        raise FileNotFoundError(
            f"{path} does not exist; give the YAML file of a method, or the name of one in configs/methods"
        )
    return path, read_method(path, path.with_name(f"{path.stem}.mini.yaml"), CPU)
