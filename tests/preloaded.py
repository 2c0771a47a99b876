"""Stands in for a package that makes a temporary folder when it is imported, as wandb does."""

from pathlib import Path
from tempfile import TemporaryDirectory

FOLDER = TemporaryDirectory()


def look(arguments: list[str]) -> int:
    """A stage that needs the folder."""
    return 0 if Path(FOLDER.name).is_dir() else 1
