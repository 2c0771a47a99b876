"""Pictures of the docs: the maps and masks of methods on the same images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from matplotlib import colormaps
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from figures.results import METHODS, Results
from wsss_bench.artifacts.palette import voc_palette
from wsss_bench.data.check import load_source
from wsss_bench.report.html.choice import Chosen
from wsss_bench.report.html.gallery import SEED, SEGMENTATION, Gallery, galleries_of
from wsss_bench.report.html.thumbnails import Thumbnails, read_thumbnails

IMAGES = 4
SIDE = 256
GAP = 4
COMPARED = ["cam", "clims", "mcis", "toco", "codecomp"]
"""Methods of the picture in README.md."""
MASKS = "densecrf"
COLOURS = np.frombuffer(voc_palette(), np.uint8).reshape(256, 3)


def method_pictures(found: Sequence[Results], folder: Path) -> list[str]:
    """A picture of each method that makes seeds: four training images, each with truth, score map and mask.

    The images are the first four that the report of the first experiment draws at random.

    Returns:
        The methods.
    """
    chosen = _gallery(found[0], SEED).chosen[:IMAGES]
    done: list[str] = []
    for results in found:
        gallery = _gallery(results, SEED)
        images = _thumbnails(gallery, chosen)
        for method in gallery.methods:
            if method not in done and all((method, SEED) in image.masks for image in images):
                _save(
                    np.concatenate([_block(image, method) for image in images], axis=1),
                    folder / f"{method}.webp",
                )
                done.append(method)
    return done


def comparison(results: Results, file: Path) -> None:
    """An image through seeds and pseudo masks of five methods, and one of val through their segmentation."""
    train, val = _gallery(results, SEED), _gallery(results, SEGMENTATION)
    (image,) = _thumbnails(train, train.chosen[:1])
    (other,) = _thumbnails(val, val.chosen[:1])
    rows = {
        "score map\n(seeds)": [
            image.photo,
            COLOURS[image.truth],
            *(_heat(image.maps[name]) for name in COMPARED),
        ],
        "pseudo mask": [None, None, *(COLOURS[_pseudo_mask(image, name)] for name in COMPARED)],
        "segmentation\nof val": [
            other.photo,
            COLOURS[other.truth],
            *(COLOURS[other.masks[name, SEGMENTATION]] for name in COMPARED),
        ],
    }
    titles = ["image", "truth", *(METHODS[name].title for name in COMPARED)]
    figure = Figure(figsize=(9.4, 4.3), dpi=100, layout="constrained")
    axes = figure.subplots(len(rows), len(titles))
    for row, (title, pictures) in enumerate(rows.items()):
        for column, picture in enumerate(pictures):
            axis = axes[row][column]
            axis.set_xticks([])
            axis.set_yticks([])
            axis.spines[:].set_visible(False)
            if picture is not None:
                axis.imshow(picture)
            if row == 0:
                axis.set_title(titles[column], fontsize=10)
        axes[row][0].set_ylabel(title, fontsize=9)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    _save(np.asarray(canvas.buffer_rgba())[..., :3], file)


def _gallery(results: Results, column: str) -> Gallery:
    return next(one for one in galleries_of(results.plan, results.board) if column in one.columns)


def _thumbnails(gallery: Gallery, chosen: Sequence[Chosen]) -> list[Thumbnails]:
    images, problem = read_thumbnails(replace(gallery, chosen=[*chosen]), load_source(gallery.source), SIDE)
    if problem:
        raise ValueError(f"an image cannot be read: {problem}")
    return images


def _block(image: Thumbnails, method: str) -> np.ndarray:
    """Image and score map above truth and mask."""
    upper = [image.photo, _heat(image.maps[method])]
    lower = [COLOURS[image.truth], COLOURS[image.masks[method, SEED]]]
    return np.concatenate([_row(upper), _row(lower)])


def _row(tiles: Sequence[np.ndarray]) -> np.ndarray:
    margins = ((0, GAP), (0, GAP), (0, 0))
    return np.concatenate([np.pad(tile, margins, constant_values=255) for tile in tiles], axis=1)


def _pseudo_mask(image: Thumbnails, method: str) -> np.ndarray:
    """By DenseCRF, or the seeds at their threshold for a method that is not refined."""
    return image.masks.get((method, MASKS), image.masks[method, SEED])


def _heat(plane: np.ndarray) -> np.ndarray:
    return (255 * colormaps["viridis"](plane)[..., :3]).astype(np.uint8)


def _save(picture: np.ndarray, file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture).save(file, "WEBP", quality=85, method=6)
