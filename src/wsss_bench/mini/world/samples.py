"""Samples of the mini world: rendered scenes in which all objects are visible, with masks and captions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import binary_dilation

from wsss_bench.mini.world.captions import describe
from wsss_bench.mini.world.renderer import Rendering, render
from wsss_bench.mini.world.scenes import (
    MATERIALS,
    Scene,
    SceneObject,
    Stream,
    draw_empty_scene,
    draw_scene,
    image_rng,
)

BORDER = 255  # mask value of the one-pixel line around the objects
CAPTIONS_PER_IMAGE = 2
# An object is visible if it shows so many pixels and this share of its area inside the frame.
MIN_VISIBLE_PIXELS, MIN_VISIBLE_SHARE = 60, 0.35


@dataclass(frozen=True)
class Sample:
    """One labelled image.

    Attributes:
        scene: Its contents; `scene.labels` are the image labels.
        rendering: Image, instance map and part map.
        captions: Two sentences. Some do not name everything that is visible.
    """

    scene: Scene
    rendering: Rendering
    captions: tuple[str, ...]

    @property
    def objects(self) -> tuple[SceneObject, ...]:
        """The instances, in the order of the instance map (its value 1 is the first)."""
        return self.scene.objects

    def jpeg(self) -> bytes:
        """The image as it is stored: JPEG of quality 95 without chroma subsampling."""
        stream = BytesIO()
        Image.fromarray(self.rendering.image).save(stream, "JPEG", quality=95, subsampling=0)
        return stream.getvalue()

    def class_mask(self) -> NDArray[np.uint8]:
        """(96, 96) uint8: 0 background, c + 1 class c, 255 border."""
        values = np.asarray([0, *(scene_object.label + 1 for scene_object in self.objects)], np.uint8)
        return self._with_border(values[self.rendering.instance])

    def instance_mask(self) -> NDArray[np.uint8]:
        """(96, 96) uint8: 0 background, k instance k, 255 border."""
        return self._with_border(self.rendering.instance)

    def _with_border(self, mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
        inside = self.rendering.instance > 0
        return np.where(binary_dilation(inside) & ~inside, np.uint8(BORDER), mask)


def make_sample(random_seed: int, stream: Stream, index: int) -> Sample:
    """Image number `index` of a stream; the same arguments give the same bytes in any process."""
    co_occurring = stream is not Stream.VAL_OOD
    draw = draw_empty_scene if stream is Stream.EMPTY else partial(draw_scene, co_occurring=co_occurring)
    return draw_visible(draw, image_rng(random_seed, stream, index), random_seed)


def draw_visible(
    draw: Callable[[np.random.Generator], Scene], rng: np.random.Generator, texture_seed: int
) -> Sample:
    """Draw scenes until all objects of one are visible, so that its labels are right."""
    while True:
        scene = draw(rng)
        rendering = render(scene, rng, texture_seed)
        if np.all(rendering.visible >= np.maximum(MIN_VISIBLE_PIXELS, MIN_VISIBLE_SHARE * rendering.areas)):
            break
    labels = [scene_object.label for scene_object in scene.objects]
    material = None if scene.material is None else MATERIALS[scene.material]
    captions = tuple(describe(labels, material, rng) for _ in range(CAPTIONS_PER_IMAGE))
    return Sample(scene, rendering, captions)
