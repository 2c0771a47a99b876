"""Class activation maps (CAMs) as other repositories write them, one file for each image.

| content of an `.npy` or `.npz` file | written by |
|---|---|
| `keys` (K,) and maps (K, h, w) under one of the names `MAPS` | IRN, CLIMS, CLIP-ES |
| a map (h, w) for each class index | PSA, SEAM, MCTformer |
| one array (C, h, w), or (C + 1, h, w) with background first | - |

A dictionary in an `.npy` file is a pickle, which `array_pickle` reads without running it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from wsss_bench.artifacts.files import file_names
from wsss_bench.artifacts.npz import LARGEST, read_arrays
from wsss_bench.exchange.array_pickle import NotAdmitted, read_pickled_object

KEYS, FULL, STRIDED = "keys", "high_res", "cam"
"""Names in a dictionary of IRN; its `cam` are the same maps at stride 4."""
MAPS = ("attn_highres", FULL, "highres", STRIDED)
"""Names of maps in a dictionary, of which the first one that is there is read. CLIP-ES writes `attn_highres`,
the maps after its refinement by attention, or `highres`, those before."""
SUFFIXES = (".npy", ".npz")


class Cams(NamedTuple):
    """The maps of one file, with the numbers that the file gives them."""

    keys: (
        list[int] | None
    )  # K different numbers; None where the file has one map for each class of the data set
    maps: np.ndarray  # (K, h, w), as stored
    strided: np.ndarray | None  # (K, h', w') beside them, as stored


def find_cam_files(folder: Path, ids: Sequence[str]) -> dict[str, Path | None]:
    """The file of each image: `<id>.npy`, else `<id>.npz`, else None."""
    names = file_names(folder)
    return {
        image_id: next((folder / f"{image_id}{end}" for end in SUFFIXES if f"{image_id}{end}" in names), None)
        for image_id in ids
    }


def read_cams(path: Path, name: str | None = None) -> Cams:
    """Read the CAMs of one image.

    Args:
        path: The file.
        name: Name of the maps in a dictionary; by default the first one of `MAPS`.

    Raises:
        ValueError: the file is damaged, names more than arrays and containers, or is of no known kind.
    """
    try:
        content = _read(path)
        if isinstance(content, np.ndarray):
            return Cams(None, _stack(content), None)
        if KEYS in content:
            return _of_names(content, name)
        return _of_classes(content)
    except NotAdmitted as error:
        raise ValueError(
            f"{path} asks to call {error.name}, which is no part of an array or of a plain container; it was "
            "not called: write arrays and plain containers only"
        ) from None
    except FileNotFoundError:
        raise
    except Exception as error:  # pickle, zipfile, zlib, numpy, or content of another kind
        raise ValueError(
            f"{path} cannot be read as CAMs ({error}); write it again, or take its image out of the split"
        ) from error


def _read(path: Path) -> np.ndarray | dict[Any, Any]:
    """An array, or a dictionary of arrays."""
    if path.suffix == ".npz":
        arrays = read_arrays(path)
        if len(arrays) == 1 and not next(iter(arrays)).isdigit():
            return next(iter(arrays.values()))
        return {int(key) if key.isdigit() else key: array for key, array in arrays.items()}
    if path.stat().st_size > LARGEST:
        raise ValueError(f"it has {path.stat().st_size / 2**20:.0f} MiB, more than {LARGEST / 2**20:.0f} MiB")
    with open(path, "rb") as file:
        version = np.lib.format.read_magic(file)
        read = (
            np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        )
        shape, _, dtype = read(file)
        if not dtype.hasobject:
            # mapped, not read: a header that claims more than the file has is an error and takes no memory
            return np.load(path, mmap_mode="r", allow_pickle=False)
        if shape != ():
            raise ValueError(f"it is an array {shape} of Python objects; expected numbers, or one dictionary")
        content = read_pickled_object(file)
    if not isinstance(content, dict):
        raise ValueError(f"it holds a {type(content).__name__}; expected a dictionary of maps, or an array")
    return content


def _of_names(content: Mapping[Any, Any], name: str | None) -> Cams:
    """`keys` and maps under a name."""
    found = name or next((known for known in MAPS if content.get(known) is not None), None)
    if found is None or content.get(found) is None:
        there = ", ".join(str(key) for key in content if key != KEYS) or "none"
        raise ValueError(f"it has the maps {there}; expected {name or ' or '.join(MAPS)}: say --map NAME")
    keys = [_whole(key) for key in np.atleast_1d(_numbers(content[KEYS], KEYS)).ravel().tolist()]
    strided = content.get(STRIDED) if found in (FULL, STRIDED) else None
    return Cams(
        _distinct(keys),
        _stack(_numbers(content[found], found), len(keys)),
        None if strided is None else _stack(_numbers(strided, STRIDED), len(keys)),
    )


def _of_classes(content: Mapping[Any, Any]) -> Cams:
    """A map for each class index."""
    keys = [_whole(key) for key in content]
    maps = [_numbers(value, f"map {key}") for key, value in content.items()]
    if len({one.shape for one in maps}) > 1:
        raise ValueError(f"its maps differ in size: {', '.join(str(one.shape) for one in maps)}")
    return Cams(_distinct(keys), _stack(np.stack(maps) if maps else np.zeros((0, 1, 1)), len(keys)), None)


def _whole(key: Any) -> int:
    if isinstance(key, bool) or not isinstance(key, (int, float)) or key != int(key) or key < 0:
        raise ValueError(f"it has the key {key!r}; expected class indices, or {KEYS!r} beside the maps")
    return int(key)


def _distinct(keys: list[int]) -> list[int]:
    if len(set(keys)) < len(keys):
        raise ValueError(f"its keys are {keys}; expected different ones")
    return keys


def _numbers(value: Any, name: str) -> np.ndarray:
    """A value of a dictionary as an array of numbers; lists hold numbers, not arrays."""
    array = value if isinstance(value, np.ndarray) else np.asarray(value)
    if array.dtype.kind not in "biuf":
        raise ValueError(f"{name} holds {type(value).__name__} of {array.dtype}; expected numbers")
    return array


def _stack(maps: np.ndarray, number: int | None = None) -> np.ndarray:
    """`(K, h, w)`; a single map may be `(h, w)`."""
    if maps.dtype.kind not in "biuf":
        raise ValueError(f"its maps are of {maps.dtype}; expected numbers")
    if maps.ndim == 2 and number == 1:
        maps = maps[None]
    if maps.ndim != 3 or (number is not None and len(maps) != number):
        wanted = "(C, h, w), one for each class" if number is None else f"(K, h, w) for {number} keys"
        raise ValueError(f"its maps are {maps.shape}; expected {wanted}")
    return maps
