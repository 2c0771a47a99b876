"""A few images of VOC's classes at common and odd sizes, with masks, and a data file that names them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import yaml
from PIL import Image

from wsss_bench.artifacts.files import write_mask
from wsss_bench.vocabulary import load

SIZES = {"2007_000001": (375, 500), "2007_000002": (500, 375), "odd/a": (37, 51), "odd/b": (90, 61)}
"""`(H, W)` of the images; the last one is `val`, the others are `train`."""
CLASSES = {"2007_000001": (0, 14), "2007_000002": (6,), "odd/a": (14, 19), "odd/b": (2, 6)}
"""0-based classes of the images."""
TRAIN, VAL = list(SIZES)[:3], list(SIZES)[3:]


def write_world(folder: Path, **protocol: object) -> Path:
    """Write the images below `folder / "VOC2012"`; returns the data file."""
    root, names = folder / "VOC2012", load("voc")
    lists = root / "ImageSets" / "Segmentation"
    lists.mkdir(parents=True)
    for image_id, size in SIZES.items():
        for place, suffix in (("JPEGImages", "jpg"), ("Annotations", "xml")):
            (root / place / f"{image_id}.{suffix}").parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((*size, 3), 99, np.uint8)).save(root / "JPEGImages" / f"{image_id}.jpg")
        objects = "".join(f"<object><name>{names[c]}</name></object>" for c in CLASSES[image_id])
        (root / "Annotations" / f"{image_id}.xml").write_text(f"<annotation>{objects}</annotation>")
        write_mask(root / "SegmentationClass", image_id, truth(image_id))
    (lists / "train.txt").write_text("\n".join(TRAIN) + "\n")
    (lists / "val.txt").write_text("\n".join(VAL) + "\n")
    counts = {"train": len(TRAIN), "val": len(VAL)}
    content = {
        "data": {"source": {"class_path": "VOC", "init_args": {"root": str(root)}}},
        "protocol": {"dataset": "tiny", "train_split": "train", "eval_splits": ["val"], "counts": counts}
        | protocol,
    }
    file = folder / "tiny.yaml"
    file.write_text(yaml.safe_dump(content))
    return file


def truth(image_id: str) -> np.ndarray:
    """Mask `(H, W)`: the classes side by side in the lower half."""
    height, width = SIZES[image_id]
    mask = np.zeros((height, width), np.uint8)
    share = width // len(CLASSES[image_id])
    for slot, c in enumerate(CLASSES[image_id]):
        mask[height // 2 :, slot * share : (slot + 1) * share] = c + 1
    return mask


def cams(image_id: str) -> np.ndarray:
    """`(K, H, W)` float32 CAMs: 1 on the object, 0.25 elsewhere."""
    return np.stack([np.where(truth(image_id) == c + 1, 1, 0.25) for c in CLASSES[image_id]]).astype(
        np.float32
    )


def save(folder: Path, image_id: str, content: object) -> Path:
    """`np.save` as other repositories call it: a dictionary becomes a pickle."""
    path = folder / f"{image_id}.npy"
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, content, allow_pickle=True)
    return path
