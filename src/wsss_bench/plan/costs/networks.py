"""The measured networks: floating point operations, saved activations and loading of each architecture.

`python benchmarks/costs/measure.py` writes them to `measured.json`, with the counters of torch.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from wsss_bench.artifacts.files import read_json

MEASURED = Path(__file__).with_name("measured.json")
ARCHITECTURE = (
    "backbone", "output_stride", "frozen_stages", "freeze_bn", "width", "side", "rates", "scales", "dilation",
    "dilated", "clip", "text.model", "decoder", "aux_layer",
)  # fmt: skip
"""Arguments of networks that decide what a step costs, where they are given."""


@dataclass(frozen=True)
class Polynomial:
    """A cost as a sum of terms, for `B` images of `P` megapixels each and `C` classes.

    Args:
        image: Factor of B.
        pixel: Factor of B P: convolutions.
        pixel2: Factor of B P^2: attention.
        pair_pixel: Factor of B^2 P: the maps of each image with each text.
        class_pixel: Factor of B P C: maps of all classes at the size of the image.
    """

    image: float = 0.0
    pixel: float = 0.0
    pixel2: float = 0.0
    pair_pixel: float = 0.0
    class_pixel: float = 0.0

    def __call__(self, images: float, megapixels: float, classes: int = 0) -> float:
        each = self.image + megapixels * (self.pixel + self.pixel2 * megapixels + self.class_pixel * classes)
        return images * (each + self.pair_pixel * images * megapixels)


@dataclass(frozen=True)
class Pass:
    """A training step, or a forward pass.

    Args:
        flop: Floating point operations; a multiply-add is two.
        calls: Operators that run.
        float32_share: Share of the FLOP that are float32 in mixed precision, too.
        saved_bytes: What autograd saves in float32 for the backward pass; nothing in a forward pass.
    """

    flop: Polynomial
    calls: int
    float32_share: float = 0.0
    saved_bytes: Polynomial = Polynomial()


@dataclass(frozen=True)
class Loading:
    """CPU seconds of loading one training image: decoded, and transformed to a crop of `side` pixels."""

    seconds: float
    side: int

    def scaled(self, side: int) -> float:
        """Seconds for another crop."""
        return self.seconds * (side / self.side) ** 2


@dataclass(frozen=True)
class Network:
    """What was measured of an architecture.

    Args:
        parameters: All of them.
        trained: Those with a gradient.
        cpu_rate: FLOP/s of a training step (without training, of a forward pass) on one core.
        bf16_share: Saved bytes in mixed precision, relative to those in float32.
        loading: None where nothing is trained.
        step: The training step, all losses switched on; None where nothing is trained.
        forward: Forward passes by product.
    """

    parameters: int
    trained: int
    cpu_rate: float
    bf16_share: float
    loading: Loading | None
    step: Pass | None
    forward: dict[str, Pass]

    @property
    def attention(self) -> bool:
        """Whether it is a transformer."""
        passes = [*([self.step] if self.step else []), *self.forward.values()]
        return any(one.flop.pixel2 > 0 for one in passes)


def network_of(model: Mapping[str, Any]) -> Network | None:
    """What was measured of the network of a stage; None if it is of another class or architecture.

    Args:
        model: `class_path` and `init_args`.
    """
    settings = settings_of(model.get("init_args") or {})
    for entry in measured()["networks"]:
        if entry["class_path"] == model.get("class_path") and entry["settings"] == settings:
            return _network(entry)
    return None


@cache
def measured() -> dict[str, Any]:
    """Content of `measured.json`."""
    content: dict[str, Any] = read_json(MEASURED)
    return content


def settings_of(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of a network that decide its cost, by dotted name."""
    return {name: value for name, value in _flat(arguments) if name in ARCHITECTURE}


def _flat(arguments: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in arguments.items():
        if isinstance(value, Mapping) and prefix + name not in ARCHITECTURE:
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


def _network(entry: Mapping[str, Any]) -> Network:
    loading, step = entry.get("loading"), entry.get("step")
    return Network(
        entry["parameters"],
        entry["trained"],
        entry["cpu_rate"],
        entry.get("bf16_share", 1.0),
        Loading(**loading) if loading else None,
        _pass(step) if step else None,
        {product: _pass(forward) for product, forward in entry["forward"].items()},
    )


def _pass(content: Mapping[str, Any]) -> Pass:
    saved = Polynomial(**content.get("saved_bytes", {}))
    return Pass(Polynomial(**content["flop"]), content["calls"], content["float32_share"], saved)
