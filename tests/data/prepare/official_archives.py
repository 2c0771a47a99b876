"""Tiny archives with the names and the structure of the official ones; pictures of 375x500 and 500x375."""

from __future__ import annotations

import io
import json
import tarfile
import zipfile
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

import numpy as np
import scipy.io
import scipy.sparse
from PIL import Image
from pycocotools import mask as rle

from wsss_bench import vocabulary
from wsss_bench.artifacts.palette import voc_palette
from wsss_bench.data.sources.openvocab import THINGS

VOC_TRAIN, VOC_VAL = ["2007_000032", "2008_000008"], ["2007_000033"]
SBD_TRAIN, SBD_VAL = ["2008_000008", "2008_000002"], ["2007_000033", "2010_000003"]
VOC_IMAGES = [*VOC_TRAIN, *VOC_VAL, "2008_000002", "2010_000003", "2009_000001"]
OBJECTS = {image_id: ("person", "aeroplane") if k % 2 else ("cat",) for k, image_id in enumerate(VOC_IMAGES)}
VALUES = {"aeroplane": 1, "cat": 8, "person": 15}


def size_of(image_id: str) -> tuple[int, int]:
    """Height and width: portrait and landscape."""
    return (375, 500) if int(image_id[-1]) % 2 else (500, 375)


def jpeg(height: int, width: int) -> bytes:
    return _encoded(Image.new("RGB", (width, height), (90, 120, 30)), "JPEG")


def voc_mask(image_id: str) -> np.ndarray:
    """A box for each object, with VOC's border of 255."""
    mask = np.zeros(size_of(image_id), np.uint8)
    for k, name in enumerate(OBJECTS[image_id]):
        mask[50:200, 40 + 160 * k : 180 + 160 * k] = 255
        mask[55:195, 45 + 160 * k : 175 + 160 * k] = VALUES[name]
    return mask


def sbd_mask(image_id: str) -> np.ndarray:
    """A coarser one, without 255."""
    mask = np.zeros(size_of(image_id), np.uint8)
    for k, name in enumerate(OBJECTS[image_id]):
        mask[40:210, 30 + 160 * k : 190 + 160 * k] = VALUES[name]
    return mask


def mat(mask: np.ndarray) -> bytes:
    """`cls/<id>.mat` of SBD: a structure with boundaries, segmentation and categories, compressed."""
    boundaries = np.empty((20, 1), object)
    for k in range(20):
        boundaries[k, 0] = scipy.sparse.csc_matrix(mask == k + 1, dtype=float)
    present = np.setdiff1d(mask, [0]).reshape(-1, 1)
    content = {"Boundaries": boundaries, "Segmentation": mask, "CategoriesPresent": present}
    file = io.BytesIO()
    scipy.io.savemat(file, {"GTcls": content}, do_compression=True)
    return file.getvalue()


@cache
def voc_members(year: int = 2012) -> dict[str, bytes]:
    """Members of VOCtrainval_11-May-2012.tar, those that nobody needs included."""
    root = f"VOCdevkit/VOC{year}"
    members = {}
    for image_id in VOC_IMAGES:
        objects = "".join(f"<object><name>{name}</name></object>" for name in OBJECTS[image_id])
        members[f"{root}/Annotations/{image_id}.xml"] = f"<annotation>{objects}</annotation>".encode()
    members |= {
        f"{root}/ImageSets/Main/cat_train.txt": b"2007_000032  1\n",
        f"{root}/ImageSets/Segmentation/train.txt": _lines(VOC_TRAIN),
        f"{root}/ImageSets/Segmentation/val.txt": _lines(VOC_VAL),
        f"{root}/ImageSets/Segmentation/trainval.txt": _lines(VOC_TRAIN + VOC_VAL),
    }
    members |= {f"{root}/JPEGImages/{image_id}.jpg": jpeg(*size_of(image_id)) for image_id in VOC_IMAGES}
    for image_id in VOC_TRAIN + VOC_VAL:
        members[f"{root}/SegmentationClass/{image_id}.png"] = png(voc_mask(image_id))
        members[f"{root}/SegmentationObject/{image_id}.png"] = png(voc_mask(image_id))
    return members


@cache
def sbd_members() -> dict[str, bytes]:
    """Members of benchmark.tgz."""
    root = "benchmark_RELEASE/dataset"
    ids = SBD_TRAIN + SBD_VAL
    return (
        {"benchmark_RELEASE/README": b"...", f"{root}/img/{ids[0]}.jpg": jpeg(*size_of(ids[0]))}
        | {f"{root}/cls/{image_id}.mat": mat(sbd_mask(image_id)) for image_id in ids}
        | {f"{root}/train.txt": _lines(SBD_TRAIN), f"{root}/val.txt": _lines(SBD_VAL)}
    )


def write_voc(folder: Path) -> Path:
    """The two archives of `data voc`."""
    write_tar(folder / "VOCtrainval_11-May-2012.tar", voc_members())
    write_tar(folder / "benchmark.tgz", sbd_members())
    return folder


def write_coco(folder: Path) -> Path:
    """The archives of `data coco`: two images of train, one of which has only a crowd, and one of val."""
    annotations: dict[str, bytes] = {}
    crowd = runs(np.eye(375, 500, dtype=np.uint8))
    names_of = vocabulary.load("coco")
    categories = [{"id": n + 1, "name": name} for n, name in zip(THINGS, names_of, strict=True)]
    for split, numbers in (("train", (9, 25)), ("val", (42,))):
        names = {n: f"COCO_{split}2014_{n:012d}.jpg" for n in numbers}
        write_zip(
            folder / f"{split}2014.zip",
            {f"{split}2014/{name}": jpeg(375, 500) for name in names.values()},
            folders=[f"{split}2014/"],
        )
        images = [{"id": n, "file_name": name, "height": 375, "width": 500} for n, name in names.items()]
        objects = [
            {
                "id": n, "image_id": n, "category_id": 18, "iscrowd": int(n == 25), "area": 100.0,
                "segmentation": crowd if n == 25 else [[10, 10, 90, 10, 90, 90, 10, 90]],
            }
            for n in numbers
        ]  # fmt: skip
        content = {"images": images, "annotations": objects, "categories": categories}
        captions = [{"id": n, "image_id": n, "caption": "a dog"} for n in numbers]
        annotations |= {
            f"annotations/instances_{split}2014.json": json.dumps(content).encode(),
            f"annotations/captions_{split}2014.json": json.dumps(
                {"images": images, "annotations": captions}
            ).encode(),
            f"annotations/person_keypoints_{split}2014.json": b"{}",
        }
    write_zip(folder / "annotations_trainval2014.zip", annotations)
    return folder


def write_context(folder: Path) -> Path:
    """The archive and the json of `data context`; an aeroplane over the sky over a building."""
    ids = ["2008_000002", "2008_000003", "2010_000001"]
    write_tar(
        folder / "VOCtrainval_03-May-2010.tar",
        {f"VOCdevkit/VOC2010/JPEGImages/{i}.jpg": jpeg(*size_of(i)) for i in ids}
        | {"VOCdevkit/VOC2010/Annotations/2008_000002.xml": b"<annotation/>"},
    )
    folder.joinpath("trainval_merged.json").write_text(json.dumps(context_json(ids)))
    return folder


def context_json(ids: list[str]) -> dict:
    """`trainval_merged.json`: the last id is of train, the others of val."""
    images, annotations = [], []
    for n, image_id in enumerate(ids):
        height, width = size_of(image_id)
        images.append(
            {
                "image_id": int(image_id.replace("_", "")), "file_name": f"{image_id}.jpg", "height": height,
                "width": width, "phase": "train" if n == len(ids) - 1 else "val", "date_captured": "2007",
            }
        )  # fmt: skip
        whole, box = np.ones((height, width), np.uint8), np.zeros((height, width), np.uint8)
        box[100:200, 50:150] = 1
        for category, area in ((44, whole), (360, box), (2, box if n else box[::-1])):
            annotations.append(
                {
                    "id": len(annotations) + 1, "image_id": images[-1]["image_id"], "category_id": category,
                    "segmentation": runs(np.ascontiguousarray(area)), "iscrowd": 0, "bbox": [0, 0, 1, 1],
                    "parts": [{"part_id": 3, "segmentation": runs(box)}],
                }
            )  # fmt: skip
    return {
        "info": {}, "images": images, "annos_segmentation": annotations, "parts": [], "annos_boundary": [],
        "annos_occlusion": [{"image_id": images[0]["image_id"], "edges": {}}],
        "categories": [{"category_id": 2, "name": "aeroplane"}],
    }  # fmt: skip


def write_ade20k(folder: Path) -> Path:
    root = "ADEChallengeData2016"
    members = {f"{root}/objectInfo150.txt": b"...", f"{root}/images/training/ADE_train_1.jpg": jpeg(20, 30)}
    for name in ("ADE_val_00000001", "ADE_val_00000002"):
        members[f"{root}/images/validation/{name}.jpg"] = jpeg(375, 500)
        members[f"{root}/annotations/validation/{name}.png"] = grey(np.full((375, 500), 150, np.uint8))
    write_zip(folder / "ADEChallengeData2016.zip", members, folders=[f"{root}/", f"{root}/images/"])
    return folder


def write_cityscapes(folder: Path) -> Path:
    city = "val/frankfurt/frankfurt_000000_000294"
    mask = np.full((500, 375), 7, np.uint8)
    write_zip(
        folder / "leftImg8bit_trainvaltest.zip",
        {
            "README": b"...",
            f"leftImg8bit/{city}_leftImg8bit.png": grey(mask),
            "leftImg8bit/train/aachen/aachen_000000_000019_leftImg8bit.png": grey(mask),
        },
    )
    write_zip(
        folder / "gtFine_trainvaltest.zip",
        {
            f"gtFine/{city}_gtFine_labelIds.png": grey(mask),
            f"gtFine/{city}_gtFine_color.png": grey(mask),
            f"gtFine/{city}_gtFine_polygons.json": b"{}",
        },
    )
    return folder


def write_coco_stuff(folder: Path) -> Path:
    write_zip(folder / "val2017.zip", {"val2017/000000000139.jpg": jpeg(375, 500)})
    masks = {
        f"{split}2017/000000000139.png": grey(np.full((375, 500), 181, np.uint8))
        for split in ("train", "val")
    }
    write_zip(folder / "stuffthingmaps_trainval2017.zip", masks)
    return folder


def png(mask: np.ndarray) -> bytes:
    image = Image.fromarray(mask, "P")
    image.putpalette(voc_palette())
    return _encoded(image, "PNG")


def grey(mask: np.ndarray) -> bytes:
    return _encoded(Image.fromarray(mask, "L"), "PNG")


def runs(mask: np.ndarray) -> dict:
    """Run lengths in COCO's compressed text."""
    found = rle.encode(np.asfortranarray(mask))
    return {"size": [int(n) for n in found["size"]], "counts": found["counts"].decode()}


def write_tar(path: Path, members: Mapping[str, bytes | tarfile.TarInfo]) -> None:
    """A tar file; a `TarInfo` among the members is written as it is, such as a link."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w:gz" if path.suffix == ".tgz" else "w") as tar:
        for name, content in members.items():
            if isinstance(content, tarfile.TarInfo):
                tar.addfile(content)
                continue
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))


def write_zip(path: Path, members: Mapping[str, bytes], folders: Sequence[str] = ()) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        for name in folders:
            archive.writestr(name, b"")
        for name, content in members.items():
            archive.writestr(name, content)


def _encoded(image: Image.Image, kind: str) -> bytes:
    file = io.BytesIO()
    image.save(file, kind)
    return file.getvalue()


def _lines(ids: list[str]) -> bytes:
    return "".join(f"{image_id}\n" for image_id in ids).encode()
