"""The process that holds a lock: what others are told of it, and whether it has ended."""

from __future__ import annotations

import getpass
import json
import os
import socket
import time
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Holder:
    """A process.

    Args:
        user: Its user.
        host: Its machine.
        process: Its process id.
        work: What it does: `bench`, `stage`, ...
        since: When it began with that, UTC, by its own clock.
        kernel: Which processes have ids of the same kind: the start of the machine, and the container.
        began: When the process was started, in ticks of the kernel: a later one may have the same id.
    """

    user: str
    host: str
    process: int
    work: str
    since: str
    kernel: str
    began: str

    def __str__(self) -> str:
        return f"{self.user}@{self.host}, process {self.process}" if self.user else "unknown"

    @property
    def kind(self) -> str:
        """`bench` or `process`."""
        return "bench" if self.work == BENCH else "process"

    @property
    def is_here(self) -> bool:
        """Whether it runs on this machine, or ran; False where that cannot be known."""
        return bool(self.kernel) and self.kernel == this_kernel()

    @property
    def has_ended(self) -> bool:
        """Whether it ran on this machine and is no more; False where that cannot be known."""
        if not self.is_here:
            return False
        try:
            os.kill(self.process, 0)
        except ProcessLookupError:
            return True
        except (OSError, OverflowError):  # it is another user's
            pass
        return began(self.process) not in ("", self.began)

    @staticmethod
    def this(work: str) -> Holder:
        """This process."""
        try:
            user = getpass.getuser()
        except (KeyError, OSError):  # a container that has no name for the user
            user = str(os.getuid())
        process, now = os.getpid(), time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        return Holder(user, socket.gethostname(), process, work, now, this_kernel(), began(process))

    @staticmethod
    def read(content: bytes) -> Holder:
        """A holder from JSON; `UNKNOWN` if it is anything else."""
        try:
            holder = Holder(**json.loads(content))
        except (ValueError, TypeError):
            return UNKNOWN
        fields = Holder.__dataclass_fields__
        expected = all(type(getattr(holder, name)).__name__ == field.type for name, field in fields.items())
        return holder if expected else UNKNOWN


BENCH = "bench"
"""The work of a bench."""
UNKNOWN = Holder("", "", 0, "", "", "", "")
"""Somebody of whom nothing is known."""
ENDED = "ended"


def this_kernel() -> str:
    """What processes with comparable ids share; empty where that is not known (outside of Linux)."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{socket.gethostname()} {boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return ""


def began(process: int) -> str:
    """When a process of this machine was started, in ticks; `ENDED` for a zombie, empty if not known."""
    try:
        # the name in brackets may hold anything
        state, *fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except (OSError, ValueError):
        return ""
    return ENDED if state in "ZX" else fields[18]
