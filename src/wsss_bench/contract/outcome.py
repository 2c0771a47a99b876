"""How a check ends, where it does not simply return."""

from __future__ import annotations


class Failure(ValueError):
    """The method does not meet the check; the message says what to change."""


class LeftOut(Exception):
    """The check does not apply to the method, or cannot be made here; the message says why."""
