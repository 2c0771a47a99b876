"""What the mini world contains, and the laws by which a scene is drawn.

A scene is one background material with one to three classes on it. In `train` and `val` a class appears only
on its own backgrounds (aeroplane, boat and train on one single material), and companions are classes that are
plausible there. In `val_ood` classes, companions and material are independent and uniform, so that a network
that has learned the background instead of the object loses there.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np

CLASS_NAMES = ("aeroplane", "bird", "boat", "bus", "car", "cow", "sheep", "train")
MATERIALS = ("sky", "water", "railway", "grass", "road", "sand")
IMAGE_SIZE = 96  # pixels, square

BACKGROUND_LAW: dict[str, dict[str, float]] = {
    "aeroplane": {"sky": 1.0},
    "bird": {"sky": 0.3, "water": 0.2, "grass": 0.25, "sand": 0.25},
    "boat": {"water": 1.0},
    "bus": {"road": 0.6, "sand": 0.2, "grass": 0.2},
    "car": {"road": 0.6, "sand": 0.2, "grass": 0.2},
    "cow": {"grass": 0.6, "sand": 0.2, "road": 0.2},
    "sheep": {"grass": 0.6, "sand": 0.2, "road": 0.2},
    "train": {"railway": 1.0},
}
COMPANIONS: dict[str, tuple[str, ...]] = {
    "sky": ("aeroplane", "bird"),
    "water": ("boat", "bird"),
    "railway": ("train", "bird", "cow", "car"),
    "grass": ("bird", "bus", "car", "cow", "sheep"),
    "sand": ("bird", "bus", "car", "cow", "sheep"),
    "road": ("bus", "car", "cow", "sheep"),
}
BIASED = {"aeroplane": "sky", "boat": "water", "train": "railway"}  # classes never seen elsewhere in train
CLASSES_PER_IMAGE = (0.6, 0.3, 0.1)  # probability of 1, 2, 3 classes
REPEAT = 0.2  # probability that a class of the scene has a second instance, and half of those a third


class Stream(IntEnum):
    """Independent random streams of one world seed; the number is part of every image's seed."""

    TRAIN = 1
    VAL = 2
    VAL_OOD = 3
    TEST = 4
    EMPTY = 5  # backgrounds alone, for images without annotation
    WEB = 6
    PROBE = 7  # held-out images on which pretraining chooses its background threshold
    TEXTURE = 8
    SINGLE = 9  # the sets of `extra_sets.py`
    WEB_SEARCH = 10
    SALIENCY = 11  # of the training images, then of the sets
    SINGLE_SALIENCY = 12
    WEB_SALIENCY = 13


@dataclass(frozen=True)
class Placed:
    """One object in the scene. Lengths are pixels of the unzoomed frame, angles degrees."""

    label: int  # index into CLASS_NAMES
    x: float
    y: float
    scale: float  # 1.0 spans about 90 pixels
    angle: float
    aspect: float  # width stretched by sqrt(aspect), height shrunk by it
    flip: bool
    colour: int  # which of the three body colours of its class
    phase: float  # of the body pattern, in [0, 1)
    headless: bool = False  # drawn without its head (mini web only)


@dataclass(frozen=True)
class Camera:
    """What part of the frame is seen: `zoom` times enlarged around (x, y)."""

    x: float = IMAGE_SIZE / 2
    y: float = IMAGE_SIZE / 2
    zoom: float = 1.0


@dataclass(frozen=True)
class Scene:
    """Everything that a caption or a label may speak of; textures and noise are left to the renderer."""

    material: int | None  # index into MATERIALS, None for a plain studio backdrop
    objects: tuple[Placed, ...]
    horizon: float | None  # height of the pale band above it, pixels of the unzoomed frame
    distractors: int
    boards: int = 0  # plain boards in front of the scene (mini web only)
    camera: Camera = Camera()

    @property
    def labels(self) -> tuple[int, ...]:
        """Classes in the scene, ascending, without repetition."""
        return tuple(sorted({placed.label for placed in self.objects}))


def image_rng(seed: int, stream: Stream, index: int) -> np.random.Generator:
    """The generator of one image: depends on nothing but its arguments, so any process may draw it."""
    return np.random.default_rng([seed, int(stream), index])


def draw_usual(rng: np.random.Generator) -> tuple[int, list[int]]:
    """Material and class indices by the laws of `train` and `val`."""
    first = CLASS_NAMES[rng.integers(len(CLASS_NAMES))]
    law = BACKGROUND_LAW[first]
    material = str(rng.choice(list(law), p=list(law.values())))
    others = [name for name in COMPANIONS[material] if name != first]
    count = int(rng.choice(3, p=CLASSES_PER_IMAGE))
    names = [first, *rng.permutation(others)[:count]]
    return MATERIALS.index(material), [CLASS_NAMES.index(str(name)) for name in names]


def draw_unusual(rng: np.random.Generator) -> tuple[int, list[int]]:
    """Material and class indices by the law of `val_ood`: everything uniform and independent."""
    count = 1 + int(rng.choice(3, p=CLASSES_PER_IMAGE))
    labels = rng.permutation(len(CLASS_NAMES))[:count]
    return int(rng.integers(len(MATERIALS))), [int(label) for label in labels]


def place(rng: np.random.Generator, label: int, scale: float, margin: float = 0.2) -> Placed:
    """An object of a class at a random place, its centre off the edge by `margin` (share of the frame)."""
    low, high = margin * IMAGE_SIZE, (1 - margin) * IMAGE_SIZE
    return Placed(
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
    """Four in ten scenes on the ground end in a pale band."""
    if material is None or MATERIALS[material] == "sky" or rng.random() >= 0.4:
        return None
    return float(rng.uniform(0.08, 0.3) * IMAGE_SIZE)


def draw_scene(rng: np.random.Generator, usual: bool) -> Scene:
    """A scene of the mini world, by the law of `train`/`val` (usual) or of `val_ood`."""
    material, labels = draw_usual(rng) if usual else draw_unusual(rng)
    instances = list(labels)
    for label in labels:
        if rng.random() < REPEAT:
            instances += [label] * (2 if rng.random() < 0.5 else 1)
    alone = len(instances) == 1
    scales = rng.uniform(0.5, 1.1, 1) if alone else rng.uniform(0.4, 0.7, len(instances))
    objects = tuple(
        place(rng, label, float(scale), 0.3 if alone else 0.18)
        for label, scale in zip(instances, scales, strict=True)
    )
    return Scene(material, objects, draw_horizon(rng, material), int(rng.integers(4)))


def draw_empty_scene(rng: np.random.Generator) -> Scene:
    """A background alone."""
    material = int(rng.integers(len(MATERIALS)))
    return Scene(material, (), draw_horizon(rng, material), int(rng.integers(4)))
