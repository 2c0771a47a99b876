"""How the images of a split are distributed over the processes (ranks) of a stage.

Both samplers derive from `DistributedSampler`: Lightning's Trainer replaces any other sampler when it runs on
several ranks with `use_distributed_sampler=True`, its default, which would divide the share of a rank a
second time.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from torch.utils.data.distributed import DistributedSampler

from wsss_bench.data.views import Key


class GlobalBatchSampler(DistributedSampler[Key]):
    """One rank's share of shuffled global batches, as keys `(epoch, index)`.

    Global batch `b` of an epoch is `permutation[b * G : (b + 1) * G]`, and rank `r` takes every
    `world_size`-th of its images, from the `r`-th on. So the images of an optimiser step do not depend on the
    number of ranks.

    Args:
        length: Number of images of the split.
        global_batch_size: Images of an optimiser step over all ranks.
        rank: Index of this process.
        world_size: Number of processes.
        drop_last: Leave out the incomplete batch at the end of an epoch.
        random_seed: Random seed of the permutations.
        epoch_length: Number of batches of an epoch. Consecutive epochs then continue one pass over the data,
            and the keys hold the number of the pass instead of the epoch. None: an epoch is one pass.

    Raises:
        ValueError: batches that cannot be divided evenly among the ranks, or not one complete batch.
    """

    def __init__(
        self,
        length: int,
        global_batch_size: int,
        rank: int,
        world_size: int,
        drop_last: bool,
        random_seed: int,
        epoch_length: int | None = None,
    ) -> None:
        if global_batch_size < 1 or global_batch_size % world_size:
            raise ValueError(
                f"data.global_batch_size {global_batch_size} cannot be shared by {world_size} ranks; it "
                f"counts the images of all ranks together: set a multiple of {world_size}, or change "
                "trainer.devices"
            )
        if drop_last and length < global_batch_size:
            raise ValueError(
                f"the training split has {length} images, fewer than one batch of data.global_batch_size "
                f"{global_batch_size}; lower it, or set data.drop_last to false"
            )
        if not drop_last and length % global_batch_size % world_size:
            raise ValueError(
                f"the last batch of {length % global_batch_size} images cannot be shared by {world_size} "
                "ranks; set data.drop_last to true"
            )
        if epoch_length is not None and (epoch_length < 1 or not drop_last):
            raise ValueError(
                "data.epoch_length counts complete batches: it is 1 or more and needs data.drop_last; got "
                f"{epoch_length} with drop_last {drop_last}"
            )
        images: Any = range(length)  # `DistributedSampler` uses the length of its data set only
        super().__init__(images, world_size, rank, seed=random_seed, drop_last=drop_last)
        self.length = length
        self.global_batch_size = global_batch_size
        self.epoch_length = epoch_length
        self._done = (0, 0)

    def skip(self, epoch: int, batches: int) -> None:
        """Begin an epoch after its first batches, which an interrupted training has seen."""
        self._done = (epoch, batches)

    def __len__(self) -> int:
        if self.epoch_length is not None:
            return self.epoch_length * self.global_batch_size // self.num_replicas
        return self._used() // self.num_replicas

    def __iter__(self) -> Iterator[Key]:
        done = self._done[1] if self.epoch == self._done[0] else 0
        if self.epoch_length is None:
            yield from self._pass(self.epoch, done, None)
            return
        batches = self.length // self.global_batch_size
        first = self.epoch * self.epoch_length + done
        last = (self.epoch + 1) * self.epoch_length
        while first < last:
            number, start = divmod(first, batches)
            stop = min(batches, start + last - first)
            yield from self._pass(number, start, stop)
            first += stop - start

    def _pass(self, number: int, first: int, last: int | None) -> Iterator[Key]:
        """This rank's share of the batches `first..last-1` of pass `number` over the data."""
        order = np.random.default_rng((self.seed, number)).permutation(self.length)
        starts = range(0, self._used(), self.global_batch_size)[first:last]
        for start in starts:
            batch = order[start : start + self.global_batch_size]
            for index in batch[self.rank :: self.num_replicas]:
                yield number, int(index)

    def _used(self) -> int:
        """Number of images of one pass."""
        return self.length - self.length % self.global_batch_size if self.drop_last else self.length


class ShardSampler(DistributedSampler[Key]):
    """One rank's share of a split in order; each image is on exactly one rank.

    `DistributedSampler` itself repeats images until all ranks have equally many, which would change a score.
    """

    def __init__(self, length: int, rank: int, world_size: int) -> None:
        images: Any = range(length)
        super().__init__(images, world_size, rank, shuffle=False)
        self.indices = range(rank, length, world_size)

    def __len__(self) -> int:
        return len(self.indices)

    def __iter__(self) -> Iterator[Key]:
        for index in self.indices:
            yield 0, index
