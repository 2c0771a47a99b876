"""Output whose reader has gone: `wsss-bench table mini | head`.

Most commands end then, as other programs do. A bench goes on, since its results are files.
"""

from __future__ import annotations

import os
import select
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from typing import Any, TextIO

EXIT_STATUS = 141
"""128 plus the number of SIGPIPE, the signal that ends other programs whose output nobody reads."""


def discard_unread() -> bool:
    """Let what is written to stdout and stderr from now on go nowhere, where nobody reads it any more.

    Returns:
        Whether there is such a stream. Text that waits in it is lost too, so that Python has nothing to
        complain of at its end.
    """
    lost = False
    for stream in (sys.stdout, sys.stderr):
        if _has_no_reader(stream):
            _discard(stream)
            lost = True
    return lost


@contextmanager
def going_on_unread(note: str) -> Iterator[None]:
    """Let the body go on when nobody reads its output any more; what it says from then on is lost.

    Args:
        note: One line for stderr, printed when the reader of stdout has gone.
    """
    with redirect_stdout(_Unread(sys.stdout, note)), redirect_stderr(_Unread(sys.stderr)):
        yield


class _Unread:
    """A text stream that may lose its reader."""

    def __init__(self, stream: TextIO, note: str = "") -> None:
        self._stream, self._note = stream, note

    def write(self, text: str) -> int:
        try:
            return self._stream.write(text)
        except BrokenPipeError:
            self._lost()
            return len(text)

    def flush(self) -> None:
        try:
            self._stream.flush()
        except BrokenPipeError:
            self._lost()

    def _lost(self) -> None:
        _discard(self._stream)
        if self._note:
            print(self._note, file=sys.stderr, flush=True)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def _has_no_reader(stream: TextIO) -> bool:
    try:
        descriptor = stream.fileno()
    except OSError:  # of a test or a notebook
        return False
    state = select.poll()
    state.register(descriptor, 0)  # asks for errors alone
    return bool(state.poll(0))


def _discard(stream: TextIO) -> None:
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)
    with suppress(BrokenPipeError):
        stream.flush()
