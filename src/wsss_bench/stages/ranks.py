"""The ranks of a prediction fail together, and rank 0 marks the stage complete only when all are done.

Each rank predicts the images of its own share and exchanges nothing with the others, so one that fails or is
killed would go unnoticed. Every other rank therefore has a connection to rank 0. It carries one message in
each direction: empty when all is well, else what went wrong. The system closes the connection of a process
that is killed.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from multiprocessing import AuthenticationError
from multiprocessing.connection import Client, Connection, Listener, wait
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.strategies import ParallelStrategy


class RankFailed(ValueError):
    """Another rank of the stage failed or was killed; the message names it."""


class Ranks(Callback):
    """Connections between rank 0 and the other ranks of a prediction.

    Before each image it looks whether another rank has failed, which costs some microseconds. A stage with
    one rank has no connections.
    """

    def __init__(self) -> None:
        self._rank = 0
        self._others: dict[int, Connection] = {}
        self._done: set[int] = set()

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Connect; the process group exists by now."""
        if trainer.world_size > 1:
            assert isinstance(trainer.strategy, ParallelStrategy)
            self._rank = trainer.global_rank
            self._others = _connect(trainer.strategy)

    def on_predict_batch_start(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        """Raise `RankFailed` if another rank has failed."""
        for rank, connection in self._others.items():
            if rank not in self._done and connection.poll():
                self._hear(rank)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Tell the other ranks why this one failed."""
        self._tell_failure(exception)

    def finish(self, verify: Callable[[], None]) -> None:
        """Wait until all ranks have done their share, and let rank 0 verify the whole.

        Args:
            verify: Called on rank 0 when all are done; it raises if something is missing.

        Raises:
            RankFailed: another rank failed, or `verify` did on rank 0.
        """
        try:
            if self._rank == 0:
                self._hear_all()
                verify()
                self._tell("")
            else:
                self._tell("")
                self._hear_all()
        except BaseException as error:
            self._tell_failure(error)
            raise

    def _hear_all(self) -> None:
        while pending := {self._others[rank]: rank for rank in self._others.keys() - self._done}:
            for connection in wait(list(pending)):  # in the order of arrival: a failure comes first
                assert isinstance(connection, Connection)
                self._hear(pending[connection])

    def _hear(self, rank: int) -> None:
        """Wait for the message of a rank."""
        try:
            message = self._others[rank].recv_bytes().decode()
        except (EOFError, OSError) as error:
            raise RankFailed(
                f"rank {rank} of this stage was killed (out of memory?); the same command goes on"
            ) from error
        if message:
            raise RankFailed(message)
        self._done.add(rank)

    def _tell_failure(self, error: BaseException) -> None:
        known = isinstance(error, RankFailed)
        self._tell(str(error) if known else f"rank {self._rank} failed: {type(error).__name__}: {error}")

    def _tell(self, message: str) -> None:
        for connection in self._others.values():
            with suppress(OSError):  # a rank that is gone needs no message
                connection.send_bytes(message.encode())


def _connect(strategy: ParallelStrategy) -> dict[int, Connection]:
    """The connections of this rank: of rank 0 to each other rank, of any other rank to rank 0."""
    assert strategy.cluster_environment is not None
    address = strategy.cluster_environment.main_address
    if strategy.global_rank != 0:
        port, key = strategy.broadcast((0, b""))
        connection = Client((address, port), authkey=key)
        connection.send_bytes(str(strategy.global_rank).encode())
        return {0: connection}
    key = os.urandom(32)
    connections: dict[int, Connection] = {}
    with Listener((address, 0), backlog=strategy.world_size, authkey=key) as listener:
        strategy.broadcast((listener.address[1], key))
        while len(connections) < strategy.world_size - 1:
            with suppress(AuthenticationError, EOFError, ConnectionError):  # something else found the port
                connection = listener.accept()
                connections[int(connection.recv_bytes())] = connection
    return connections
