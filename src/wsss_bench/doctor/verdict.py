"""What a check of `wsss-bench doctor` has found."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from wsss_bench.errors import explain

Kind = Literal["ok", "warning", "error", "left out"]


@dataclass(frozen=True)
class Verdict:
    """A line.

    Args:
        kind: `error`: a bench will fail; `warning`: it will be slow, or a part of it is missing; `left out`:
            there is nothing to check here.
        words: What was found and, unless it is `ok`, what to change.
    """

    kind: Kind
    words: str


Check = Callable[[], Verdict]


def verdict_of(check: Check) -> Verdict:
    """Run a check; what it raises is an error of its own."""
    try:
        return check()
    except Exception as error:
        return Verdict("error", explain(error) or f"{type(error).__name__}: {error}")
