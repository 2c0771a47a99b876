"""Benchmark suite for CLIP-era weakly supervised semantic segmentation.

    method = wsss_bench.load("runs/stages/train-...")
    prediction = method.predict("x.jpg")

This package imports nothing until it is used.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from wsss_bench.library import load as load

__version__ = "0.2.0"
__all__ = ["__version__", "load"]


def __getattr__(name: str) -> Any:
    if name != "load":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    # not by a plain name, which would make the library a part of the code of every stage
    return getattr(import_module(f"{__name__}.library"), name)
