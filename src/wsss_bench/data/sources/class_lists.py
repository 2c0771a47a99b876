"""Class names: a vocabulary of the package, or the user's own list in a file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from wsss_bench import vocabulary as vocabularies
from wsss_bench.data.sources.base import expand_root
from wsss_bench.data.sources.text_files import read_text
from wsss_bench.types import IGNORE

MOST = IGNORE - 1
"""Classes that fit into an 8 bit mask besides background and 255."""


def load_classes(vocabulary: str, root: Path) -> tuple[str, ...]:
    """Class names in label order: class `c` is mask value `c + 1`.

    Args:
        vocabulary: Name of a file of `wsss_bench/vocabulary`; or a path to a list of class names (a name that
            ends with `.txt` or contains `/`), absolute, relative to `root` or to the working directory.
            Environment variables are expanded.
        root: Folder of the data set.

    Raises:
        FileNotFoundError: no such list.
        ValueError: no such vocabulary, or a list that cannot be used.
    """
    path = own_list(vocabulary, root)
    if path is not None:
        if not path.is_file() and not path.is_absolute():
            missing = "" if root.is_dir() else f"; there is no folder {root.absolute()}"
            raise FileNotFoundError(
                f"no list of classes: neither {(root / path).absolute()} nor {path.absolute()} exists"
                f"{missing}; expected one class name per line, in label order"
            )
        return read_class_list(path)
    names = vocabularies.load(vocabulary)
    check_class_names(names, f"vocabulary {vocabulary!r}")
    return names


def own_list(vocabulary: str, root: Path) -> Path | None:
    """The file of a vocabulary that is a path (see `load_classes`); None for one of the package."""
    if not (vocabulary.endswith(".txt") or "/" in vocabulary):
        return None
    path = expand_root(vocabulary)
    beside = root / path
    return beside if beside.is_file() else path


def read_class_list(path: Path) -> tuple[str, ...]:
    """Read a text file with one class name per line, in label order.

    Empty lines, and lines that begin with `#`, are skipped.

    Raises:
        FileNotFoundError: no such file.
        ValueError: another kind of file; no name, too many, one that is listed twice, or background.
    """
    if not path.is_file():
        raise FileNotFoundError(
            f"no list of classes {path}; expected one class name per line, in label order"
        )
    if path.suffix.lower() in (".yaml", ".yml", ".json", ".csv"):
        raise ValueError(f"{path} is no plain list; expected a text file with one class name per line")
    lines = [(number, line.strip()) for number, line in enumerate(read_text(path).split("\n"), start=1)]
    lines = [(number, name) for number, name in lines if name and not name.startswith("#")]
    names = [name for _, name in lines]
    check_class_names(names, str(path), [f"{path}, line {number}" for number, _ in lines])
    return tuple(names)


def check_class_names(names: Sequence[str], origin: str, places: Sequence[str] = ()) -> None:
    """Check the foreground classes of a data set.

    Args:
        names: Class names in label order.
        origin: Where they come from, for the message.
        places: Where each of them is written, if that is known.

    Raises:
        ValueError: no name, too many, one that is listed twice, background, or one with a semicolon.
    """
    if not 1 <= len(names) <= MOST:
        raise ValueError(f"{origin} lists {len(names)} names; expected 1 to {MOST}, one per line")
    for name, place in zip(names, places or [origin] * len(names), strict=True):
        if _folded(name) == "background":
            raise ValueError(
                f"{place}: {name!r} is no class; background is mask value 0 by itself, and the first class "
                "is 1. Remove it"
            )
        if ";" in name:
            raise ValueError(f"{place}: {name!r} has a semicolon, which separates classes; write it without")
    if twice := [name for name, count in Counter(name.casefold() for name in names).items() if count > 1]:
        shown = ", ".join(repr(name) for name in twice[:5])
        raise ValueError(f"{origin} lists {shown} more than once (upper and lower case are equal); keep one")


def _folded(name: str) -> str:
    """A name without case, blanks, `_` and `-`: tools write `_background_` and `Back-ground`."""
    return "".join(letter for letter in name.casefold() if letter.isalpha())
