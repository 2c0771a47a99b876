"""Reads the pickle in an `.npy` file of Python objects, without running anything that it asks for.

A pickle names functions and calls them. Here each name is looked up in `ADMITTED`: the names that arrays,
numbers, tensors and plain containers have in a pickle, with classes of this module in their place. Neither
numpy nor another package is called with what the file says; the numbers of a tensor are read by `torch.load`
with `weights_only=True`. Any other name is refused before it is imported.
"""

from __future__ import annotations

import math
from io import BytesIO
from pickle import BYTEARRAY8, EXT1, EXT2, EXT4, _Unpickler
from typing import IO, Any, ClassVar, NoReturn

import numpy as np

KINDS = {"b1", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8"}
"""Types of numbers that an array may hold, as a pickle spells them: kind and bytes."""
OBJECTS = "O8"
"""The type of an array of Python objects; `np.save` wraps a dictionary into one of no dimensions."""


class NotAdmitted(ValueError):
    """A name in a pickle that is neither an array nor a plain container."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


class _Standin:
    """Stands for a class or a function of numpy. A pickle must not change it."""

    def __setstate__(self, state: Any) -> None:
        raise ValueError(f"a pickle sets the state of {type(self).__name__}")


class _Type(_Standin):
    """`numpy.dtype(code, ...)`, whose state has the byte order."""

    def __init__(self, code: str, *_: Any) -> None:
        if code not in KINDS and code != OBJECTS:
            raise ValueError(f"an array of {code!r}; expected integers, floats or booleans")
        self.code = code
        self.order = "|"

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        order, fields = state[1], state[2:5]
        if order not in ("<", ">", "|", "=") or any(field is not None for field in fields):
            raise ValueError("an array with fields or an unknown byte order; expected plain numbers")
        self.order = order

    def numbers(self, data: bytes, shape: tuple[int, ...], column_major: bool = False) -> np.ndarray:
        """`data` as an array, which is a view of it."""
        kind = np.dtype(f"{self.order}{self.code}")
        if not isinstance(data, bytes) or not all(isinstance(n, int) and n >= 0 for n in shape):
            raise ValueError("an array without numbers or without a shape")
        if math.prod(shape) * kind.itemsize != len(data):
            raise ValueError(f"an array of the shape {shape} has {len(data)} bytes")
        return np.frombuffer(data, kind).reshape(shape, order="F" if column_major else "C")


class _Array(_Standin):
    """`numpy.core.multiarray._reconstruct(...)`: an empty array, whose state has shape, type and numbers."""

    content: Any = None

    def __init__(self, *_: Any) -> None:
        pass

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, shape, kind, column_major, data = state
        if kind.code != OBJECTS:
            self.content = kind.numbers(data, shape, bool(column_major))
        elif shape == () and len(data) == 1:
            self.content = data[0]
        else:
            raise ValueError(f"an array {shape} of Python objects; expected numbers")


class _Number(_Standin):
    """`numpy.core.multiarray.scalar(type, bytes)`: a number, which may be the key of a dictionary."""

    def __new__(cls, kind: _Type, data: bytes) -> Any:
        return kind.numbers(data, ())[()].item()


class _Bytes(_Standin):
    """`_codecs.encode(text, "latin1")`, how protocol 2 writes bytes."""

    def __new__(cls, text: str, encoding: str) -> Any:
        if encoding != "latin1":
            raise ValueError(f"bytes in the encoding {encoding!r}")
        return text.encode("latin1")


class _Storage(_Standin):
    """`torch.storage._load_from_bytes(bytes)`: the numbers of a tensor, in a file of torch of their own."""

    def __new__(cls, data: bytes) -> Any:
        import torch  # only for files that hold tensors

        return torch.load(BytesIO(data), map_location="cpu", weights_only=True)


class _Tensor(_Standin):
    """`torch._utils._rebuild_tensor_v2(storage, offset, size, stride, ...)`, as an array."""

    def __new__(
        cls, storage: Any, offset: int, size: tuple[int, ...], stride: tuple[int, ...], *_: Any
    ) -> Any:
        import torch

        if not isinstance(storage, torch.TypedStorage) or len(size) != len(stride):
            raise ValueError("a tensor without numbers")
        numbers = torch.empty(0, dtype=storage.dtype).set_(storage)
        if min([offset, *size, *stride]) < 0 or math.prod(size) > len(numbers):
            raise ValueError(f"a tensor of the shape {tuple(size)} has {len(numbers)} numbers")
        last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
        if math.prod(size) and last >= len(numbers):
            raise ValueError(f"a tensor of the shape {tuple(size)} ends behind its {len(numbers)} numbers")
        return numbers.as_strided(size, stride, offset).numpy().copy()


ADMITTED: dict[tuple[str, str], Any] = {
    ("numpy", "ndarray"): "numpy.ndarray",  # an argument of `_reconstruct`, never called
    ("numpy", "dtype"): _Type,
    ("_codecs", "encode"): _Bytes,
    ("collections", "OrderedDict"): dict,
    ("torch.storage", "_load_from_bytes"): _Storage,
    ("torch._utils", "_rebuild_tensor_v2"): _Tensor,
}
for _package in ("numpy.core", "numpy._core"):  # before and since numpy 2
    ADMITTED[f"{_package}.multiarray", "_reconstruct"] = _Array
    ADMITTED[f"{_package}.multiarray", "scalar"] = _Number


class _Arrays(_Unpickler):
    """The unpickler in Python: that in C takes as much memory as the file claims, before it reads."""

    dispatch: ClassVar = {
        opcode: load
        for opcode, load in _Unpickler.dispatch.items()
        if opcode not in b"".join((BYTEARRAY8, EXT1, EXT2, EXT4))
    }

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in ADMITTED:
            raise NotAdmitted(f"{module}.{name}")
        return ADMITTED[module, name]

    def persistent_load(self, pid: Any) -> NoReturn:
        raise NotAdmitted("a persistent id")


def read_pickled_object(file: IO[bytes]) -> Any:
    """The object in a pickled array of no dimensions, as `np.save(path, {...})` writes it.

    Arrays in it are values of a dictionary; they become numpy arrays. The bytes of an array are in the file,
    so that nothing takes much more memory than the file.

    Args:
        file: Open behind the header of the `.npy` file.

    Raises:
        NotAdmitted: the pickle names anything else than arrays, numbers and plain containers.
        Exception: of many types, where it is damaged.
    """
    loaded = _Arrays(BytesIO(file.read())).load()  # which gives no more bytes than there are
    content = loaded.content if isinstance(loaded, _Array) else loaded
    if not isinstance(content, dict):
        return content
    return {key: value.content if isinstance(value, _Array) else value for key, value in content.items()}
