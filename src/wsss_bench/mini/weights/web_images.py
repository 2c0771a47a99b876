"""The mini web: generated images with captions, on which the shipped weights are pretrained.

It uses the renderer of the mini world with other random streams and other textures. In the web of captions,
`BROAD`, all classes occur on all materials, and some objects have no head. In that of the classifiers,
`TYPICAL`, nearly every class is on one of its own materials, as it is in ImageNet. There are photos of one to
three objects, close-ups, backgrounds without objects, objects in front of a plain backdrop, and distant
groups. A caption names only what covers enough of the image. This is decided by counting the pixels of the
rendered masks; no other information from the masks is used.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from wsss_bench.mini.world.captions import SYNONYMS, describe, plural
from wsss_bench.mini.world.renderer import UNIT_PIXELS, render
from wsss_bench.mini.world.scenes import (
    BACKGROUND_PROBABILITIES,
    CLASS_NAMES,
    COMPANIONS,
    IMAGE_SIZE,
    MATERIALS,
    Camera,
    Scene,
    SceneObject,
    Stream,
    draw_horizon,
    draw_object,
    image_rng,
)

NOUNS = CLASS_NAMES + MATERIALS  # what a caption can name, in the index order of all noun arrays (K = 14)
TEXTURE_SEED_OFFSET = 1_000_003  # added to the random seed, so that the textures differ from the mini world's
# Shares of the image: a class is present above the first and absent below the second (uncertain between
# them); a material is present above the third.
CLASS_PRESENT, CLASS_ABSENT, MATERIAL_PRESENT = 0.02, 0.002, 0.08


@dataclass(frozen=True)
class Web:
    """What a mini web shows.

    Attributes:
        name: For the record of the weights.
        scenery: Share of the images of a kind whose material is one on which the first class occurs in the
            mini world; in the others it is any.
        companions: Share of the further objects whose class occurs on this material; the others are any.
        headless: Share of the objects that are drawn without head, as if the photo had cut it off.
    """

    name: str
    scenery: Mapping[str, float]
    companions: float
    headless: float


SCENIC = ("photo", "zoom", "far")  # kinds with objects on a material
# The web of captions: any class on any material.
BROAD = Web("broad", {"photo": 0.35, "zoom": 0.3, "far": 0.35}, companions=0.4, headless=0.2)
TYPICAL_SCENERY = 0.97
# What classifiers are pretrained on, as ImageNet is: classes on their own materials, whole objects.
TYPICAL = Web("typical", dict.fromkeys(SCENIC, TYPICAL_SCENERY), companions=TYPICAL_SCENERY, headless=0.0)

# kind of image: (probability, probability of plain occluders in front of the scene)
KINDS: dict[str, tuple[float, float]] = {
    "photo": (0.38, 0.3),
    "zoom": (0.30, 0.2),
    "background": (0.08, 0.35),
    "plain": (0.10, 0.35),
    "far": (0.07, 0.1),
    "plain zoom": (0.07, 0.4),
}


@dataclass(frozen=True)
class WebImages:
    """Images with captions.

    Attributes:
        images: (N, 96, 96, 3) uint8 RGB.
        captions: N sentences.
        presence: (N, 14) int8 over `NOUNS`: 1 present, 0 absent, -1 uncertain (too small or hidden).
    """

    images: NDArray[np.uint8]
    captions: list[str]
    presence: NDArray[np.int8]

    def single_class(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Indices (M,) of the images that surely show exactly one class, and that class (M,)."""
        classes = self.presence[:, : len(CLASS_NAMES)]
        index = np.flatnonzero(((classes == 1).sum(1) == 1) & ((classes == -1).sum(1) == 0))
        return index, classes[index].argmax(1)


def make_web_images(
    random_seed: int, count: int, processes: int = 1, start: int = 0, web: Web = BROAD
) -> WebImages:
    """Images `start` to `start + count` of a random seed; the number of processes makes no difference."""
    indices = range(start, start + count)
    make_image = partial(web_image, random_seed, web=web)
    if processes == 1:
        made = [make_image(index) for index in indices]
    else:
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(processes, mp_context=context) as pool:
            made = list(pool.map(make_image, indices, chunksize=250))
    images, captions, presence = zip(*made, strict=True)
    return WebImages(np.stack(images), list(captions), np.stack(presence))


def web_image(
    random_seed: int, index: int, web: Web = BROAD
) -> tuple[NDArray[np.uint8], str, NDArray[np.int8]]:
    """(96, 96, 3) image, its caption, and the (14,) presence of the nouns, as in `WebImages`."""
    rng = image_rng(random_seed, Stream.PRETRAINING, index)
    kinds = list(KINDS)
    kind = kinds[rng.choice(len(kinds), p=[probability for probability, _ in KINDS.values()])]
    scene = _draw_scene(kind, rng, web)
    rendering = render(scene, rng, texture_seed=random_seed + TEXTURE_SEED_OFFSET)

    presence = np.zeros(len(NOUNS), np.int8)
    # Class of every instance that a caption may name.
    instances: list[int] = []
    share = np.zeros(len(CLASS_NAMES))
    for scene_object, visible in zip(scene.objects, rendering.visible / IMAGE_SIZE**2, strict=True):
        share[scene_object.label] += visible
        if visible > CLASS_PRESENT:
            instances.append(scene_object.label)
    for label in np.flatnonzero(share > CLASS_PRESENT):
        # Several objects that are small each, but large enough together.
        if label not in instances:
            instances.append(int(label))
    presence[: len(CLASS_NAMES)] = np.where(share > CLASS_PRESENT, 1, np.where(share > CLASS_ABSENT, -1, 0))
    material = None
    if scene.material is not None:
        present = rendering.background.mean() > MATERIAL_PRESENT
        presence[len(CLASS_NAMES) + scene.material] = 1 if present else -1
        material = MATERIALS[scene.material] if present else None
    return rendering.image, describe(instances, material, rng), presence


def mentioned_nouns(captions: list[str]) -> NDArray[np.bool_]:
    """(N, 14) which nouns each caption names, by name, synonym or plural. Only the captions are used."""
    forms = [{noun, SYNONYMS[noun], plural(noun), plural(SYNONYMS[noun])} for noun in NOUNS]
    words = [set(caption.replace(".", " ").split()) for caption in captions]
    return np.asarray([[bool(noun & sentence) for noun in forms] for sentence in words])


def _draw_scene(kind: str, rng: np.random.Generator, web: Web) -> Scene:
    material: int | None = None
    labels: list[int] = []
    scales = np.zeros(0)
    camera = Camera()
    if kind in SCENIC:
        if kind == "photo":
            count = 1 + int(rng.choice(3, p=(0.55, 0.33, 0.12)))
            scales = rng.uniform(0.4, 1.2, 1) if count == 1 else rng.uniform(0.35, 0.75, count)
        elif kind == "zoom":
            count = int(rng.integers(1, 3))
            scales = rng.uniform(0.4, 1.0, 1) if count == 1 else rng.uniform(0.35, 0.75, count)
        else:
            count = int(rng.integers(1, 5))
            scales = rng.uniform(0.22, 0.45, count)
        material, labels = _draw_classes(rng, count, web.scenery[kind], web.companions)
    elif kind == "background":
        material = int(rng.integers(len(MATERIALS)))
        camera = Camera(zoom=float(rng.uniform(1, 2.5)))
    else:
        labels = [int(rng.integers(len(CLASS_NAMES)))]
        scales = rng.uniform(0.3, 1.2, 1)
    objects = tuple(
        _draw_object(rng, label, float(scale), web.headless)
        for label, scale in zip(labels, scales, strict=True)
    )
    if kind == "zoom":
        camera = _close_up(rng, objects, float(np.exp(rng.uniform(np.log(1.2), np.log(3.5)))))
    elif kind == "plain zoom":
        camera = _close_up(rng, objects, float(rng.uniform(1.2, 3)))
    occluders = int(rng.integers(1, 4)) if rng.random() < KINDS[kind][1] else 0
    return Scene(material, objects, draw_horizon(rng, material), int(rng.integers(4)), occluders, camera)


def _draw_object(rng: np.random.Generator, label: int, scale: float, headless: float) -> SceneObject:
    scene_object = draw_object(rng, label, scale)
    return replace(scene_object, body_only=bool(rng.random() < headless))


def _draw_classes(
    rng: np.random.Generator, count: int, scenery: float, companions: float
) -> tuple[int, list[int]]:
    """Material and classes.

    Args:
        rng: Source of the choice.
        count: Number of objects.
        scenery, companions: Of the web, for this kind of image.

    Returns:
        Index of the material, and the class index of every object.
    """
    first = int(rng.integers(len(CLASS_NAMES)))
    material = int(rng.integers(len(MATERIALS)))
    if rng.random() < scenery:
        probabilities = BACKGROUND_PROBABILITIES[CLASS_NAMES[first]]
        material = MATERIALS.index(str(rng.choice(list(probabilities), p=list(probabilities.values()))))
    labels = [first]
    while len(labels) < count:
        companion = CLASS_NAMES.index(str(rng.choice(COMPANIONS[MATERIALS[material]])))
        labels.append(companion if rng.random() < companions else int(rng.integers(len(CLASS_NAMES))))
    return material, labels


def _close_up(rng: np.random.Generator, objects: tuple[SceneObject, ...], zoom: float) -> Camera:
    """A camera near the centre of one object, shifted by up to a third of the object's size."""
    target = objects[int(rng.integers(len(objects)))]
    offset = rng.uniform(-0.32, 0.32, 2) * 2 * UNIT_PIXELS * target.scale
    return Camera(target.x + float(offset[0]), target.y + float(offset[1]), zoom)
