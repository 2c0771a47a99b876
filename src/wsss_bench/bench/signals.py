"""Signals that stop a bench: Ctrl-C, `kill`, the end of its terminal, and the end of its batch job or the
warning before it (`sbatch --signal=B:USR1@90`)."""

from __future__ import annotations

import shlex
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1)
_hurry = threading.Event()


class Stopped(KeyboardInterrupt):
    """A signal that stops the bench has arrived.

    Args:
        number: Number of the signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.exit_status = 128 + number


@contextmanager
def stop_signals() -> Iterator[None]:
    """Raise `Stopped` in the body when the first of `SIGNALS` arrives; later ones interrupt nothing.

    A second Ctrl-C sets `in_a_hurry`.

    A signal that this process was told to ignore, as by `nohup`, stays ignored. Only the main thread of a
    process can set this up; in other threads nothing changes.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    caught = [number for number in SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]

    def stop(number: int, frame: FrameType | None) -> None:
        for other in caught:  # all stages are being stopped; a second signal must not interrupt that
            signal.signal(other, hurry if other == signal.SIGINT else signal.SIG_IGN)
        raise Stopped(number)

    def hurry(number: int, frame: FrameType | None) -> None:
        _hurry.set()

    _hurry.clear()
    earlier = {number: signal.signal(number, stop) for number in caught}
    try:
        yield
    finally:
        for number, handler in earlier.items():
            signal.signal(number, handler or signal.SIG_DFL)


def in_a_hurry() -> bool:
    """Whether Ctrl-C was pressed while the bench was stopping its stages."""
    return _hurry.is_set()


def resume_command() -> str:
    """The command line that was given, without `--again`: what it names has been removed already."""
    words, kept = iter(sys.argv[1:]), []
    for word in words:
        if word == "--again":
            next(words, None)
        elif not word.startswith("--again="):
            kept.append(word)
    return shlex.join(["wsss-bench", *kept])


def stopped(stop: KeyboardInterrupt) -> int:
    """Say how to go on after a signal; returns the exit status."""
    with suppress(OSError):  # the terminal may be gone
        print(
            f"\nstopped; nothing finished is lost, the same command goes on: {resume_command()}",
            file=sys.stderr,
        )
    return stop.exit_status if isinstance(stop, Stopped) else 130
