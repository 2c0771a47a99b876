"""A pretrained network that is neither trained nor saved with the model that uses it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

from torch import Tensor, nn

Network = TypeVar("Network", bound=nn.Module)


class Frozen(nn.Module, Generic[Network]):
    """Holds a network without registering it as a submodule.

    The network's weights have no gradient, it stays in evaluation mode, and it is not in `parameters()`,
    `state_dict()` or checkpoints, which stay small. It follows its holder to a device. Gradients flow through
    it to its input.

    Args:
        network: The pretrained network.
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
