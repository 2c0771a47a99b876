"""Notices stages that make no progress. They are reported, not stopped: a slow step looks the same."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path

STALLED_MINUTES = 15.0
"""Minutes without progress after which a stage is reported, by default."""


@dataclass
class StallWatch:
    """Watches the progress file of one stage.

    Args:
        file: File that the stage rewrites when it makes progress. Only whether it changed matters, not its
            time, since the clock of a file server may differ.
        patience: Seconds without a change before the first report; a report after twice as long follows, and
            so on.
    """

    file: Path
    patience: float
    _seen: int | None = field(default=None, init=False)
    _since: float = field(init=False)
    _next: float = field(init=False)

    def __post_init__(self) -> None:
        self._since, self._next = time.monotonic(), self.patience

    def silent_seconds(self) -> float | None:
        """Seconds without progress, if a report is due now; else None."""
        now = time.monotonic()
        changed = self._last_change()
        if changed != self._seen:
            self._seen, self._since, self._next = changed, now, self.patience
        silent = now - self._since
        if silent < self._next:
            return None
        self._next *= 2
        return silent

    def _last_change(self) -> int | None:
        try:
            return self.file.stat().st_mtime_ns
        except OSError:
            return None
