"""Which scores are ranked with which.

A ranking covers one block: methods of one data set, one track (what a method learns from), the same extra
data and the same protocol.
"""

from __future__ import annotations

from typing import NamedTuple

from wsss_bench.plan.config import MethodHints
from wsss_bench.report.leaderboard import without_threshold

TRACKS = ("image-level", "caption or none", "upper bound")


def track(hints: MethodHints) -> str:
    """The methods that a method is ranked with."""
    if hints.pipeline == "upper_bound":
        return TRACKS[2]
    return TRACKS[0] if hints.supervision in ("image", "image+text") else TRACKS[1]


class Block(NamedTuple):
    """What the methods of one ranking have in common, within a data set; sorted as in the table."""

    track: int  # position in TRACKS
    extra: str
    protocol: str  # without the value of a threshold; empty for methods without a score

    @classmethod
    def of(cls, hints: MethodHints, extra: str, protocol: str) -> Block:
        """The block of a score.

        Args:
            hints: The `bench:` block of its method.
            extra: What the method was given beyond the usual, as text.
            protocol: Its protocol id.
        """
        return cls(TRACKS.index(track(hints)), extra, without_threshold(protocol))

    @property
    def title(self) -> str:
        """Track, extra data, and scales and post-processing of the protocol."""
        title = TRACKS[self.track] + (f", extra: {self.extra}" if self.extra else "")
        return title + (f", {'/'.join(self.protocol.split('/')[3:5])}" if self.protocol else "")
