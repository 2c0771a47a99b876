"""The mini web: images with captions on which the mini world's weights are pretrained.

The same renderer as the mini world, other random streams and another texture bank, all classes on all
materials: photos of one to three objects, close-ups, backgrounds alone, objects before a plain backdrop,
distant groups. A caption names what takes enough of the frame to be seen; the renderer knows this by counting
pixels, and nothing else of a mask leaves this file.
"""

from __future__ import annotations

import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from wsss_bench.mini.world.captions import SYNONYMS, describe, plural
from wsss_bench.mini.world.grammar import (
    BACKGROUND_LAW,
    CLASS_NAMES,
    COMPANIONS,
    IMAGE_SIZE,
    MATERIALS,
    Camera,
    Placed,
    Scene,
    Stream,
    draw_horizon,
    image_rng,
    place,
)
from wsss_bench.mini.world.renderer import UNIT, render

NOUNS = CLASS_NAMES + MATERIALS  # what a caption can name; index order of every noun list
BANK_OFFSET = 1_000_003  # added to the seed: the web's textures are not the mini world's
CLASS_SEEN, CLASS_HIDDEN, MATERIAL_SEEN = 0.02, 0.002, 0.08  # shares of the frame

HEADLESS = 0.2  # of the objects are bodies alone, as on a photo that cuts the head off

# kind of picture: (share, probability of plain boards in front of the scene)
KINDS: dict[str, tuple[float, float]] = {
    "photo": (0.38, 0.3),
    "zoom": (0.30, 0.2),
    "background": (0.08, 0.35),
    "studio": (0.10, 0.35),
    "far": (0.07, 0.1),
    "studio zoom": (0.07, 0.4),
}


@dataclass(frozen=True)
class Web:
    """Images with captions.

    Attributes:
        image: (N, 96, 96, 3) uint8 RGB.
        caption: N sentences.
        truth: (N, 14) int8 over `NOUNS`: 1 visible, 0 not there, -1 too small to say.
    """

    image: NDArray[np.uint8]
    caption: list[str]
    truth: NDArray[np.int8]

    def single_class(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Indices of the images that show exactly one class, and that class: the classifiers' samples."""
        classes = self.truth[:, : len(CLASS_NAMES)]
        index = np.flatnonzero(((classes == 1).sum(1) == 1) & ((classes == -1).sum(1) == 0))
        return index, classes[index].argmax(1)


def make_web(seed: int, count: int, processes: int = 1, start: int = 0) -> Web:
    """Images `start` to `start + count` of the mini web of a seed; independent of the number of processes."""
    numbers = range(start, start + count)
    draw = partial(web_image, seed)
    if processes == 1:
        drawn = [draw(number) for number in numbers]
    else:
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(processes, mp_context=context) as pool:
            drawn = list(pool.map(draw, numbers, chunksize=250))
    images, captions, truths = zip(*drawn, strict=True)
    return Web(np.stack(images), list(captions), np.stack(truths))


def web_image(seed: int, number: int) -> tuple[NDArray[np.uint8], str, NDArray[np.int8]]:
    """(96, 96, 3) image, its caption, and (14,) truth of the nouns, as in `Web`."""
    rng = image_rng(seed, Stream.WEB, number)
    kinds = list(KINDS)
    kind = kinds[rng.choice(len(kinds), p=[share for share, _ in KINDS.values()])]
    scene = _draw(kind, rng)
    rendering = render(scene, rng, bank=seed + BANK_OFFSET)

    frame = IMAGE_SIZE**2
    truth = np.zeros(len(NOUNS), np.int8)
    shown: list[int] = []
    share = np.zeros(len(CLASS_NAMES))
    for placed, visible in zip(scene.objects, rendering.visible / frame, strict=True):
        share[placed.label] += visible
        if visible > CLASS_SEEN:
            shown.append(placed.label)
    for label in np.flatnonzero(share > CLASS_SEEN):
        if label not in shown:  # several small ones together
            shown.append(int(label))
    truth[: len(CLASS_NAMES)] = np.where(share > CLASS_SEEN, 1, np.where(share > CLASS_HIDDEN, -1, 0))
    material = None
    if scene.material is not None:
        seen = rendering.scenery.mean() > MATERIAL_SEEN
        truth[len(CLASS_NAMES) + scene.material] = 1 if seen else -1
        material = MATERIALS[scene.material] if seen else None
    return rendering.image, describe(shown, material, rng), truth


def mentioned_nouns(captions: list[str]) -> NDArray[np.bool_]:
    """(N, 14) which nouns a caption names, by itself or by synonym; read from the words alone."""
    forms = [{noun, SYNONYMS[noun], plural(noun), plural(SYNONYMS[noun])} for noun in NOUNS]
    words = [set(caption.replace(".", " ").split()) for caption in captions]
    return np.asarray([[bool(form & sentence) for form in forms] for sentence in words])


def _draw(kind: str, rng: np.random.Generator) -> Scene:
    material: int | None = None
    labels: list[int] = []
    scales = np.zeros(0)
    camera = Camera()
    if kind in ("photo", "zoom", "far"):
        if kind == "photo":
            count = 1 + int(rng.choice(3, p=(0.55, 0.33, 0.12)))
            scales = rng.uniform(0.4, 1.2, 1) if count == 1 else rng.uniform(0.35, 0.75, count)
        elif kind == "zoom":
            count = int(rng.integers(1, 3))
            scales = rng.uniform(0.4, 1.0, 1) if count == 1 else rng.uniform(0.35, 0.75, count)
        else:
            count = int(rng.integers(1, 5))
            scales = rng.uniform(0.22, 0.45, count)
        material, labels = _company(rng, count, usual=0.3 if kind == "zoom" else 0.35)
    elif kind == "background":
        material = int(rng.integers(len(MATERIALS)))
        camera = Camera(zoom=float(rng.uniform(1, 2.5)))
    else:
        labels = [int(rng.integers(len(CLASS_NAMES)))]
        scales = rng.uniform(0.3, 1.2, 1)
    objects = tuple(_place(rng, label, float(scale)) for label, scale in zip(labels, scales, strict=True))
    if kind == "zoom":
        camera = _close_up(rng, objects, float(np.exp(rng.uniform(np.log(1.2), np.log(3.5)))))
    elif kind == "studio zoom":
        camera = _close_up(rng, objects, float(rng.uniform(1.2, 3)))
    boards = int(rng.integers(1, 4)) if rng.random() < KINDS[kind][1] else 0
    return Scene(material, objects, draw_horizon(rng, material), int(rng.integers(4)), boards, camera)


def _place(rng: np.random.Generator, label: int, scale: float) -> Placed:
    return replace(place(rng, label, scale), headless=bool(rng.random() < HEADLESS))


def _company(rng: np.random.Generator, count: int, usual: float) -> tuple[int, list[int]]:
    """Material and classes: with probability `usual` the first class is at home, else on any material."""
    first = int(rng.integers(len(CLASS_NAMES)))
    material = int(rng.integers(len(MATERIALS)))
    if rng.random() < usual:
        law = BACKGROUND_LAW[CLASS_NAMES[first]]
        material = MATERIALS.index(str(rng.choice(list(law), p=list(law.values()))))
    labels = [first]
    while len(labels) < count:
        at_home = COMPANIONS[MATERIALS[material]]
        neighbour = CLASS_NAMES.index(str(rng.choice(at_home)))
        labels.append(neighbour if rng.random() < 0.4 else int(rng.integers(len(CLASS_NAMES))))
    return material, labels


def _close_up(rng: np.random.Generator, objects: tuple[Placed, ...], zoom: float) -> Camera:
    """A camera near the centre of one object, off it by up to a third of the object's size."""
    target = objects[int(rng.integers(len(objects)))]
    offset = rng.uniform(-0.32, 0.32, 2) * 2 * UNIT * target.scale
    return Camera(target.x + float(offset[0]), target.y + float(offset[1]), zoom)
