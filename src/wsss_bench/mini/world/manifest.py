"""The manifest `mini.json`. It is written last, so where it exists the mini world is complete."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

# Of the mini world: images and pretrained weights. Version 2 has the images of version 1 and another ResNet
# and ViT, `package:mini2/...` for `package:mini/...`.
VERSION = 2
SAME_IMAGES = (1, 2)  # versions whose folders are read as they are; those of others are refused
NAME = "mini.json"


def read_manifest(root: Path) -> dict[str, Any] | None:
    """The manifest of a complete mini world, or None.

    Raises:
        ValueError: the file is damaged.
    """
    path = root / NAME
    if not path.exists():
        return None
    try:
        content: dict[str, Any] = json.loads(path.read_text())
        missing = {"version", "size", "seed"} - set(content)
    except (ValueError, TypeError) as error:
        raise ValueError(
            f"{path} is not readable ({error}); delete {root} and make the mini world again"
        ) from error
    if missing:
        raise ValueError(
            f"{path} lacks {', '.join(sorted(missing))}; delete {root} and make the mini world again"
        )
    return content


def write_manifest(root: Path, size: str, random_seed: int, counts: dict[str, int]) -> None:
    """Hash every file under the root and write the manifest atomically."""
    content = {
        "version": VERSION,
        "size": size,
        "seed": random_seed,
        "counts": counts,
        "sha256": tree_digest(root),
    }
    temporary = root / f"{NAME}.tmp"
    with temporary.open("w") as stream:
        json.dump(content, stream, indent=2)
        stream.write("\n")
        stream.flush()
        os.fsync(stream.fileno())
    temporary.replace(root / NAME)


def tree_digest(root: Path) -> str:
    """sha256 over names and contents of all files of `voc/`, `coco/` and of `sheet.png`, sorted by name."""
    files = [path for top in ("voc", "coco") for path in (root / top).rglob("*") if path.is_file()]
    digest = hashlib.sha256()
    for path in sorted([*files, root / "sheet.png"]):
        content = path.read_bytes()
        digest.update(f"{path.relative_to(root).as_posix()} {len(content)}\n".encode())
        digest.update(content)
    return digest.hexdigest()
