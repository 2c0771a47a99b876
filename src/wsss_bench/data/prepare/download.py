"""Downloads a file in pieces that survive interruptions: `<name>.part`, and `Range` requests for the rest."""

from __future__ import annotations

import http.client
import math
import os
import re
import time
import urllib.error
import urllib.request
from pathlib import Path

from wsss_bench.artifacts.disk import naming_full_disk
from wsss_bench.data.progress import Progress

BLOCK = 1 << 20
TRIES = 5
"""Attempts in a row that bring nothing, until the download is given up."""
PAUSE_SECONDS = 2.0
TIMEOUT_SECONDS = 60.0
RANGE_NOT_SATISFIABLE = 416
BUSY = (429, 500, 502, 503, 504)
INTERRUPTED = (http.client.HTTPException, ConnectionError, TimeoutError, urllib.error.URLError)


def part_of(path: Path) -> Path:
    """Where the beginning of a file is while it is downloaded."""
    return path.with_name(f"{path.name}.part")


def download(url: str, path: Path) -> None:
    """Download to `path`, going on after what `<path>.part` has.

    A server that does not know ranges sends the file from its beginning. After a dropped connection the rest
    is asked for again.

    Raises:
        ValueError: the server refuses, or several attempts in a row brought nothing; what is there stays.
        DiskFull: there is no space left; what is there stays.
    """
    part = part_of(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    failures, most, total, reason = 0, _size(part), None, ""
    while failures < TRIES:
        try:
            total = _fetch(url, part)
            reason = "the connection was closed"
        except urllib.error.HTTPError as error:
            if error.code == RANGE_NOT_SATISFIABLE:
                total = _total_of(error.headers.get("Content-Range"))
                if total != _size(part):  # what is there is no beginning of this file
                    part.unlink()
                    most = 0
            elif error.code not in BUSY:
                raise ValueError(
                    f"{url} answers {error.code} {error.reason}; download {path.name} in another way and put "
                    f"it into {path.parent}"
                ) from error
            reason = f"{error.code} {error.reason}"
        except INTERRUPTED as error:
            reason = str(getattr(error, "reason", error)) or type(error).__name__
        if total is not None and _size(part) == total:
            os.replace(part, path)
            return
        gained = most < _size(part) < (total or math.inf)
        most, failures = max(most, _size(part)), 0 if gained else failures + 1
        time.sleep(PAUSE_SECONDS)
    size = _size(part)
    have = f"; {size} of {total or 'an unknown number of'} bytes are in {part}" if size else ""
    raise ValueError(
        f"{url} cannot be read ({reason}){have}. Run the same command again to go on, or put {path.name} "
        f"into {path.parent} yourself"
    )


def _fetch(url: str, part: Path) -> int:
    """Append to `part` what the server sends, until its end; returns the bytes of the whole file."""
    have = _size(part)
    headers = {"User-Agent": "wsss-bench"} | ({"Range": f"bytes={have}-"} if have else {})
    request = urllib.request.Request(url, headers=headers)
    with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS) as answer:
        if answer.status != http.client.PARTIAL_CONTENT:
            have = 0
        elif not answer.headers.get("Content-Range", "").startswith(f"bytes {have}-"):
            raise http.client.HTTPException("the server sent another part than it was asked for")
        length = answer.headers.get("Content-Length")
        total = have + int(length) if length else None
        with (
            naming_full_disk(part.parent),
            open(part, "ab" if have else "wb") as file,
            Progress(f"downloading {part.stem}", total) as progress,
        ):
            progress.advance(have)
            while block := answer.read(BLOCK):
                file.write(block)
                progress.advance(len(block))
    return _size(part) if total is None else total


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def _total_of(content_range: str | None) -> int | None:
    """`bytes */1234` -> 1234."""
    found = re.search(r"/(\d+)$", content_range or "")
    return int(found[1]) if found else None
