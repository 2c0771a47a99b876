"""A pretrained network that a method uses without owning it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

from torch import Tensor, nn

Network = TypeVar("Network", bound=nn.Module)


class Frozen(nn.Module, Generic[Network]):
    """Holds a network outside the tree of modules.

    The network has no gradient, stays in evaluation mode, and is in none of `parameters()`, `state_dict()` and the
    checkpoints made of it, so that a small method does not carry hundreds of megabytes that never change. It moves to a
    device along with its holder. Gradients still flow through it to its input.

    Args:
        network: What to hold.
    """

    def __init__(self, network: Network) -> None:
        super().__init__()
        self._held = (network.requires_grad_(False).eval(),)  # a module in a tuple is not registered

    @property
    def network(self) -> Network:
        return self._held[0]

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Frozen[Network]:
        super()._apply(fn, recurse)
        self.network._apply(fn)
        return self
