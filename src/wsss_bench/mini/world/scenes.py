"""Scenes of the mini world: what an image can contain, and how its contents are drawn at random.

A scene is one background material with one to three classes on it. There are two ways to draw one:

- co-occurring (`train`, `val`): a class appears only on its own backgrounds (aeroplane, boat and train on a
  single one), together with other classes that are plausible there. The background predicts the class.
- independent (`val_ood`): classes and background are independent and uniform. A network that has learned the
  background in place of the object scores lower here.

The renderer (`renderer.py`) turns a `Scene` into pixels and masks.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np

CLASS_NAMES = ("aeroplane", "bird", "boat", "bus", "car", "cow", "sheep", "train")
MATERIALS = ("sky", "water", "railway", "grass", "road", "sand")
IMAGE_SIZE = 96  # pixels, square

# probability of each background material, given the first class of a co-occurring scene
BACKGROUND_PROBABILITIES: dict[str, dict[str, float]] = {
    "aeroplane": {"sky": 1.0},
    "bird": {"sky": 0.3, "water": 0.2, "grass": 0.25, "sand": 0.25},
    "boat": {"water": 1.0},
    "bus": {"road": 0.6, "sand": 0.2, "grass": 0.2},
    "car": {"road": 0.6, "sand": 0.2, "grass": 0.2},
    "cow": {"grass": 0.6, "sand": 0.2, "road": 0.2},
    "sheep": {"grass": 0.6, "sand": 0.2, "road": 0.2},
    "train": {"railway": 1.0},
}
# classes that can be added to a co-occurring scene, by background material
COMPANIONS: dict[str, tuple[str, ...]] = {
    "sky": ("aeroplane", "bird"),
    "water": ("boat", "bird"),
    "railway": ("train", "bird", "cow", "car"),
    "grass": ("bird", "bus", "car", "cow", "sheep"),
    "sand": ("bird", "bus", "car", "cow", "sheep"),
    "road": ("bus", "car", "cow", "sheep"),
}
# classes that have one single background in `train` and `val`
SINGLE_BACKGROUND = {"aeroplane": "sky", "boat": "water", "train": "railway"}
CLASS_COUNT_PROBABILITIES = (0.6, 0.3, 0.1)  # of 1, 2 and 3 classes in a scene
# probability that a class of the scene has a second instance; half of those have a third one
REPEAT_PROBABILITY = 0.2


class Stream(IntEnum):
    """Independent random streams of one random seed. The number is part of the seed of every image."""

    TRAIN = 1
    VAL = 2
    VAL_OOD = 3
    TEST = 4
    EMPTY = 5  # backgrounds without objects, for COCO images without annotation
    PRETRAINING = 6  # the web images that the shipped weights are trained on (`mini/weights`)
    TUNING = 7  # held-out images on which the background threshold of the tiny CLIP is chosen
    TEXTURE = 8
    SINGLE = 9  # the images of `extra_images.py`: one object each, and results of a web search
    WEB_SEARCH = 10
    TRAIN_SALIENCY = 11  # which objects the saliency maps miss, by set of images
    SINGLE_SALIENCY = 12
    WEB_SEARCH_SALIENCY = 13


@dataclass(frozen=True)
class SceneObject:
    """One object of a scene. Lengths are pixels of the frame before the camera's zoom, angles degrees."""

    label: int  # index into CLASS_NAMES
    x: float  # centre
    y: float
    scale: float  # 1.0 spans about 90 pixels
    angle: float
    aspect: float  # the width is stretched by sqrt(aspect), the height shrunk by it
    flip: bool
    colour: int  # which of the three body colours of its class
    phase: float  # of the body pattern, in [0, 1)
    body_only: bool = False  # drawn without its head (only in pretraining images)


@dataclass(frozen=True)
class Camera:
    """The visible part of the frame: enlarged `zoom` times around (x, y)."""

    x: float = IMAGE_SIZE / 2
    y: float = IMAGE_SIZE / 2
    zoom: float = 1.0


@dataclass(frozen=True)
class Scene:
    """The contents of an image, as labels and captions describe it. Textures and noise are not part of it."""

    material: int | None  # index into MATERIALS, None for a plain backdrop of one colour
    objects: tuple[SceneObject, ...]
    horizon: float | None  # lower edge of a pale band at the top, pixels of the frame before the zoom
    distractors: int  # small coloured shapes behind the objects
    occluders: int = 0  # plain rectangles in front of the objects (only in pretraining images)
    camera: Camera = Camera()

    @property
    def labels(self) -> tuple[int, ...]:
        """Classes in the scene, ascending, without repetition."""
        return tuple(sorted({scene_object.label for scene_object in self.objects}))


def image_rng(random_seed: int, stream: Stream, index: int) -> np.random.Generator:
    """The generator of one image. It depends on the arguments alone, so any process can draw any image."""
    return np.random.default_rng([random_seed, int(stream), index])


def draw_co_occurring_classes(rng: np.random.Generator) -> tuple[int, list[int]]:
    """Material and class indices for `train` and `val`: the material depends on the first class."""
    first = CLASS_NAMES[rng.integers(len(CLASS_NAMES))]
    probabilities = BACKGROUND_PROBABILITIES[first]
    material = str(rng.choice(list(probabilities), p=list(probabilities.values())))
    others = [name for name in COMPANIONS[material] if name != first]
    count = int(rng.choice(3, p=CLASS_COUNT_PROBABILITIES))
    names = [first, *rng.permutation(others)[:count]]
    return MATERIALS.index(material), [CLASS_NAMES.index(str(name)) for name in names]


def draw_independent_classes(rng: np.random.Generator) -> tuple[int, list[int]]:
    """Material and class indices for `val_ood`: all uniform and independent."""
    count = 1 + int(rng.choice(3, p=CLASS_COUNT_PROBABILITIES))
    labels = rng.permutation(len(CLASS_NAMES))[:count]
    return int(rng.integers(len(MATERIALS))), [int(label) for label in labels]


def draw_object(rng: np.random.Generator, label: int, scale: float, margin: float = 0.2) -> SceneObject:
    """An object of a class at a random place.

    Args:
        rng: Source of position, angle, aspect, colour and pattern.
        label: Class index.
        scale: Size; 1.0 spans about 90 pixels.
        margin: Least distance of the centre from the edges, as a share of the frame.
    """
    low, high = margin * IMAGE_SIZE, (1 - margin) * IMAGE_SIZE
    return SceneObject(
        label=label,
        x=float(rng.uniform(low, high)),
        y=float(rng.uniform(low, high)),
        scale=scale,
        angle=float(rng.uniform(-15, 15)),
        aspect=float(rng.uniform(0.85, 1.15)),
        flip=bool(rng.random() < 0.5),
        colour=int(rng.integers(3)),
        phase=float(rng.random()),
    )


def draw_horizon(rng: np.random.Generator, material: int | None) -> float | None:
    """Height of the pale band at the top, or None. Four in ten scenes on the ground or on water have one."""
    if material is None or MATERIALS[material] == "sky" or rng.random() >= 0.4:
        return None
    return float(rng.uniform(0.08, 0.3) * IMAGE_SIZE)


def draw_scene(rng: np.random.Generator, co_occurring: bool) -> Scene:
    """A scene of `train` and `val` (`co_occurring`), or of `val_ood` (background independent of classes)."""
    material, labels = draw_co_occurring_classes(rng) if co_occurring else draw_independent_classes(rng)
    instances = list(labels)
    for label in labels:
        if rng.random() < REPEAT_PROBABILITY:
            instances += [label] * (2 if rng.random() < 0.5 else 1)
    single = len(instances) == 1
    scales = rng.uniform(0.5, 1.1, 1) if single else rng.uniform(0.4, 0.7, len(instances))
    objects = tuple(
        draw_object(rng, label, float(scale), 0.3 if single else 0.18)
        for label, scale in zip(instances, scales, strict=True)
    )
    return Scene(material, objects, draw_horizon(rng, material), int(rng.integers(4)))


def draw_empty_scene(rng: np.random.Generator) -> Scene:
    """A background without objects."""
    material = int(rng.integers(len(MATERIALS)))
    return Scene(material, (), draw_horizon(rng, material), int(rng.integers(4)))
