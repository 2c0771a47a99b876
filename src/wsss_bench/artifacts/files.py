"""Formats of the files that stages exchange. Nothing here needs torch, nothing is pickled.

| artifact | file | content |
|---|---|---|
| seeds | `seeds/<rank>-<number>.seeds` | records of many images (`artifacts.seeds`) |
| mask | `masks/[<read-out>/]<id>.png` | indexed 8 bit, VOC palette, 0..C and 255, original size |
| manifest | `stage.json` | written last; its presence means that the stage is complete |

The formats of an evaluation are in `artifacts.metrics` and `metrics.per_image`. Seeds are
appended to shards; every other write goes to a temporary name in the same folder, is synced and then renamed.
If the process is killed or the disk is full, the old file, the new file or no file is there, but never a part
of one.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import numpy as np
from PIL import Image

from wsss_bench.artifacts.layout import MANIFEST, how_to_mend
from wsss_bench.artifacts.palette import painted_by_colour, voc_palette

_LOSSY = ("JPEG", "MPO", "WEBP")
"""Formats of images, by PIL's names, that do not keep mask values."""
PNG_END = b"\0\0\0\0IEND\xaeB`\x82"
"""The last chunk of every PNG file: its length, name and checksum."""


def write_atomically(path: Path | str, write: Callable[[IO[bytes]], Any]) -> None:
    """Call `write(file)` on a temporary file, which replaces `path` when all of it is on disk.

    The file gets the permissions that the umask gives to any new file.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    # the name does not contain that of the file, which may be as long as the file system allows
    temporary = path.parent / f".{secrets.token_hex(8)}.tmp"
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    try:
        with os.fdopen(handle, "wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def write_json(path: Path | str, content: Any) -> None:
    """Write `content` as indented JSON, atomically."""
    text = json.dumps(content, indent=1, allow_nan=False) + "\n"
    write_bytes(path, text.encode())


def write_bytes(path: Path | str, content: bytes) -> None:
    """Write a file atomically."""
    write_atomically(path, lambda file: file.write(content))


def read_json(path: Path | str) -> Any:
    """Read a JSON file; `ValueError` with its name if it is not valid JSON."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not valid JSON ({error}); {how_to_mend(path)}") from error


def sha256_of(path: Path | str) -> str:
    """sha256 of the content of a file, hexadecimal."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def mask_path(folder: Path | str, image_id: str) -> Path:
    """`<folder>/<image_id>.png`."""
    return Path(folder) / f"{image_id}.png"


def write_mask(folder: Path | str, image_id: str, mask: np.ndarray) -> None:
    """Write an `(H, W)` uint8 mask as an indexed PNG with the VOC palette."""
    if mask.dtype != np.uint8 or mask.ndim != 2:
        raise TypeError(f"a mask is (H, W) uint8, got {mask.shape} {mask.dtype} for image {image_id!r}")
    write_bytes(mask_path(folder, image_id), encoded_mask(mask))


def encoded_mask(mask: np.ndarray) -> bytes:
    """An `(H, W)` uint8 mask as an indexed PNG with the VOC palette."""
    image = Image.frombytes("P", (mask.shape[1], mask.shape[0]), mask.tobytes())
    image.putpalette(voc_palette())
    file = io.BytesIO()
    image.save(file, format="PNG")
    return file.getvalue()


def read_mask(path: Path | str) -> np.ndarray:
    """Read an indexed or 8 bit grey PNG as `(H, W)` uint8 mask values.

    Raises:
        ValueError: a colour image (its class indices are lost), an indexed one whose values were made from
            colours, a lossy format, or a file that cannot be decoded.
    """
    try:
        with Image.open(path) as image:
            if image.mode not in ("P", "L"):
                raise ValueError(
                    f"{path} is a {image.mode} image; a mask is an indexed (P) or 8 bit grey (L) PNG whose "
                    "pixel values are class indices. Save it with a palette, not as colours."
                )
            if image.format in _LOSSY:
                raise ValueError(
                    f"{path} is a {image.format} file, which changes values near edges; a mask is a PNG. "
                    "Make it again from the source of the masks"
                )
            mask = np.asarray(image)
            palette = bytes(image.getpalette() or b"")
    # PIL reports a broken PNG as a SyntaxError, and images of more than 179 megapixels as a bomb
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError(f"{path} cannot be decoded ({error}); {how_to_mend(path)}") from error
    if renumbered := painted_by_colour(mask, palette):
        shown = ", ".join(f"{value} with the colour of {meant}" for value, meant in renumbered.items())
        raise ValueError(
            f"{path} has the colours of VOC under other numbers (value {shown}): a program turned colours "
            "into indices by itself. Write the class indices as pixel values, with any palette"
        )
    return mask


def file_names(folder: Path | str) -> set[str]:
    """Paths of all files below a folder, relative to it, with `/`; linked folders are followed.

    The folder is listed once, since single look-ups are slow on network file systems. A folder that does not
    exist has no files.
    """
    names, entered = set[str](), set[str]()
    for place, folders, files in os.walk(folder, followlinks=True):
        real = os.path.realpath(place)
        if real in entered:  # a link to a folder above it
            folders.clear()
            continue
        entered.add(real)
        inner = os.path.relpath(place, folder)
        names.update(files if inner == "." else (f"{inner}/{file}" for file in files))
    return names


def is_whole(path: Path) -> bool:
    """Whether a mask file exists and has its end, the last chunk of a PNG, without decoding it."""
    try:
        with open(path, "rb") as file:
            file.seek(-len(PNG_END), os.SEEK_END)
            return file.read() == PNG_END
    except OSError:
        return False


def is_complete(stage: Path | str) -> bool:
    """Whether a stage folder has its manifest."""
    return (Path(stage) / MANIFEST).is_file()


def write_manifest(stage: Path | str, content: dict[str, Any]) -> None:
    """Mark a stage as complete. Called last."""
    write_json(Path(stage) / MANIFEST, content)


def read_manifest(stage: Path | str) -> dict[str, Any]:
    """Read the manifest of a complete stage.

    Raises:
        FileNotFoundError: the stage is missing or was interrupted.
    """
    if not is_complete(stage):
        raise FileNotFoundError(f"{stage} has no {MANIFEST}: the stage did not complete; run it again")
    content: dict[str, Any] = read_json(Path(stage) / MANIFEST)
    return content
