"""What some methods take beside the mini world: images in `<root>/single` and `<root>/web`, maps in `<root>/saliency`.

The first two are folders as `sources.folder` reads them: `images/*.jpg`, `labels.csv`, `classes.txt`, no masks. They are
what MCIS (Sun et al., ECCV 2020) was given beside VOC: images with one label each, as of Caltech-256, and images that a web
search found.

`single` shows one object of one class, on any background, and its label is right. A `web` image shows one to three classes on
any background and has been found by one word. With probability `WRONG` the word is a class that is not in the picture, which
is then its only label. Otherwise the labels of a picture with several classes are, with probability `MISSING`, the word alone.
"""

from __future__ import annotations

import csv
import multiprocessing
import shutil
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from wsss_bench.mini.world.grammar import (
    CLASS_NAMES,
    MATERIALS,
    Scene,
    Stream,
    draw_horizon,
    draw_scene,
    image_rng,
    place,
)
from wsss_bench.mini.world.saliency import saliency_map
from wsss_bench.mini.world.samples import Sample, draw_visible, make_sample

J = TypeVar("J")
T = TypeVar("T")
EXTRA_SETS = {"single": Stream.SINGLE, "web": Stream.WEB_SEARCH}
EXTRA_SIZES = {"full": 240, "small": 16}
SALIENCY = {"train": Stream.SALIENCY, "single": Stream.SINGLE_SALIENCY, "web": Stream.WEB_SALIENCY}
WRONG = 0.2
MISSING = 0.5


def missing_sets(root: Path) -> list[str]:
    """Names of the sets that are not there; one that is there is complete."""
    missing = [name for name in EXTRA_SETS if not (root / name).is_dir()]
    if not (root / "saliency" / "web_000000.png").is_file():  # maps of earlier worlds were of `train` alone
        missing.append("saliency")
    return missing


def write_extra_sets(root: Path, size: str, seed: int, processes: int, train_images: int) -> None:
    """Write the sets that are missing; same seed, same bytes, whatever the number of processes."""
    for name in missing_sets(root):
        folder = root / f"{name}.incomplete"
        shutil.rmtree(folder, ignore_errors=True)
        if name == "saliency":
            folder.mkdir()
            counts = {"train": train_images} | dict.fromkeys(EXTRA_SETS, EXTRA_SIZES[size])
            images = [(of, number) for of, count in counts.items() for number in range(count)]
            list(_each(partial(_write_saliency, folder, seed), images, processes))
            shutil.rmtree(root / name, ignore_errors=True)
            folder.rename(root / name)
            continue
        (folder / "images").mkdir(parents=True)
        numbers = range(EXTRA_SIZES[size])
        rows = list(_each(partial(_write_image, folder / "images", name, seed), numbers, processes))
        with (folder / "labels.csv").open("w", newline="") as file:
            csv.writer(file, lineterminator="\n").writerows([("image", "classes"), *rows])
        (folder / "classes.txt").write_text("".join(f"{c}\n" for c in CLASS_NAMES))
        folder.rename(root / name)


def extra_sample(name: str, seed: int, number: int) -> tuple[Sample, list[int]]:
    """An image of a set, and the labels that it comes with: right for `single`, noisy for `web`."""
    rng = image_rng(seed, EXTRA_SETS[name], number)
    if name == "single":
        sample = draw_visible(_one_object, rng, seed)
        return sample, list(sample.scene.labels)
    sample = draw_visible(partial(draw_scene, usual=False), rng, seed)
    present = list(sample.scene.labels)
    absent = [label for label in range(len(CLASS_NAMES)) if label not in present]
    if rng.random() < WRONG:
        return sample, [int(rng.choice(absent))]
    if rng.random() < MISSING:
        return sample, [int(rng.choice(present))]
    return sample, present


def saliency_of(name: str, seed: int, number: int) -> NDArray[np.uint8]:
    """Saliency map of an image of `train`, `single` or `web`."""
    sample = (
        make_sample(seed, Stream.TRAIN, number) if name == "train" else extra_sample(name, seed, number)[0]
    )
    return saliency_map(sample, image_rng(seed, SALIENCY[name], number))


def _one_object(rng: np.random.Generator) -> Scene:
    material = int(rng.integers(len(MATERIALS)))
    placed = place(rng, int(rng.integers(len(CLASS_NAMES))), float(rng.uniform(0.5, 1.1)), margin=0.3)
    return Scene(material, (placed,), draw_horizon(rng, material), int(rng.integers(3)))


def _write_image(folder: Path, name: str, seed: int, number: int) -> tuple[str, str]:
    sample, labels = extra_sample(name, seed, number)
    file = f"{name}_{number:06d}.jpg"
    (folder / file).write_bytes(sample.jpeg())
    return file, ";".join(CLASS_NAMES[label] for label in labels)


def _write_saliency(folder: Path, seed: int, image: tuple[str, int]) -> None:
    name, number = image
    Image.fromarray(saliency_of(name, seed, number)).save(folder / f"{name}_{number:06d}.png")


def _each(work: Callable[[J], T], items: Iterable[J], processes: int) -> Iterator[T]:
    if processes == 1:
        yield from map(work, items)
        return
    # a fresh interpreter per worker, as for the world itself
    with ProcessPoolExecutor(processes, mp_context=multiprocessing.get_context("spawn")) as pool:
        yield from pool.map(work, items, chunksize=32)
