"""`torch.compile` of the networks of a method: a callback of the trainer, for training and prediction.

Networks are compiled block by block, in place. Blocks of equal structure share compiled code, so that twelve
blocks of a ViT take the time of one, and weights keep their names in checkpoints. What a method computes
around its blocks (losses, pseudo labels, read-outs) is not compiled.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities import rank_zero_only
from torch import nn

from wsss_bench.nn.frozen import Frozen

VARIANTS = 128
"""Compiled versions of a block's code, at most: by structure, training or not, and kinds of sizes. Beyond
them, and with a warning of torch, blocks run as they are; torch's own limit of 8 is too low for a ResNet."""


class CompiledNetworks(Callback):
    """Compiles the blocks of all networks of a method, before the first batch.

    Results differ from those without it by rounding, as between two GPUs; random draws are the same.

    Args:
        backend: Of `torch.compile`. `inductor` needs a C++ compiler, and Triton on a GPU; `eager` compiles
            nothing, for debugging.

    Raises:
        ValueError: the method has no block to compile, or torch has no such backend.
    """

    def __init__(self, backend: str = "inductor") -> None:
        self.backend = backend
        self._graphs_before = 0

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Mark the blocks; each is compiled when it is called first."""
        if self.backend not in (known := torch.compiler.list_backends(None)):
            raise ValueError(
                f"trainer.callbacks: CompiledNetworks: torch has no backend {self.backend!r}; "
                f"choose one of {', '.join(sorted(known))}"
            )
        self._blocks = list(dict.fromkeys(blocks_of(pl_module)))  # methods may share a network
        if not self._blocks:
            raise ValueError(
                "trainer.callbacks: CompiledNetworks finds no block of a network to compile; leave it out "
                "for this method"
            )
        _configure()
        self._graphs_before = _graphs()
        # crops of a training have one size; images of a prediction have many, at several scales
        dynamic = True if stage == TrainerFn.PREDICTING else None
        for block in self._blocks:
            block.compile(backend=self.backend, dynamic=dynamic)

    @rank_zero_only
    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Say how much was compiled: nothing, where a method calls the layers of its blocks one by one."""
        graphs = _graphs() - self._graphs_before
        print(f"torch.compile: graphs: {graphs}, blocks: {len(self._blocks)}", flush=True)


def blocks_of(module: nn.Module) -> Iterator[nn.Module]:
    """The blocks of the networks below a module.

    A block is a module with a `forward` of its own and at least two layers with parameters that holds no list
    of blocks: a residual block, a transformer block, a decoder. Lists of blocks are `nn.ModuleList` and
    `nn.Sequential` whose members have members themselves.
    """
    children = [module.network] if isinstance(module, Frozen) else module.children()
    for child in children:
        if is_block(child):
            yield child
        else:
            yield from blocks_of(child)


def is_block(module: nn.Module) -> bool:
    """Whether a module is compiled as a whole."""
    layers = [part for part in module.modules() if any(True for _ in part.parameters(recurse=False))]
    return (
        type(module).forward is not nn.Module.forward
        and len(layers) > 1
        and not any(_lists_blocks(part) or isinstance(part, Frozen) for part in module.modules())
    )


def _lists_blocks(module: nn.Module) -> bool:
    members = module.children() if isinstance(module, nn.ModuleList | nn.Sequential) else ()
    return any(any(True for _ in member.children()) for member in members)


def _graphs() -> int:
    from torch._dynamo.utils import counters  # imported late, as below

    return int(counters["stats"]["unique_graphs"])


def _configure() -> None:
    import torch._dynamo.config  # seconds that other stages need not wait
    import torch._inductor.config

    torch._dynamo.config.cache_size_limit = VARIANTS
    torch._dynamo.config.skip_nnmodule_hook_guards = False  # hooks that are added later are called too
    torch._inductor.config.fallback_random = True  # dropout draws as without this callback
