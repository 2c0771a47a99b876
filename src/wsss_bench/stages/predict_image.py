"""`wsss-bench predict --image FILE --out FILE`: masks of single images, with the checkpoint of any training.

An image is read as the predict stage reads it. There is no stage folder: nothing but the masks is written.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from wsss_bench.arguments import LineParser
from wsss_bench.artifacts.files import write_atomically, write_mask
from wsss_bench.artifacts.images import check_header
from wsss_bench.artifacts.layout import shortened
from wsss_bench.data.sources.class_lists import load_classes
from wsss_bench.library import load
from wsss_bench.methods.image_prediction import ImagePrediction

OPTION = "--image"
"""The option that makes `wsss-bench predict` this command."""
SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp")
"""Ends of the names of the images in a folder, in any capitalisation."""


def is_meant(argv: list[str]) -> bool:
    """Whether a command line of `wsss-bench predict` is for single images."""
    return any(word == OPTION or word.startswith(f"{OPTION}=") for word in argv)


def main(argv: list[str]) -> int:
    """Write the masks of images and print the classes in them; see `wsss-bench predict --image --help`."""
    arguments = _parse(argv)
    outputs = output_files(images_of(arguments.image), arguments.out, arguments.scores)
    class_names = None
    if arguments.classes:
        class_names = _names(arguments.classes) or load_classes(arguments.classes, Path())
    modules = _names(f"{arguments.modules},")
    method = load(arguments.checkpoint, arguments.device, class_names, modules)
    labels = None if arguments.labels is None else _names(arguments.labels + ",")
    for image, (mask, scores) in outputs.items():
        prediction = method.predict(image, labels, scales=arguments.scales, threshold=arguments.threshold)
        write_mask(mask.parent, mask.stem, prediction.mask)
        if scores is not None:
            write_scores(scores, prediction)
        print(f"{image}: {', '.join(prediction.found) or 'background only'} -> {mask}", flush=True)
    return 0


def write_scores(path: Path, prediction: ImagePrediction) -> None:
    """Write `classes` (K,), the names of the score maps, and `scores` (K, H, W)."""
    names = np.array(list(prediction.scores), dtype=np.str_)
    maps = np.stack([*prediction.scores.values()]) if len(names) else np.zeros((0, *prediction.mask.shape))
    write_atomically(path, lambda file: np.savez_compressed(file, classes=names, scores=maps))


def images_of(places: list[Path]) -> list[Path]:
    """The images at places, those of a folder by name; each can be used as far as its header says.

    Raises:
        FileNotFoundError: no such file, or a folder without images.
        ValueError: no place, or a file that is no image of 8 bits per channel.
    """
    found = []
    if not places:
        raise ValueError(f"{OPTION} names nothing; give images, or folders of images")
    for place in places:
        if place.is_dir():
            inside = sorted(path for path in place.iterdir() if path.suffix.lower() in SUFFIXES)
            if not inside:
                raise FileNotFoundError(f"{OPTION}: the folder {place} holds no images; name one that does")
            found += inside
        elif place.exists():
            found.append(place)
        else:
            raise FileNotFoundError(f"{OPTION}: {place} does not exist; name an image or a folder of images")
    for image in found:
        check_header(image)
    return found


def output_files(images: list[Path], out: Path, scores: Path | None) -> dict[Path, tuple[Path, Path | None]]:
    """The files of each image: its mask and, if they are asked for, its scores.

    Args:
        images: The images.
        out: A PNG file for one image, a folder for several.
        scores: In the same way, an npz file or a folder; None for no scores.

    Raises:
        ValueError: a file for several images, two images of one name, or a mask in the place of an image.
    """
    masks = _named("--out", images, out, ".png")
    arrays = [None] * len(images) if scores is None else _named("--scores", images, scores, ".npz")
    resolved = {image.resolve() for image in images}
    if replaced := [str(mask) for mask in masks if mask.resolve() in resolved]:
        raise ValueError(f"--out would replace the image {shortened(replaced)}; name another place")
    return dict(zip(images, zip(masks, arrays, strict=True), strict=True))


def _named(option: str, images: list[Path], place: Path, suffix: str) -> list[Path]:
    """One file of each image: `place` itself, or a file in it."""
    if place.suffix == suffix and place.is_dir():
        raise ValueError(f"{option}: {place} is a folder; name a file, or a folder without this ending")
    if len(images) == 1 and not place.is_dir():
        if place.suffix != suffix:
            raise ValueError(f"{option}: {place} does not end with {suffix}; give it that ending")
        return [place]
    if place.suffix == suffix or place.is_file():
        raise ValueError(f"{option}: {place} is one file for {len(images)} images; name a folder")
    stems = [image.stem for image in images]
    if twice := sorted({stem for stem in stems if stems.count(stem) > 1}):
        raise ValueError(
            f"{option}: several images are named {shortened(twice)}, so that their files in {place} would be "
            "one; predict them one after another"
        )
    return [place / f"{stem}{suffix}" for stem in stems]


def _names(text: str) -> list[str]:
    """The names in a list with commas; none if there is no comma."""
    return [name.strip() for name in text.split(",") if name.strip()] if "," in text else []


def _parse(argv: list[str]) -> argparse.Namespace:
    parser = LineParser(
        prog=f"wsss-bench predict {OPTION}", description="masks of single images with a trained method"
    )
    parser.add_argument(
        OPTION, type=Path, nargs="*", action="extend", required=True, help="images, or folders of them"
    )
    parser.add_argument("--out", type=Path, required=True, help="PNG for one image; a folder for several")
    parser.add_argument(
        "--checkpoint", type=Path, required=True, help="train stage, its last.ckpt, or a copy of that"
    )
    parser.add_argument("--labels", help="names of the classes in the images, a,b: seeds of these classes")
    parser.add_argument(
        "--classes",
        help="classes for an open-vocabulary method: a,b, or a vocabulary, or a list (docs/data.md)",
    )
    parser.add_argument(
        "--scores", type=Path, help="npz for one image, a folder for several: score maps and their classes"
    )
    parser.add_argument(
        "--scales", choices=("ss", "ms"), default="ss", help="single-scale or multi-scale segmentation"
    )
    parser.add_argument(
        "--threshold", type=float, help="background threshold of seeds; default: that of the training"
    )
    parser.add_argument(
        "--modules", default="", help="own modules that the checkpoint may import, a,b (docs/library.md)"
    )
    parser.add_argument("--device", default="cpu", help="cpu or cuda (default: %(default)s)")
    return parser.parse_args(argv)
