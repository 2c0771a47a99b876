"""Renders a scene: image, instance map and part map.

Outlines are drawn at three times the resolution and averaged down, so that edges are anti-aliased. The body
patterns are functions of object coordinates, so that they rotate and scale with the object.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from wsss_bench.mini.world.scenes import CLASS_NAMES, IMAGE_SIZE, Camera, Scene, SceneObject
from wsss_bench.mini.world.shapes import BODY_COLOURS, SHAPES, Colour, Polygon, body_colours
from wsss_bench.mini.world.textures import (
    TEXTURE_SIZE,
    TEXTURES_PER_MATERIAL,
    background_texture,
    body_pattern,
)

SUPERSAMPLING = 3
UNIT_PIXELS = 45.0  # from an object's centre to the edge of its unit square at scale 1
BODY_AMPLITUDE = 30.0  # of the body pattern, in grey values of 255
# Grey value near which part of the plain backdrops and occluders are. Masked images are filled with it, too
# (`mini/weights/measurements.py`).
PLAIN_GREY = 115.0
NOISE = 6.0  # standard deviation of the pixel noise, in grey values

Array = NDArray[np.float32]
Box = tuple[int, int, int, int]  # left, top, right, bottom in pixels


@dataclass(frozen=True)
class Rendering:
    """Image and masks of one scene.

    Attributes:
        image: (96, 96, 3) uint8 RGB.
        instance: (96, 96) uint8, 0 background, k the k-th object of the scene (from 1).
        part: (96, 96) uint8, 0 background, 1 body, 2 head.
        background: (96, 96) bool, pixels that show the background (no object, no occluder).
        areas: (K,) pixels of each object inside the frame, hidden ones included.
    """

    image: NDArray[np.uint8]
    instance: NDArray[np.uint8]
    part: NDArray[np.uint8]
    background: NDArray[np.bool_]
    areas: NDArray[np.int64]

    @property
    def visible(self) -> NDArray[np.int64]:
        """(K,) visible pixels of each object."""
        return np.bincount(self.instance.ravel(), minlength=len(self.areas) + 1)[1:]


def render(scene: Scene, rng: np.random.Generator, texture_seed: int) -> Rendering:
    """Render a scene.

    Args:
        scene: What to draw.
        rng: The generator of this image, for texture crops, distractors and noise.
        texture_seed: Random seed of the background textures.
    """
    canvas = _draw_background(scene, rng, texture_seed)
    for _ in range(scene.distractors):
        _draw_distractor(canvas, rng, scene.camera)
    instance = np.zeros((IMAGE_SIZE, IMAGE_SIZE), np.uint8)
    part = np.zeros_like(instance)
    areas = np.zeros(len(scene.objects), np.int64)
    for number, scene_object in enumerate(scene.objects, start=1):
        areas[number - 1] = _draw_object(canvas, instance, part, number, scene_object, scene.camera)
    occluded = np.zeros(instance.shape, bool)
    for _ in range(scene.occluders):
        occluded |= _draw_occluder(canvas, rng)
    instance[occluded] = part[occluded] = 0
    canvas += NOISE * rng.standard_normal(canvas.shape, dtype=np.float32)
    image = np.clip(canvas + 0.5, 0, 255).astype(np.uint8)
    return Rendering(image, instance, part, (instance == 0) & ~occluded, areas)


def _draw_background(scene: Scene, rng: np.random.Generator, texture_seed: int) -> Array:
    """(96, 96, 3) a crop of a texture, or one plain colour, in grey values."""
    if scene.material is None:
        colour = rng.uniform(20, 235, 3) if rng.random() < 0.4 else PLAIN_GREY + rng.uniform(-12, 12, 3)
        return np.broadcast_to(colour.astype(np.float32), (IMAGE_SIZE, IMAGE_SIZE, 3)).copy()
    texture = background_texture(texture_seed, scene.material, int(rng.integers(TEXTURES_PER_MATERIAL)))
    side = IMAGE_SIZE / max(scene.camera.zoom, 1.0)
    left, top = rng.uniform(0, TEXTURE_SIZE - side, 2)
    crop = Image.fromarray(texture).resize(
        (IMAGE_SIZE, IMAGE_SIZE), Image.Resampling.BILINEAR, box=(left, top, left + side, top + side)
    )
    canvas = np.asarray(crop, np.float32)
    if rng.random() < 0.5:
        canvas = canvas[:, ::-1]
    canvas = canvas * np.float32(rng.uniform(0.85, 1.15))
    if scene.horizon is not None:
        camera = scene.camera
        edge = (scene.horizon - camera.y) * camera.zoom + IMAGE_SIZE / 2
        rows = np.arange(IMAGE_SIZE, dtype=np.float32)
        haze = np.clip((edge - rows) / 3 + 0.5, 0, 1)[:, None, None]
        pale = np.asarray((214, 220, 226), np.float32) + rng.uniform(-14, 14, 3).astype(np.float32)
        canvas = canvas * (1 - 0.9 * haze) + pale * 0.9 * haze
    return canvas.astype(np.float32, order="C")


def _bounds(points: Polygon) -> Box | None:
    """Box of the pixels around points, clipped to the frame; None if it lies outside."""
    left, top = np.clip(np.floor(points.min(0)) - 1, 0, IMAGE_SIZE).astype(int).tolist()
    right, bottom = np.clip(np.ceil(points.max(0)) + 1, 0, IMAGE_SIZE).astype(int).tolist()
    return (left, top, right, bottom) if left < right and top < bottom else None


def _coverage(polygons: tuple[Polygon, ...], box: Box) -> Array:
    """(h, w) share of every pixel of `box` that the union of the polygons covers, 0 to 1."""
    left, top, right, bottom = box
    picture = Image.new("L", ((right - left) * SUPERSAMPLING, (bottom - top) * SUPERSAMPLING))
    pen = ImageDraw.Draw(picture)
    for polygon in polygons:
        pen.polygon(((polygon - (left, top)) * SUPERSAMPLING).ravel().tolist(), fill=255)
    return np.asarray(picture.reduce(SUPERSAMPLING), np.float32) / np.float32(255)


def _flat_colours(colour: Colour, details: tuple[tuple[Polygon, Colour], ...], box: Box) -> Array:
    """(h, w, 3) one colour with coloured polygons on it, in grey values."""
    left, top, right, bottom = box
    size = ((right - left) * SUPERSAMPLING, (bottom - top) * SUPERSAMPLING)
    picture = Image.new("RGB", size, colour)
    pen = ImageDraw.Draw(picture)
    for polygon, fill in details:
        pen.polygon(((polygon - (left, top)) * SUPERSAMPLING).ravel().tolist(), fill=fill)
    return np.asarray(picture.reduce(SUPERSAMPLING), np.float32)


def _blend(canvas: Array, box: Box, colour: Array, alpha: Array) -> None:
    """Mix a colour into the pixels of a box, in place, with weight `alpha` (h, w)."""
    left, top, right, bottom = box
    view = canvas[top:bottom, left:right]
    view += alpha[..., None] * (colour - view)


def _draw_object(
    canvas: Array,
    instance: NDArray[np.uint8],
    part: NDArray[np.uint8],
    number: int,
    scene_object: SceneObject,
    camera: Camera,
) -> int:
    """Draw one object into image, instance and part map; returns its area inside the frame, in pixels."""
    name = CLASS_NAMES[scene_object.label]
    shape = SHAPES[name]
    angle = np.deg2rad(scene_object.angle)
    rotation = np.asarray([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    stretch = np.diag(
        [(-1 if scene_object.flip else 1) * scene_object.aspect**0.5, scene_object.aspect**-0.5]
    )
    matrix = (camera.zoom * UNIT_PIXELS * scene_object.scale) * rotation @ stretch
    centre = (
        np.asarray([scene_object.x, scene_object.y]) - (camera.x, camera.y)
    ) * camera.zoom + IMAGE_SIZE / 2

    def project(polygon: Polygon) -> Polygon:
        return (polygon @ matrix.T + centre).astype(np.float32)

    body = tuple(map(project, shape.body))
    head = () if scene_object.body_only else tuple(map(project, shape.head))
    box = _bounds(np.concatenate(body + head))
    if box is None:
        return 0
    left, top, right, bottom = box
    y, x = np.mgrid[top:bottom, left:right].astype(np.float32) + 0.5
    u, v = np.tensordot(np.linalg.inv(matrix), np.stack([x - centre[0], y - centre[1]]), 1).astype(np.float32)
    pattern = body_pattern(name, u, v, scene_object.phase) - 0.35 * v  # lit from above
    colour = np.asarray(body_colours(scene_object.label)[scene_object.colour], np.float32)
    body_alpha, head_alpha = _coverage(body, box), _coverage(head, box)
    _blend(canvas, box, colour + BODY_AMPLITUDE * pattern[..., None], body_alpha)
    if shape.body_details:
        _blend(
            canvas,
            box,
            np.asarray((34, 34, 40), np.float32),
            _coverage(tuple(map(project, shape.body_details)), box),
        )
    head_details = tuple((project(polygon), fill) for polygon, fill in shape.head_details)
    _blend(canvas, box, _flat_colours(shape.head_colour, head_details, box), head_alpha)

    view = np.s_[top:bottom, left:right]
    inside = np.maximum(body_alpha, head_alpha) > 0.5
    instance[view][inside] = number
    part[view][inside] = 1
    part[view][head_alpha > 0.5] = 2
    return int(inside.sum())


def _draw_distractor(canvas: Array, rng: np.random.Generator, camera: Camera) -> None:
    """Draw a small ellipse, bar or triangle in a body colour; objects are drawn over it."""
    centre = (rng.uniform(0, IMAGE_SIZE, 2) - (camera.x, camera.y)) * camera.zoom + IMAGE_SIZE / 2
    size = rng.uniform(2.5, 6.5) * camera.zoom
    kind = rng.integers(3)
    t = np.linspace(0, 2 * np.pi, (20, 4, 3)[kind], endpoint=False) + rng.uniform(0, 2 * np.pi)
    polygon = (centre + size * np.stack([np.cos(t), np.sin(t) * rng.uniform(0.4, 1)], 1)).astype(np.float32)
    colour = np.asarray(BODY_COLOURS[rng.integers(len(BODY_COLOURS))], np.float32) + rng.uniform(-25, 25, 3)
    box = _bounds(polygon)
    if box is not None:
        _blend(canvas, box, colour.astype(np.float32), _coverage((polygon,), box))


def _draw_occluder(canvas: Array, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Draw a plain upright rectangle over everything; returns the pixels it covers, (96, 96) bool."""
    width, height = rng.uniform(0.2, 0.6, 2) * IMAGE_SIZE
    left, top = rng.uniform(-0.1, 0.9, 2) * IMAGE_SIZE
    rows, columns = np.mgrid[:IMAGE_SIZE, :IMAGE_SIZE]
    covered = (columns >= left) & (columns < left + width) & (rows >= top) & (rows < top + height)
    near_grey = rng.random() < 0.6
    colour = PLAIN_GREY + rng.uniform(-12, 12, 3) if near_grey else rng.uniform(20, 235, 3)
    canvas[covered] = colour
    return covered
