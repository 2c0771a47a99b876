"""Text files of data sets: UTF-8 with or without a byte order mark, any line ends, and JSON."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any


def read_text(path: Path) -> str:
    """Content of a text file, without a byte order mark; line ends become newlines.

    Raises:
        ValueError: the file is not UTF-8.
    """
    content = path.read_bytes()
    try:
        # utf-8-sig skips the byte order mark that spreadsheets and editors write
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ValueError(
            f"{path}, line {line}: byte 0x{content[error.start]:02x} is not UTF-8; save the file as UTF-8"
        ) from error
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise ValueError(f"{path}, line {line}: a zero byte; this is no text in UTF-8, save it as such")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def read_json_text(path: Path, hook: Callable[[dict[str, Any]], Any] | None = None) -> Any:
    """Content of a JSON file; `hook` is called for every object, the inner ones first.

    Raises:
        ValueError: the file is not JSON.
    """
    try:
        return json.loads(read_text(path), object_hook=hook)
    except json.JSONDecodeError as error:
        raise ValueError(f"{path} is not valid JSON ({error}); replace it with an intact copy") from error
    except RecursionError as error:
        raise ValueError(f"{path} is nested too deeply to be annotations; replace it") from error
