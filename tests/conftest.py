"""Tiny data sets in the layouts that sources read, drawn here, and the small mini world."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from wsss_bench.artifacts.files import write_mask
from wsss_bench.cli import main
from wsss_bench.contract.rank_pair import RankPair

# before torch, OpenMP and the hubs are imported: one thread a process, no network
os.environ["OMP_NUM_THREADS"] = "1"
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"
os.environ["WANDB_MODE"] = "disabled"
# what `make test ARGS=...` was given is not for the `make` of a test
for name in ("ARGS", "MAKEFLAGS", "MAKEOVERRIDES", "MFLAGS"):
    os.environ.pop(name, None)
# no test cuts the power, and waiting for the disk costs more than writing a small file
os.fsync = lambda fd: None

pytest_plugins = ["project"]


LONGEST = (
    "test_contract.py",
    "test_bench_end_to_end.py",
    "test_notebooks.py",
    "test_recipes.py",
    "test_parsl_launcher.py",
    "test_inside_epoch.py",
    "test_parsl_several_nodes.py",
    "test_bf16.py",
    "test_own_images.py",
    "test_researcher.py",
    "test_wheel.py",
    "test_fit_predict.py",
    "test_shipped.py",
    "test_bad_inputs.py",
    "test_add_a_method.py",
    "test_student.py",
    "test_own_masks.py",
)
"""Files that take half a minute or more, the longest first."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark tests that need two ranks as slow, and put long files first, so that no worker of `pytest -n` is
    left with one at the end.
    """
    slow_files = set()
    for item in items:
        if "rank_pair" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.slow)
        if item.get_closest_marker("slow"):
            slow_files.add(item.path)

    def place(item: pytest.Item) -> int:
        if item.path.name in LONGEST:
            return LONGEST.index(item.path.name)
        return len(LONGEST) + (item.path not in slow_files)

    items.sort(key=place)


@pytest.fixture(scope="session")
def rank_pair(tmp_path_factory: pytest.TempPathFactory, mini_data: Path) -> Iterator[RankPair]:
    """Two processes of one gloo group, which read the small mini world too."""
    pair = RankPair(tmp_path_factory.mktemp("ranks") / "store")
    yield pair
    pair.close()


MINI_CLASSES = ("aeroplane", "bird", "boat", "bus", "car", "cow", "sheep", "train")
TRAIN, VAL = [f"train_{k}" for k in range(10)], [f"val_{k}" for k in range(5)]
COCO_CATEGORY_IDS = (2, 3, 5, 8, 13, 21, 34, 55)
COLOURS = ("red", "lime", "blue", "yellow", "magenta", "cyan", "orange", "indigo")


def size_of(k: int) -> tuple[int, int]:
    """Height and width of image `k`: portrait and landscape."""
    return (40, 56) if k % 2 == 0 else (48, 36)


def classes_of(k: int) -> tuple[int, ...]:
    """0-based classes of image `k`: one or two, each class in several images of a split of ten."""
    return (k % 4,) if k % 3 else (k % 4, 4 + k % 3)


def draw(k: int) -> tuple[Image.Image, np.ndarray]:
    """A picture with one coloured rectangle per class on noise, and its mask with a border of 255."""
    rng = np.random.default_rng(k)
    height, width = size_of(k)
    picture = Image.fromarray(rng.integers(90, 130, (height, width, 3), dtype=np.uint8))
    mask = np.zeros((height, width), np.uint8)
    for slot, c in enumerate(classes_of(k)):
        top, left = int(rng.integers(2, 8)), 2 + slot * width // 2
        bottom, right = top + height // 2, left + width // 3
        ImageDraw.Draw(picture).rectangle((left, top, right - 1, bottom - 1), fill=COLOURS[c])
        mask[top - 1 : bottom + 1, left - 1 : right + 1] = 255
        mask[top:bottom, left:right] = c + 1
    return picture, mask


@pytest.fixture
def voc_root(tmp_path: Path) -> Path:
    """Ten training and five validation images in VOC layout, vocabulary `mini`."""
    return write_voc(tmp_path / "voc")


def write_voc(root: Path) -> Path:
    """`voc_root` in a new folder."""
    for name in ("JPEGImages", "Annotations", "ImageSets/Segmentation"):
        (root / name).mkdir(parents=True)
    for k, image_id in enumerate(TRAIN + VAL):
        picture, mask = draw(k)
        picture.save(root / "JPEGImages" / f"{image_id}.jpg", quality=95)
        write_mask(root / "SegmentationClass", image_id, mask)
        # the second object of an image is marked difficult, and the first has a part with a name of its own
        objects = "".join(
            f"<object><name>{MINI_CLASSES[c]}</name><difficult>{n}</difficult><part><name>wing</name></part></object>"
            for n, c in enumerate(classes_of(k))
        )
        (root / "Annotations" / f"{image_id}.xml").write_text(f"<annotation>{objects}</annotation>")
    splits = root / "ImageSets" / "Segmentation"
    splits.joinpath("train.txt").write_text("\n".join(TRAIN) + "\n")
    splits.joinpath("train_aug.txt").write_text("\n".join(TRAIN) + "\n")
    splits.joinpath("val.txt").write_text("\n".join(VAL) + "\n")
    return root


@pytest.fixture
def coco_root(tmp_path: Path) -> Path:
    """Two training images and one validation image in COCO layout, vocabulary `mini`, all of 40 x 30 pixels.

    train: `..1` holds a large boat (class 2) under a small car (class 4), and a crowd of sheep that overlaps
    the boat; `..7` holds nothing but a crowd. val: `..4`, one bird as run lengths.
    """
    root = tmp_path / "coco"
    rng = np.random.default_rng(0)
    for split, numbers in (("train", (1, 7)), ("val", (4,))):
        (root / f"{split}2014").mkdir(parents=True)
        for number in numbers:
            pixels = rng.integers(0, 256, (30, 40, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(root / f"{split}2014" / f"COCO_{split}2014_{number:012d}.jpg")
    crowd = np.zeros((30, 40), bool)
    crowd[0:12, 30:40] = True
    bird = np.zeros((30, 40), bool)
    bird[5:9, 5:9] = True
    # small before large, and crowds last: the order of the file is not the order of painting
    train = [
        _annotation(1, 1, 4, [_rectangle(12, 12, 18, 18)], 36),
        _annotation(2, 1, 2, [_rectangle(10, 10, 34, 28)], 432),
        _annotation(3, 1, 6, _runs(crowd), 120, crowd=1),
        _annotation(4, 7, 6, _runs(crowd), 120, crowd=1),
    ]
    _write_annotations(root, "train", (1, 7), train)
    _write_annotations(root, "val", (4,), [_annotation(9, 4, 1, _runs(bird), 16)])
    return root


@pytest.fixture
def folder_root(tmp_path: Path) -> Path:
    """Four pictures (grey, RGBA, RGB, and one in a folder of its own) with a table; classes cat and dog."""
    root = tmp_path / "own"
    (root / "images" / "deep").mkdir(parents=True)
    pixels = np.random.default_rng(1).integers(0, 256, (20, 24, 4), dtype=np.uint8)
    Image.fromarray(pixels[..., 0]).save(root / "images" / "grey.png")
    Image.fromarray(pixels, "RGBA").save(root / "images" / "clear.png")
    Image.fromarray(pixels[..., :3]).save(root / "images" / "plain.jpg")
    Image.fromarray(pixels[..., :3]).save(root / "images" / "deep" / "one.bmp")
    (root / "classes.txt").write_text("cat\ndog\n")
    (root / "labels.csv").write_text(
        "image,classes,split\n"
        "grey.png,cat,train\nclear.png,cat; dog,train\nplain.jpg,,train\ndeep/one.bmp,dog,val\n"
    )
    write_mask(root / "masks", "grey", np.eye(20, 24, dtype=np.uint8))
    return root


def _annotation(number: int, image: int, c: int, segmentation: object, area: float, crowd: int = 0) -> dict:
    return {
        "id": number, "image_id": image, "category_id": COCO_CATEGORY_IDS[c], "segmentation": segmentation,
        "area": area, "iscrowd": crowd, "bbox": [0, 0, 0, 0],
    }  # fmt: skip


def _rectangle(left: int, top: int, right: int, bottom: int) -> list[float]:
    return [float(n) for n in (left, top, right, top, right, bottom, left, bottom)]


def _runs(mask: np.ndarray) -> dict:
    """Uncompressed run lengths, down the columns and starting with zeros."""
    flat = np.concatenate([[False], mask.ravel(order="F")])
    edges = np.concatenate([[0], np.flatnonzero(np.diff(flat)), [mask.size]])
    return {"size": list(mask.shape), "counts": np.diff(edges).tolist()}


def _write_annotations(root: Path, split: str, numbers: tuple[int, ...], annotations: list[dict]) -> None:
    images = [
        {"id": n, "file_name": f"COCO_{split}2014_{n:012d}.jpg", "height": 30, "width": 40} for n in numbers
    ]
    categories = [{"id": i, "name": name} for i, name in zip(COCO_CATEGORY_IDS, MINI_CLASSES, strict=True)]
    captions = [
        {"id": 10 * n + m, "image_id": n, "caption": f"caption {m} of {n}\n"} for n in numbers for m in (0, 1)
    ]
    folder = root / "annotations"
    folder.mkdir(exist_ok=True)
    # categories out of order: their ids decide
    instances = {"images": images, "annotations": annotations, "categories": categories[::-1]}
    (folder / f"instances_{split}2014.json").write_text(json.dumps(instances))
    sentences = {"images": images, "annotations": captions}
    (folder / f"captions_{split}2014.json").write_text(json.dumps(sentences))


@pytest.fixture(scope="session")
def mini_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`$WSSS_DATA` with the small mini world in it: 40 train, 16 val, 16 val_ood images; `few_train`: 20 of
    train; `few`: 4 of val; `few_ood`: 4 of val_ood. Tests may add lists `few*.txt`.
    """
    from wsss_bench.mini.world.writer import write_mini_world

    data = tmp_path_factory.mktemp("data")
    write_mini_world(data / "mini", "small", 0, 1)
    lists = data / "mini" / "voc" / "ImageSets" / "Segmentation"
    for name, split, count in (("few_train", "train", 20), ("few", "val", 4), ("few_ood", "val_ood", 4)):
        image_ids = (lists / f"{split}.txt").read_text().split()
        (lists / f"{name}.txt").write_text("\n".join(image_ids[:count]))
    os.environ["WSSS_DATA"] = str(data)
    return data


@pytest.fixture
def prepare(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Run `wsss-bench data <name>` on `<tmp>/archives` and `<tmp>/root`; returns status, stdout and stderr.

    The md5 sums of tiny archives are not the official ones, so `--no-md5` is given unless `md5` is True.
    """

    def run(name: str, *options: str, md5: bool = False) -> tuple[int, str, str]:
        places = ["--archives", str(tmp_path / "archives"), "--root", str(tmp_path / "root")]
        status = main(["data", name, *places, *([] if md5 else ["--no-md5"]), *options])
        printed = capsys.readouterr()
        return status, printed.out, printed.err

    return run
