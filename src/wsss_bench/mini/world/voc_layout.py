"""The mini world in the layout of PASCAL VOC 2012.

`JPEGImages/<id>.jpg`, `Annotations/<id>.xml` (one <object> per instance; image labels are read from here),
`SegmentationClass/<id>.png` and `SegmentationObject/<id>.png` (indexed, VOC palette, 255 border),
`ImageSets/Segmentation/<split>.txt`. Images of the test split have no annotation, as VOC's test set has none.
`captions.json` maps each annotated image to its captions.
"""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from wsss_bench.mini.world.palette import voc_palette
from wsss_bench.mini.world.samples import Sample
from wsss_bench.mini.world.scenes import CLASS_NAMES, IMAGE_SIZE

FOLDERS = ("JPEGImages", "Annotations", "SegmentationClass", "SegmentationObject", "ImageSets/Segmentation")


def write_voc_image(root: Path, image_id: str, sample: Sample, annotated: bool) -> None:
    """Write one image and, unless it is a test image, its annotation."""
    (root / "JPEGImages" / f"{image_id}.jpg").write_bytes(sample.jpeg())
    if not annotated:
        return
    _write_xml(root / "Annotations" / f"{image_id}.xml", image_id, sample)
    _write_indexed(root / "SegmentationClass" / f"{image_id}.png", sample.class_mask())
    _write_indexed(root / "SegmentationObject" / f"{image_id}.png", sample.instance_mask())


def write_split(root: Path, split: str, image_ids: list[str]) -> None:
    """Write the list of a split, one image id per line."""
    lines = "".join(f"{image_id}\n" for image_id in image_ids)
    (root / "ImageSets" / "Segmentation" / f"{split}.txt").write_text(lines)


def _write_indexed(path: Path, mask: NDArray[np.uint8]) -> None:
    picture = Image.fromarray(mask, mode="L")
    picture.putpalette(voc_palette())  # changes the mode from L to P
    picture.save(path, optimize=False)


def _write_xml(path: Path, image_id: str, sample: Sample) -> None:
    root = ElementTree.Element("annotation")
    _add(root, "folder", "VOC2012")
    _add(root, "filename", f"{image_id}.jpg")
    source = ElementTree.SubElement(root, "source")
    _add(source, "database", "wsss_bench mini world")
    _add(source, "annotation", "PASCAL VOC2012")
    _add(source, "image", "generated")
    size = ElementTree.SubElement(root, "size")
    for tag, value in (("width", IMAGE_SIZE), ("height", IMAGE_SIZE), ("depth", 3)):
        _add(size, tag, str(value))
    _add(root, "segmented", "1")
    visible = sample.rendering.visible
    for number, scene_object in enumerate(sample.objects, start=1):
        rows, columns = np.nonzero(sample.rendering.instance == number)
        node = ElementTree.SubElement(root, "object")
        _add(node, "name", CLASS_NAMES[scene_object.label])
        _add(node, "pose", "Left" if scene_object.flip else "Right")
        occluded = visible[number - 1] < sample.rendering.areas[number - 1]
        _add(node, "truncated", "1" if occluded else "0")
        _add(node, "difficult", "0")
        box = ElementTree.SubElement(node, "bndbox")  # VOC counts pixels from 1
        edges = (columns.min(), rows.min(), columns.max(), rows.max())
        for tag, value in zip(("xmin", "ymin", "xmax", "ymax"), edges, strict=True):
            _add(box, tag, str(int(value) + 1))
    ElementTree.indent(root)
    path.write_text(ElementTree.tostring(root, encoding="unicode") + "\n")


def _add(parent: ElementTree.Element, tag: str, text: str) -> None:
    ElementTree.SubElement(parent, tag).text = text
