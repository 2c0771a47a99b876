"""`measurements.json`: how the weights of a folder were made, what was measured on them, and their sha256."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

FILES: dict[str, tuple[str, ...]] = {
    "clip": (
        "clip/config.json",
        "clip/model.safetensors",
        "clip/preprocessor_config.json",
        "clip/tokenizer.json",
        "clip/tokenizer_config.json",
    ),
    "resnet": ("resnet.json", "resnet.safetensors", "resnet_head.safetensors"),
    "vit": ("vit.json", "vit.safetensors", "vit_head.safetensors"),
}


def digest(path: Path) -> str:
    """sha256 of a file, in hexadecimal."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def digests(folder: Path, name: str) -> dict[str, str]:
    """sha256 of every file of one model, by path relative to the folder."""
    return {file: digest(folder / file) for file in FILES[name]}


def read_records(folder: Path) -> dict[str, Any]:
    """All records of a folder, by model; empty if there is none yet."""
    path = folder / "measurements.json"
    return json.loads(path.read_text()) if path.exists() else {}


def write_record(folder: Path, name: str, recipe: dict[str, Any], measurements: dict[str, float]) -> None:
    """Add or replace the record of one model, atomically."""
    records = read_records(folder)
    records[name] = {"recipe": recipe, "measurements": measurements, "sha256": digests(folder, name)}
    path = folder / "measurements.json"
    temporary = path.with_suffix(".json.tmp")
    with temporary.open("w") as stream:
        json.dump(dict(sorted(records.items())), stream, indent=2)
        stream.write("\n")
        stream.flush()
        os.fsync(stream.fileno())
    temporary.replace(path)


def changed_files(folder: Path, name: str) -> list[str]:
    """Files of one model whose sha256 differs from the recorded one."""
    expected = read_records(folder)[name]["sha256"]
    return [file for file, value in digests(folder, name).items() if expected.get(file) != value]
