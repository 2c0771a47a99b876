"""The GPUs of a bench: which are free, and which are set aside because stages die on them."""

from __future__ import annotations

from collections.abc import Collection, Iterable

QUICK_SECONDS = 120.0
"""A stage that fails within this time on a GPU may have failed because of the GPU."""
DEATHS = 2
"""Stages that fail quickly on a GPU before it is set aside."""


class GPUPool:
    """Gives GPUs to stages, those first on which nothing has failed.

    On a cluster Parsl chooses the GPUs: the names of the pool only count them, and those that stages failed
    on are others.

    A GPU is blamed for a stage that failed quickly on it, until the stage fails on other GPUs as well: then
    the stage is to blame. A GPU that is blamed for two stages is set aside; the last one never is.

    Args:
        names: The GPUs.
    """

    def __init__(self, names: Iterable[str]) -> None:
        self.names = tuple(names)
        self._free = list(self.names)
        self._failed_on: dict[str, set[str]] = {}
        """GPUs on which a stage failed quickly, by fingerprint."""
        self._acquitted: set[str] = set()

    def blamed_for(self, gpu: str) -> list[str]:
        """Fingerprints of the stages that failed quickly on a GPU and not on others too."""
        return [
            stage for stage, gpus in self._failed_on.items() if gpu in gpus and stage not in self._acquitted
        ]

    @property
    def set_aside(self) -> list[str]:
        """The GPUs that are given to no stage."""
        known = dict.fromkeys(self.names)
        known.update(dict.fromkeys(gpu for gpus in self._failed_on.values() for gpu in sorted(gpus)))
        found = [gpu for gpu in known if len(self.blamed_for(gpu)) >= DEATHS]
        return found if len(found) < len(self.names) else []

    @property
    def usable(self) -> int:
        """Number of GPUs that are given to stages."""
        return len(self.names) - len(self.set_aside)

    def avoided_by(self, stage: str) -> list[str]:
        """The GPUs that a stage should not get: those that are set aside, and those on which it failed.

        None, where no other would be left: it would wait for one in vain.
        """
        found = sorted({*self.set_aside, *self._failed_on.get(stage, ())})
        return found if len(found) < len(self.names) else []

    def free_for(self, stage: str, count: int) -> list[str]:
        """The GPUs that a stage of `count` GPUs can have now.

        None on which it failed and none that is set aside, as long as there are as many others: a stage that
        could not run without them gets them all the same.
        """
        healthy = [gpu for gpu in self.names if gpu not in self.set_aside]
        failed = self._failed_on.get(stage, set())
        choices = ([gpu for gpu in healthy if gpu not in failed], healthy, self.names)
        allowed = next(gpus for gpus in choices if len(gpus) >= count or gpus is self.names)
        return sorted(set(self._free).intersection(allowed), key=self._preference)

    def _preference(self, gpu: str) -> tuple[int, int]:
        return len(self.blamed_for(gpu)), self.names.index(gpu)

    def take(self, stage: str, count: int) -> tuple[str, ...]:
        """GPUs for a stage, which `free_for` has."""
        taken = tuple(self.free_for(stage, count)[:count])
        self._free = [gpu for gpu in self._free if gpu not in taken]
        return taken

    def give_back(self, gpus: Collection[str]) -> None:
        """A stage has ended."""
        self._free = [gpu for gpu in self.names if gpu in self._free or gpu in gpus]

    def failed(self, stage: str, gpus: Collection[str]) -> bool:
        """A stage has failed quickly on GPUs.

        Returns:
            Whether it can be tried on others, because it has not failed on any before.
        """
        before = self._failed_on.setdefault(stage, set())
        if before:
            self._acquitted.add(stage)
        can_move = not before
        before.update(gpus)
        return can_move and len(self.names) - len(before) >= len(gpus)
