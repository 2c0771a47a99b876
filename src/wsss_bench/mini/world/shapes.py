"""Outlines of the eight classes, as polygons: a plain body and a distinctive head.

The head is the discriminative part of an object (15 to 27 % of it), for example the front of a bus or the
sail of a boat. Head colours belong to one class alone; each of the eight body colours is shared by three
classes.
Coordinates (u, v) lie in [-1, 1], u to the right, v down. All heads are on the right.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Polygon = NDArray[np.float32]  # (n, 2)
Colour = tuple[int, int, int]

BODY_COLOURS: tuple[Colour, ...] = (
    (222, 222, 216), (186, 62, 54), (66, 92, 178), (66, 124, 74),
    (134, 92, 60), (140, 140, 146), (212, 182, 74), (62, 62, 72),
)  # fmt: skip


def body_colours(label: int) -> tuple[Colour, Colour, Colour]:
    """The three body colours of a class; every colour is used by exactly three classes."""
    count = len(BODY_COLOURS)
    return tuple(BODY_COLOURS[(label + shift) % count] for shift in (0, 1, 3))  # type: ignore[return-value]


@dataclass(frozen=True)
class Shape:
    """Polygons of one class.

    Attributes:
        body: Outline of the body, the union of the polygons.
        body_details: Dark polygons painted on the body.
        head: Outline of the head, the union of the polygons.
        head_colour: RGB.
        head_details: Polygons with their colours, painted on the head in this order.
    """

    body: tuple[Polygon, ...]
    body_details: tuple[Polygon, ...]
    head: tuple[Polygon, ...]
    head_colour: Colour
    head_details: tuple[tuple[Polygon, Colour], ...]


def _polygon(*points: tuple[float, float]) -> Polygon:
    return np.asarray(points, np.float32)


def _box(left: float, top: float, right: float, bottom: float) -> Polygon:
    return _polygon((left, top), (right, top), (right, bottom), (left, bottom))


def _ellipse(u: float, v: float, width: float, height: float, bumps: float = 0.0) -> Polygon:
    """Ellipse around (u, v) with half axes `width` and `height`; `bumps` is the height of ten bulges."""
    t = np.linspace(0, 2 * np.pi, 48 if bumps else 28, endpoint=False)
    r = 1 + bumps * np.abs(np.sin(5 * t))
    return np.stack([u + width * r * np.cos(t), v + height * r * np.sin(t)], 1).astype(np.float32)


WHITE, BLACK = (250, 250, 250), (18, 18, 20)

SHAPES: dict[str, Shape] = {
    "aeroplane": Shape(  # seen from above
        body=(
            _ellipse(-0.15, 0, 0.82, 0.16),
            _polygon((0.25, -0.1), (-0.2, -0.92), (-0.48, -0.92), (-0.25, -0.1)),
            _polygon((0.25, 0.1), (-0.2, 0.92), (-0.48, 0.92), (-0.25, 0.1)),
            _polygon((-0.66, 0), (-0.82, -0.42), (-0.99, -0.42), (-0.92, 0), (-0.99, 0.42), (-0.82, 0.42)),
        ),
        body_details=(_ellipse(-0.16, -0.55, 0.15, 0.07), _ellipse(-0.16, 0.55, 0.15, 0.07)),
        head=(_ellipse(0.6, 0, 0.4, 0.25),),
        head_colour=(232, 36, 30),
        head_details=((_box(0.42, -0.3, 0.54, 0.3), WHITE), (_ellipse(0.76, 0, 0.12, 0.13), BLACK)),
    ),
    "bird": Shape(
        body=(
            _ellipse(-0.08, 0.14, 0.56, 0.38),
            _polygon((-0.45, 0.05), (-0.98, -0.16), (-0.98, 0.2), (-0.4, 0.32)),
            _polygon((-0.1, 0.45), (-0.04, 0.45), (0.0, 0.92), (-0.07, 0.92)),
            _polygon((0.1, 0.45), (0.16, 0.45), (0.2, 0.92), (0.13, 0.92)),
        ),
        body_details=(_polygon((-0.42, 0.0), (0.2, 0.0), (-0.05, 0.3), (-0.3, 0.26)),),
        head=(_ellipse(0.5, -0.36, 0.29, 0.3), _polygon((0.7, -0.5), (1.0, -0.3), (0.7, -0.2))),
        head_colour=(252, 222, 24),
        head_details=(
            (_polygon((0.7, -0.52), (1.0, -0.3), (0.7, -0.18)), (240, 110, 10)),
            (_ellipse(0.55, -0.42, 0.1, 0.1), BLACK),
        ),
    ),
    "boat": Shape(
        body=(
            _polygon((-0.97, 0.2), (0.97, 0.2), (0.66, 0.78), (-0.72, 0.78)),
            _box(-0.62, -0.06, -0.12, 0.22),
        ),
        body_details=(_box(-0.52, 0.02, -0.22, 0.13),),
        head=(_polygon((0.02, -0.95), (0.72, 0.16), (0.02, 0.16)),),
        head_colour=WHITE,
        head_details=(
            (_polygon((0.02, -0.7), (0.18, -0.7), (0.34, -0.45), (0.02, -0.45)), (30, 70, 230)),
            (_polygon((0.02, -0.2), (0.49, -0.2), (0.65, 0.04), (0.02, 0.04)), (30, 70, 230)),
        ),
    ),
    "bus": Shape(
        body=(
            _box(-0.96, -0.56, 0.5, 0.48),
            _ellipse(-0.55, 0.48, 0.17, 0.17), _ellipse(0.15, 0.48, 0.17, 0.17),
        ),
        body_details=(_ellipse(-0.55, 0.48, 0.17, 0.17), _ellipse(0.15, 0.48, 0.17, 0.17)),
        head=(_box(0.5, -0.56, 0.96, 0.48),),
        head_colour=(20, 205, 225),
        head_details=(
            (_box(0.56, -0.48, 0.9, 0.0), (215, 250, 255)),
            (_box(0.5, 0.14, 0.96, 0.26), BLACK),
            (_ellipse(0.84, 0.36, 0.08, 0.07), (255, 235, 90)),
        ),
    ),
    "car": Shape(
        body=(
            _polygon((-0.96, 0.0), (-0.9, -0.06), (0.5, -0.06), (0.5, 0.4), (-0.96, 0.4)),
            _polygon((-0.72, -0.04), (-0.48, -0.46), (0.18, -0.46), (0.46, -0.04)),
            _ellipse(-0.52, 0.4, 0.2, 0.2),
            _ellipse(0.36, 0.4, 0.2, 0.2),
        ),
        body_details=(
            _polygon((-0.58, -0.08), (-0.42, -0.38), (0.12, -0.38), (0.3, -0.08)),
            _ellipse(-0.52, 0.4, 0.2, 0.2),
            _ellipse(0.36, 0.4, 0.2, 0.2),
        ),
        head=(_polygon((0.5, -0.1), (0.82, -0.04), (0.98, 0.1), (0.98, 0.42), (0.5, 0.42)),),
        head_colour=(236, 30, 170),
        head_details=(
            (_ellipse(0.84, 0.1, 0.11, 0.09), (255, 250, 190)),
            (_box(0.62, 0.24, 0.98, 0.34), BLACK),
        ),
    ),
    "cow": Shape(
        body=(
            _ellipse(-0.2, 0.0, 0.66, 0.36),
            _box(-0.76, 0.1, -0.6, 0.82), _box(-0.46, 0.1, -0.32, 0.82),
            _box(0.04, 0.1, 0.18, 0.82), _box(0.26, 0.1, 0.4, 0.82),
            _polygon((-0.8, -0.12), (-0.98, 0.34), (-0.9, 0.36), (-0.74, 0.0)),
        ),
        body_details=(),
        head=(
            _box(0.4, -0.6, 0.86, 0.1),
            _polygon((0.42, -0.56), (0.3, -0.86), (0.54, -0.62)),
            _polygon((0.84, -0.56), (0.96, -0.86), (0.72, -0.62)),
        ),
        head_colour=(252, 250, 240),
        head_details=(
            (_box(0.4, -0.16, 0.86, 0.1), (255, 140, 160)),
            (_ellipse(0.52, -0.4, 0.07, 0.08), BLACK), (_ellipse(0.74, -0.4, 0.07, 0.08), BLACK),
            (_ellipse(0.54, -0.03, 0.05, 0.06), (120, 30, 50)),
            (_ellipse(0.73, -0.03, 0.05, 0.06), (120, 30, 50)),
        ),
    ),
    "sheep": Shape(
        body=(
            _ellipse(-0.16, -0.02, 0.62, 0.42, bumps=0.16),
            _box(-0.56, 0.3, -0.44, 0.8), _box(-0.3, 0.3, -0.18, 0.8),
            _box(0.0, 0.3, 0.12, 0.8), _box(0.22, 0.3, 0.34, 0.8),
        ),
        body_details=(
            _box(-0.56, 0.46, -0.44, 0.8), _box(-0.3, 0.46, -0.18, 0.8),
            _box(0.0, 0.46, 0.12, 0.8), _box(0.22, 0.46, 0.34, 0.8),
        ),
        head=(
            _ellipse(0.66, -0.08, 0.28, 0.38),
            _polygon((0.5, -0.3), (0.24, -0.46), (0.42, -0.14)),
            _polygon((0.82, -0.3), (0.99, -0.5), (0.92, -0.12)),
        ),
        head_colour=(24, 20, 24),
        head_details=(
            (_ellipse(0.57, -0.16, 0.09, 0.1), WHITE), (_ellipse(0.77, -0.16, 0.09, 0.1), WHITE),
            (_ellipse(0.67, 0.16, 0.1, 0.06), (230, 120, 200)),
        ),
    ),
    "train": Shape(
        body=(
            _box(-0.99, -0.36, 0.52, 0.3),
            *(_ellipse(u, 0.34, 0.11, 0.11) for u in (-0.82, -0.5, -0.18, 0.14, 0.42)),
        ),
        body_details=(*(_ellipse(u, 0.36, 0.1, 0.1) for u in (-0.82, -0.5, -0.18, 0.14, 0.42)),),
        head=(_polygon((0.52, -0.4), (0.7, -0.4), (0.99, 0.12), (0.99, 0.4), (0.52, 0.4)),),
        head_colour=(255, 196, 0),
        head_details=(
            (_polygon((0.5, -0.1), (0.5, 0.12), (1.0, 0.38), (1.0, 0.16)), BLACK),
            (_polygon((0.5, 0.3), (0.5, 0.5), (0.7, 0.5)), BLACK),
            (_polygon((0.6, -0.32), (0.7, -0.32), (0.82, -0.08), (0.6, -0.2)), (120, 220, 120)),
        ),
    ),
}  # fmt: skip
