"""Methods that differ only in how they read a frozen network, which several of them can share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import AbstractContextManager


class SharesNetwork(ABC):
    """Base of methods whose rows have `bench.shares` in their YAML."""

    @abstractmethod
    def share_network(self, first: object) -> None:
        """Take the network of another method, before both predict the same images.

        Raises:
            ValueError: the two have no network in common.
        """

    @abstractmethod
    def remembering(self) -> AbstractContextManager[None]:
        """While open, what the network makes of an image is made once, for all methods that share it."""
