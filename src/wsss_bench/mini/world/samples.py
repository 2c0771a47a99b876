"""One labelled image of the mini world: a scene whose objects can all be seen, with masks and captions."""

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
from wsss_bench.mini.world.grammar import (
    MATERIALS,
    Placed,
    Scene,
    Stream,
    draw_empty_scene,
    draw_scene,
    image_rng,
)
from wsss_bench.mini.world.renderer import Rendering, render

BORDER = 255  # mask value of the one-pixel line between object and background
CAPTIONS = 2  # per image


@dataclass(frozen=True)
class Sample:
    """A finished image of the world.

    Attributes:
        scene: What it shows; `scene.labels` are its image labels.
        rendering: Image, instance map, part map.
        captions: Two sentences, some incomplete.
    """

    scene: Scene
    rendering: Rendering
    captions: tuple[str, ...]

    @property
    def objects(self) -> tuple[Placed, ...]:
        """The instances, in the order of the instance map (value 1 is the first)."""
        return self.scene.objects

    def jpeg(self) -> bytes:
        """The image as it lies on disk: JPEG of quality 95 with full colour resolution."""
        stream = BytesIO()
        Image.fromarray(self.rendering.image).save(stream, "JPEG", quality=95, subsampling=0)
        return stream.getvalue()

    def class_mask(self) -> NDArray[np.uint8]:
        """(96, 96) 0 background, c + 1 class c, 255 border."""
        values = np.asarray([0, *(placed.label + 1 for placed in self.objects)], np.uint8)
        return self._with_border(values[self.rendering.instance])

    def instance_mask(self) -> NDArray[np.uint8]:
        """(96, 96) 0 background, k instance k, 255 border."""
        return self._with_border(self.rendering.instance)

    def _with_border(self, mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
        inside = self.rendering.instance > 0
        return np.where(binary_dilation(inside) & ~inside, np.uint8(BORDER), mask)


def make_sample(seed: int, stream: Stream, index: int) -> Sample:
    """Image number `index` of a stream; the same arguments give the same bytes in any process."""
    usual = stream is not Stream.VAL_OOD
    draw = draw_empty_scene if stream is Stream.EMPTY else partial(draw_scene, usual=usual)
    return draw_visible(draw, image_rng(seed, stream, index), seed)


def draw_visible(draw: Callable[[np.random.Generator], Scene], rng: np.random.Generator, seed: int) -> Sample:
    """Draw scenes until all objects of one can be seen."""
    while True:
        scene = draw(rng)
        rendering = render(scene, rng, bank=seed)
        # a label must be visible: hidden, cut off or tiny objects mean another draw
        shown = rendering.visible
        if np.all(shown >= np.maximum(60, 0.35 * rendering.areas)):
            break
    names = [placed.label for placed in scene.objects]
    material = None if scene.material is None else MATERIALS[scene.material]
    return Sample(scene, rendering, tuple(describe(names, material, rng) for _ in range(CAPTIONS)))
