"""How the nodes of a stage find each other, and learn that its attempt is over. Imports nothing large.

The bench makes a folder for each attempt, on the file system that the nodes share. A node that has a worker
for the stage says so in it. When all have, node 0 finds a free port and writes its address and the port. The
folder stands as long as the attempt may go on: the bench takes it away when a node has failed, and the others
end, instead of waiting for it in the middle of a step.
"""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from wsss_bench.artifacts.layout import find_json

POLL_SECONDS = 0.5
WAIT_SECONDS = 3600.0
"""For the workers of the other nodes: their job may still wait in the queue."""
PORTS = range(20000, 32000)
"""Below those that Linux gives to outgoing connections: none of them takes a port before rank 0 does."""
ADDRESS = "address.json"


class NotMet(Exception):
    """The nodes of a stage have not come together.

    Args:
        status: The exit status of the stage on this node.
    """

    def __init__(self, sentence: str, status: int) -> None:
        super().__init__(sentence)
        self.status = status


@dataclass(frozen=True)
class Part:
    """The part of one node in an attempt of a stage.

    Args:
        folder: Of the attempt.
        node: Its number, from 0.
        nodes: How many there are.
        bench: Name or address by which the nodes reach the machine of the bench.
    """

    folder: Path
    node: int
    nodes: int
    bench: str

    def meet(self, stopped: Callable[[], bool], seconds: float = WAIT_SECONDS) -> dict[str, str]:
        """Wait for the other nodes.

        Args:
            stopped: Whether a signal has arrived.
            seconds: How long to wait.

        Returns:
            The variables by which Lightning connects the ranks.

        Raises:
            NotMet: the others have not come in time, the attempt is over, or a signal has arrived.
        """
        deadline = time.monotonic() + seconds
        self._say(f"node-{self.node}.json", {"host": socket.gethostname()})
        while not (found := find_json(self.folder / ADDRESS)):
            missing = [node for node in range(self.nodes) if not has_come(self.folder, node)]
            if self.is_over:
                raise NotMet("another node of this stage has ended", -signal.SIGKILL)
            if stopped():
                raise NotMet("stopped while waiting for the other nodes", -signal.SIGTERM)
            if time.monotonic() >= deadline:
                raise NotMet(
                    f"node {self.node} has waited {seconds / 60:g} minutes; of {self.nodes} nodes "
                    f"these have not come: {', '.join(map(str, missing)) or 'none'}. Let each job of the "
                    f"queue ask for all of them: nodes: {self.nodes} in the file of --cluster",
                    1,
                )
            if not missing and self.node == 0:
                self._say(ADDRESS, {"address": address_towards(self.bench), "port": free_port()})
            else:
                time.sleep(POLL_SECONDS)
        return {
            "MASTER_ADDR": found["address"],
            "MASTER_PORT": str(found["port"]),
            "NODE_RANK": str(self.node),
        }

    @property
    def is_over(self) -> bool:
        """Whether the bench has taken the folder away. Other errors of a file system may pass."""
        try:
            os.stat(self.folder)
        except OSError as error:
            return isinstance(error, FileNotFoundError)
        return False

    def _say(self, name: str, content: dict[str, str | int]) -> None:
        """Write a file into the folder, atomically; nothing happens if the folder is gone."""
        with suppress(FileNotFoundError):
            draft = self.folder / f".{name}"
            draft.write_text(json.dumps(content))
            draft.rename(self.folder / name)


def has_come(folder: Path, node: int) -> bool:
    """Whether a node has said in the folder of an attempt that it is there."""
    return (folder / f"node-{node}.json").is_file()


def address_towards(host: str) -> str:
    """The address of this machine in the network that leads to a host.

    Its name may stand for an address that only the machine itself reaches (127.0.1.1).
    """
    family, kind, _, _, place = socket.getaddrinfo(host, 9, type=socket.SOCK_DGRAM)[0]
    with socket.socket(family, kind) as probe:
        probe.connect(place)  # sends nothing
        return str(probe.getsockname()[0])


def free_port() -> int:
    """A port of this machine that nobody listens on.

    Raises:
        OSError: there is none.
    """
    for port in random.SystemRandom().sample(PORTS, len(PORTS)):
        with suppress(OSError), socket.socket() as probe:
            probe.bind(("", port))
            return port
    raise OSError(f"no port from {PORTS.start} to {PORTS.stop - 1} is free on {socket.gethostname()}")
