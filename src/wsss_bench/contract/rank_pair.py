"""Two processes that are the ranks 0 and 1 of one gloo group, started once for all tests that need ranks.

Starting Python with torch and Lightning takes seconds, more than most of these tests compute.
"""

from __future__ import annotations

import multiprocessing
import os
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, cast

WORLD_SIZE = 2


class RankPair:
    """Calls a function on both ranks.

    Args:
        store: File through which the ranks find each other; made anew for each start.
    """

    def __init__(self, store: Path) -> None:
        self._store = store
        self._starts = 0
        self._connections: list[Connection] = []
        self._processes: list[multiprocessing.process.BaseProcess] = []

    def call(self, function: Callable[..., Any], *arguments: Any) -> list[Any]:
        """`function(rank, *arguments)` of both ranks; functions and values are passed by pickle.

        Both have the environment variables of the caller: the forkserver has those of its start.

        Raises:
            RuntimeError: it failed on a rank; the message holds that rank's traceback.
        """
        if not self._processes:
            self._start()
        for connection in self._connections:
            connection.send((function, arguments, dict(os.environ)))
        answers: dict[Connection, Any] = {}
        while len(answers) < WORLD_SIZE:
            for ready in wait([c for c in self._connections if c not in answers]):
                connection = cast(Connection, ready)
                try:
                    succeeded, answer = connection.recv()
                except EOFError:
                    succeeded, answer = False, "the process ended"
                if not succeeded:  # the other rank may wait for this one for ever
                    rank = self._connections.index(connection)
                    self.close()
                    raise RuntimeError(f"rank {rank}: {answer}")
                answers[connection] = answer
        return [answers[connection] for connection in self._connections]

    def close(self) -> None:
        """End both processes; the next call starts new ones."""
        for process in self._processes:
            process.kill()
            process.join()
        self._processes, self._connections = [], []

    def _start(self) -> None:
        # a fork of this process would inherit the threads of torch; the server imports it once for both ranks
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["wsss_bench.stages.fit"])
        self._starts += 1
        store = f"{self._store}-{self._starts}"
        for rank in range(WORLD_SIZE):
            ours, theirs = context.Pipe()
            process = context.Process(target=_serve, args=(rank, store, theirs))
            process.start()
            theirs.close()
            self._connections.append(ours)
            self._processes.append(process)


def _serve(rank: int, store: str, connection: Connection) -> None:
    """Answer calls until the other end closes."""
    import torch
    from torch import distributed

    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=WORLD_SIZE)
    while True:
        try:
            function, arguments, environment = connection.recv()
        except EOFError:
            return
        os.environ.update(environment, LOCAL_RANK=str(rank))  # Lightning then starts no processes of its own
        try:
            answer = True, function(rank, *arguments)
        except BaseException:
            answer = False, traceback.format_exc()
        connection.send(answer)
