"""Checks that a setting is in its range: one sentence for all of them. NaN and infinity are in none."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any


def check_range(
    name: str,
    value: float | None,
    least: float | None = None,
    most: float | None = None,
    *,
    above: float | None = None,
    below: float | None = None,
) -> None:
    """Check one number; None, a setting that is not used, is in every range.

    Args:
        name: The key of the setting, for the message.
        value: Its value.
        least, most: Ends that belong to the range.
        above, below: Ends that do not.

    Raises:
        ValueError: out of range, NaN or infinite.

    Examples:
        >>> check_range("inference.pad_to", 16, 1)
        >>> check_range("refiner.init_args.threshold", 1.5, 0, 1)
        Traceback (most recent call last):
        ValueError: refiner.init_args.threshold is 1.5; expected a number at least 0 and at most 1
    """
    if value is None:
        return
    inside = (
        math.isfinite(value)
        and (least is None or value >= least)
        and (most is None or value <= most)
        and (above is None or value > above)
        and (below is None or value < below)
    )
    if not inside:
        kind = "a whole number" if isinstance(value, int) else "a number"
        ends = [
            text.format(end)
            for text, end in (
                ("at least {}", least),
                ("above {}", above),
                ("at most {}", most),
                ("below {}", below),
            )
            if end is not None
        ]
        raise ValueError(f"{name} is {value}; expected {kind} {' and '.join(ends) or 'that is finite'}")


def check_ranges(
    name: str,
    values: Sequence[float] | None,
    least: float | None = None,
    most: float | None = None,
    *,
    above: float | None = None,
    below: float | None = None,
    empty: bool = False,
) -> None:
    """Check all numbers of a list with `check_range`.

    Args:
        name, least, most, above, below: As in `check_range`.
        values: The numbers; None for a list that is not used.
        empty: Whether the list may be empty.

    Raises:
        ValueError: an empty list, or a number that is out of range, NaN or infinite.
    """
    if values is None:
        return
    if not values and not empty:
        raise ValueError(f"{name} is empty; expected at least one number")
    for index, value in enumerate(values):
        check_range(f"{name}[{index}]", value, least, most, above=above, below=below)


def refuse_not_finite(content: Any, place: str = "") -> None:
    """Refuse NaN and infinity anywhere in a configuration.

    Args:
        content: What a YAML file or an option holds.
        place: Start of the message, such as `file.yaml: `.

    Raises:
        ValueError: with the key.
    """
    for key, value in _numbers(content, ""):
        if not math.isfinite(value):
            raise ValueError(f"{place}{key} is {value}; expected a finite number")


def _numbers(content: Any, key: str) -> Iterator[tuple[str, float]]:
    if isinstance(content, float):
        yield key, content
    elif isinstance(content, dict):
        for name, value in content.items():
            yield from _numbers(value, f"{key}.{name}" if key else str(name))
    elif isinstance(content, list):
        for index, value in enumerate(content):
            yield from _numbers(value, f"{key}[{index}]")
