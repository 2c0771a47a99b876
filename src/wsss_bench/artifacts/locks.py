"""The locks that a process holds, kept alive by one thread; and those of others, which it waits for.

A holder gives a sign of life every `BEAT_SECONDS`: it sets the time of its entry anew. Who waits compares
these times with each other and never with a clock, since clocks of machines differ. A lock is taken over from
holders that have ended (on this machine) or have given no sign of life for `SILENT_SECONDS`.
"""

from __future__ import annotations

import errno
import os
import secrets
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from wsss_bench.artifacts.holder import UNKNOWN, Holder
from wsss_bench.artifacts.lock_folder import Entry, enter_beside, enter_free, entries_of, leave, lock_of

BEAT_SECONDS = 15.0
SILENT_SECONDS = 180.0
WAIT_SECONDS = 0.5
TRIES = 10
"""Of a lock that seems to be free, while others take it at the same time."""
BENCH_VARIABLE = "WSSS_BENCH_LOCKS"
"""Environment variable of a stage with the name of the locks of the bench that started it."""
GONE = (errno.ENOENT, errno.ENOTDIR)


class LockHeld(ValueError):
    """Another process holds the lock of a folder."""


class LockLost(ValueError):
    """Another process has taken over a lock that this one held."""


@dataclass
class _Seen:
    """An entry of another process: its last sign of life, and how long it has been without one."""

    beat: int
    looked: float
    silent: float = 0.0


class Locks:
    """The locks of a process.

    Args:
        work: What it does (`Holder`).
        on_loss: Called with the folder of a lost lock, in the thread that keeps the locks alive.

    Attributes:
        name: Begins the names of all its entries.
        owner: This process.
    """

    def __init__(self, work: str, on_loss: Callable[[Path], None] = lambda folder: None) -> None:
        self.name = secrets.token_hex(8)
        self.owner = Holder.this(work)
        self._on_loss = on_loss
        self._held: dict[Path, tuple[Path, str]] = {}
        """Folder and name of the own entry, by lock."""
        self._numbers = count()
        self._seen: dict[Path, dict[Path, _Seen]] = {}
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Locks:
        return self

    def __exit__(self, *error: object) -> None:
        self._ended.set()
        for folder, _ in list(self._held.values()):
            self.release(folder)

    def take(self, folder: Path) -> Holder | None:
        """Take the lock of a folder that this process does not hold.

        Returns:
            None if this process has it now; else who holds it.

        Raises:
            OSError: it cannot be written.
        """
        lock, name = lock_of(folder), self._new_name()
        for _ in range(TRIES):
            if (holder := self.holder_of(folder)) is not None:
                return holder
            if enter_free(lock, name, self.owner):
                self._keep(lock, folder, name)
                with suppress(OSError):
                    os.utime(folder)  # an NFS client that changes a folder looks at its files anew
                return None
        return UNKNOWN

    def take_or_outlive(self, folder: Path) -> Holder | None:
        """As `take`, after waiting for a holder on another machine that gives no sign of life.

        So long that it counts as dead; a living one is noticed after `BEAT_SECONDS`. What cannot be read or
        removed then, such as the folder of another user, stays locked.
        """
        holder, beats = self.take(folder), _beats(folder)
        last = time.monotonic() + SILENT_SECONDS + BEAT_SECONDS
        while holder is not None and not holder.is_here and beats == _beats(folder):
            if time.monotonic() > last:
                break
            time.sleep(WAIT_SECONDS)
            holder = self.take(folder)
        return holder

    def join(self, folder: Path, bench: str) -> bool:
        """Work in a folder whose lock the bench that started this process holds; returns whether it does.

        Args:
            folder: The folder.
            bench: `name` of its locks.
        """
        lock, name = lock_of(folder), self._new_name()
        joined = enter_beside(lock, name, self.owner, f"{bench}-")
        if joined:
            self._keep(lock, folder, name)
        return joined

    def release(self, folder: Path) -> None:
        """Give a lock back; nothing happens if it is not held."""
        lock = lock_of(folder)
        if (held := self._held.pop(lock, None)) is not None:
            leave(lock, held[1])
            self.holder_of(folder)  # removes what a killed stage has left

    def holds(self, folder: Path) -> bool:
        """Whether this process holds the lock of a folder, as far as it knows."""
        return lock_of(folder) in self._held

    def holder_of(self, folder: Path) -> Holder | None:
        """Another process that holds the lock of a folder; those that live no more lose it.

        Holders on other machines count as dead only after some looks.
        """
        lock = lock_of(folder)
        now, before, seen = time.monotonic(), self._seen.pop(lock, {}), dict[Path, _Seen]()
        others, living = list[Entry](), list[Entry]()
        for entry in entries_of(lock):
            if entry.path.name.startswith(self.name):
                continue
            others.append(entry)
            known = before.get(entry.path)
            if known is None or known.beat != entry.beat:
                known = _Seen(entry.beat, now)
            # a process that was suspended has seen nothing of the time in between
            known.silent += min(now - known.looked, BEAT_SECONDS)
            known.looked = now
            seen[entry.path] = known
            if not (entry.holder.has_ended or known.silent >= SILENT_SECONDS):
                living.append(entry)
        if living:
            self._seen[lock] = seen
            benches = [entry for entry in living if entry.holder.kind == "bench"]
            return (benches or living)[0].holder
        for entry in others:
            leave(lock, entry.path.name)
        return None

    def check(self) -> None:
        """Raise `LockLost` if another process has taken over a lock."""
        for lock, (folder, name) in list(self._held.items()):
            if _is_gone(lock / name):
                raise LockLost(lost_message(folder))

    def _new_name(self) -> str:
        return f"{self.name}-{next(self._numbers)}"

    def _keep(self, lock: Path, folder: Path, name: str) -> None:
        self._held[lock] = (folder, name)
        if self._thread is None:
            self._thread = threading.Thread(target=self._beat, name="locks", daemon=True)
            self._thread.start()

    def _beat(self) -> None:
        while not self._ended.wait(BEAT_SECONDS):
            for lock, held in list(self._held.items()):
                folder, name = held
                # a lock that was given back meanwhile is not lost
                if _is_gone(lock / name, beat=True) and self._held.get(lock) == held:
                    del self._held[lock]
                    self._on_loss(folder)


def _beats(folder: Path) -> dict[Path, int]:
    """The last sign of life of each entry of a lock."""
    return {entry.path: entry.beat for entry in entries_of(lock_of(folder))}


def _is_gone(entry: Path, beat: bool = False) -> bool:
    """Whether an entry was removed; with `beat`, its time is set anew. Other errors may pass."""
    try:
        os.utime(entry) if beat else os.stat(entry)
    except OSError as error:
        return error.errno in GONE
    return False


@contextmanager
def locked(folder: Path, work: str) -> Iterator[Locks]:
    """Hold the lock of a folder; if it is lost, this process ends at once, so that no two write there.

    A stage that a bench has started works under the lock of the bench.

    Raises:
        LockHeld: another process holds it.
    """
    with Locks(work, _end) as locks:
        bench = os.environ.get(BENCH_VARIABLE)
        if not (bench and locks.join(folder, bench)) and (holder := locks.take(folder)) is not None:
            raise LockHeld(held_message(folder, holder))
        yield locks


@contextmanager
def waiting_for_lock(folder: Path, work: str) -> Iterator[None]:
    """Hold the lock of a folder, after waiting for those who hold it."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with Locks(work) as locks:
        while locks.take(folder) is not None:
            time.sleep(WAIT_SECONDS)
        yield


def _end(folder: Path) -> None:
    print(f"{lost_message(folder)}; ends here, so that no two write there", file=sys.stderr, flush=True)
    os._exit(1)


def lost_message(folder: Path) -> str:
    """That a lock was lost, and why that happens."""
    return (
        f"the lock of {folder} was taken over by another process or deleted: this one, or its machine, gave "
        f"no sign of life for {SILENT_SECONDS:g} s"
    )


def held_message(folder: Path, holder: Holder) -> str:
    """Who holds a lock, since when, the last sign of life, and what to do."""
    lock = lock_of(folder)
    beats = [time.strftime("%H:%M:%SZ", time.gmtime(entry.beat / 1e9)) for entry in entries_of(lock)]
    last = f", last sign of life {max(beats)}" if beats else ""
    return (
        f"another {holder.kind} is working in {folder}: {holder}, since {holder.since or 'unknown'}{last}. "
        f"Wait for it or stop it. If it is no more, a bench takes the folder over after "
        f"{SILENT_SECONDS / 60:g} minutes; or delete {lock}"
    )
