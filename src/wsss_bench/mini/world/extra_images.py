"""Further training images of the mini world: `<root>/single`, `<root>/web`, and `<root>/saliency`.

`single` and `web` are what MCIS (Sun et al., ECCV 2020) was given besides VOC: images with one label each, as
in Caltech-256, and images found by a web search. They are folders in the layout that `sources.folder` reads:
`images/*.jpg`, `labels.csv`, `classes.txt`, no masks.

- `single`: one object of one class on any background. The label is right.
- `web`: one to three classes on any background, found with one search word. With probability
  `WRONG_LABEL_PROBABILITY` the word is a class that is not in the image; it is then the only label.
  Otherwise, with probability `MISSING_LABELS_PROBABILITY`, the search word is the only label, even if the
  image shows further classes. The remaining images have all their labels.

`saliency` holds a saliency map for each image of `train`, `single` and `web` (see `saliency.py`).
"""

from __future__ import annotations

import csv
import shutil
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from wsss_bench.mini.world.drawing import Drawing
from wsss_bench.mini.world.saliency import saliency_map
from wsss_bench.mini.world.samples import Sample, draw_visible, make_sample
from wsss_bench.mini.world.scenes import (
    CLASS_NAMES,
    MATERIALS,
    Scene,
    Stream,
    draw_horizon,
    draw_object,
    draw_scene,
    image_rng,
)

EXTRA_STREAMS = {"single": Stream.SINGLE, "web": Stream.WEB_SEARCH}
EXTRA_COUNTS = {"full": 240, "small": 16}  # images in each folder, by size of the world
SALIENCY_STREAMS = {
    "train": Stream.TRAIN_SALIENCY,
    "single": Stream.SINGLE_SALIENCY,
    "web": Stream.WEB_SEARCH_SALIENCY,
}
WRONG_LABEL_PROBABILITY = 0.2
MISSING_LABELS_PROBABILITY = 0.5


def missing_folders(root: Path) -> list[str]:
    """Which of `single`, `web` and `saliency` are not there. A folder that is there is complete."""
    missing = [name for name in EXTRA_STREAMS if not (root / name).is_dir()]
    # earlier versions wrote saliency maps of `train` only
    if not (root / "saliency" / "web_000000.png").is_file():
        missing.append("saliency")
    return missing


def extra_images(name: str, size: str, train_images: int) -> list[tuple[str, int]]:
    """The images of a folder: the set that each belongs to, and its number there."""
    counts = dict.fromkeys(EXTRA_STREAMS, EXTRA_COUNTS[size])
    counts = {"train": train_images} | counts if name == "saliency" else {name: counts[name]}
    return [(image_set, index) for image_set, count in counts.items() for index in range(count)]


def write_extra_images(root: Path, size: str, random_seed: int, drawing: Drawing, train_images: int) -> None:
    """Write the folders that are missing.

    The same random seed gives the same bytes, whatever the number of processes. Each folder is written under
    a temporary name and renamed when it is complete.

    Args:
        root: Folder of the mini world.
        size: `full` or `small`.
        random_seed: Random seed of the mini world.
        drawing: Draws the images.
        train_images: Number of images in `train`.
    """
    for name in missing_folders(root):
        folder = root / f"{name}.incomplete"
        shutil.rmtree(folder, ignore_errors=True)
        images = extra_images(name, size, train_images)
        if name == "saliency":
            folder.mkdir()
            drawing.draw(partial(_write_saliency, folder, random_seed), images)
            shutil.rmtree(root / name, ignore_errors=True)
            folder.rename(root / name)
            continue
        (folder / "images").mkdir(parents=True)
        rows = drawing.draw(partial(_write_image, folder / "images", random_seed), images)
        with (folder / "labels.csv").open("w", newline="") as file:
            csv.writer(file, lineterminator="\n").writerows([("image", "classes"), *rows])
        (folder / "classes.txt").write_text("".join(f"{c}\n" for c in CLASS_NAMES))
        folder.rename(root / name)


def make_extra_sample(image_set: str, random_seed: int, index: int) -> tuple[Sample, list[int]]:
    """An image of `single` or `web`, and its labels as written: right for `single`, noisy for `web`."""
    rng = image_rng(random_seed, EXTRA_STREAMS[image_set], index)
    if image_set == "single":
        sample = draw_visible(_draw_single_object, rng, random_seed)
        return sample, list(sample.scene.labels)
    sample = draw_visible(partial(draw_scene, co_occurring=False), rng, random_seed)
    present = list(sample.scene.labels)
    absent = [label for label in range(len(CLASS_NAMES)) if label not in present]
    if rng.random() < WRONG_LABEL_PROBABILITY:
        return sample, [int(rng.choice(absent))]
    if rng.random() < MISSING_LABELS_PROBABILITY:
        return sample, [int(rng.choice(present))]
    return sample, present


def make_saliency_map(image_set: str, random_seed: int, index: int) -> NDArray[np.uint8]:
    """(96, 96) saliency map, 0..255, of an image of `train`, `single` or `web`."""
    if image_set == "train":
        sample = make_sample(random_seed, Stream.TRAIN, index)
    else:
        sample, _ = make_extra_sample(image_set, random_seed, index)
    return saliency_map(sample, image_rng(random_seed, SALIENCY_STREAMS[image_set], index))


def _draw_single_object(rng: np.random.Generator) -> Scene:
    material = int(rng.integers(len(MATERIALS)))
    label = int(rng.integers(len(CLASS_NAMES)))
    scene_object = draw_object(rng, label, float(rng.uniform(0.5, 1.1)), margin=0.3)
    return Scene(material, (scene_object,), draw_horizon(rng, material), int(rng.integers(3)))


def _write_image(folder: Path, random_seed: int, image: tuple[str, int]) -> tuple[str, str]:
    """Write one image; returns its row of `labels.csv`."""
    image_set, index = image
    sample, labels = make_extra_sample(image_set, random_seed, index)
    file = f"{image_set}_{index:06d}.jpg"
    (folder / file).write_bytes(sample.jpeg())
    return file, ";".join(CLASS_NAMES[label] for label in labels)


def _write_saliency(folder: Path, random_seed: int, image: tuple[str, int]) -> None:
    image_set, index = image
    saliency = make_saliency_map(image_set, random_seed, index)
    Image.fromarray(saliency).save(folder / f"{image_set}_{index:06d}.png")
