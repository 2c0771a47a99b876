"""PASCAL VOC layout: VOC 2012 with the SBD training list, the mini world, and own data in the same layout.

Everingham et al., "The PASCAL Visual Object Classes Challenge", IJCV 2010; Hariharan et al., "Semantic
Contours from Inverse Detectors", ICCV 2011 (SBD, the 10 582 images of `train_aug`).
"""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from wsss_bench.artifacts.files import file_names
from wsss_bench.artifacts.images import read_image
from wsss_bench.data.sources.base import (
    Source,
    expand_root,
    nearest_names,
    read_checked_mask,
    require_folder,
    require_ids,
)
from wsss_bench.data.sources.class_lists import load_classes, own_list
from wsss_bench.data.sources.files import FileSet, by_size
from wsss_bench.data.sources.split_lists import read_image_list
from wsss_bench.data.sources.text_files import read_json_text
from wsss_bench.types import IGNORE

IMAGE_SUFFIXES = (".jpg", ".jpeg")
"""Of images in JPEGImages, in upper or lower case."""


class VOC(Source):
    """Images and masks in the layout of VOC.

    On disk: `JPEGImages/<id>.jpg`; `Annotations/<id>.xml`, whose object names are the image labels;
    `<masks>/<id>.png` with 0 background, 1..C classes, 255 border; `ImageSets/Segmentation/<split>.txt` with
    one id per line, or one of the other forms of `split_lists`. Objects marked difficult are labels too, as
    in the label files of published code.
    Optional: `captions.json`, a map from ids to lists of captions.

    Args:
        root: Folder VOCdevkit/VOC2012; environment variables are expanded.
        vocabulary: Class names in label order: a file of `wsss_bench/vocabulary`, or the path of a list with
            one name per line (`class_lists`).
        masks: Folder of masks. `SegmentationClass` has the masks of VOC (train and val),
            `SegmentationClassAug` the coarser ones of SBD. Or the folder of each split: the mask of an image
            is in that of the first split whose list names the image, in the order written, and nowhere else.
        background: False ignores background pixels and never predicts background (the 20 classes of
            open-vocabulary papers).

    Raises:
        FileNotFoundError: `root` has no folder `JPEGImages`.
    """

    def __init__(
        self,
        root: str | Path,
        vocabulary: str = "voc",
        masks: str | dict[str, str] = "SegmentationClass",
        background: bool = True,
    ) -> None:
        self.root = expand_root(root)
        self.vocabulary = vocabulary
        self.class_names = load_classes(vocabulary, self.root)
        self.masks = masks
        self.has_background = background
        self._images = require_folder(self.root, "JPEGImages", "VOC")
        self._index = {name: c for c, name in enumerate(self.class_names)}
        self._file_names: dict[str, str] | None = None
        self._lists: dict[str, frozenset[str]] = {}
        self._labels: dict[str, np.ndarray] = {}
        self._captions: dict[str, tuple[str, ...]] | None = None

    def ids(self, split: str) -> list[str]:
        path = self._list_path(split)
        if not path.is_file():
            known = sorted(file.stem for file in path.parent.glob("*.txt"))
            raise FileNotFoundError(
                f"no split {split!r}: {path} does not exist; splits there: {', '.join(known) or 'none'}"
            )
        return require_ids(read_image_list(path, self._names(), self._images.name), split, path)

    def image(self, image_id: str) -> np.ndarray:
        return read_image(self.image_file(image_id))

    def image_file(self, image_id: str) -> Path:
        return self._images / self._names().get(image_id, f"{image_id}.jpg")

    def labels(self, image_id: str) -> np.ndarray:
        if image_id not in self._labels:
            self._labels[image_id] = self._read_labels(image_id)
        return self._labels[image_id].copy()

    def mask(self, image_id: str) -> np.ndarray:
        path = self.mask_file(image_id)
        mask = read_checked_mask(path, self.image_file(image_id), len(self.class_names))
        return mask if self.has_background else np.where(mask == 0, np.uint8(IGNORE), mask)

    def mask_file(self, image_id: str) -> Path:
        return self.root / self._mask_folder(image_id) / f"{image_id}.png"

    def captions(self, image_id: str) -> tuple[str, ...]:
        if self._captions is None:
            path = self.root / "captions.json"
            self._captions = _read_captions(path) if path.is_file() else {}
        return self._captions.get(image_id) or super().captions(image_id)

    def files(self, split: str, part: str) -> list[FileSet]:
        if part == "lists":
            own = own_list(self.vocabulary, self.root)
            return [FileSet(self.root, [self._list_path(split), *([own] if own else [])])]
        if part == "captions":
            return [FileSet(self.root, [self.root / "captions.json"])]
        ids = self.ids(split)
        if part == "images":
            return [FileSet(self.root, [self.image_file(image_id) for image_id in ids], by_size)]
        path = self._annotation_path if part == "labels" else self.mask_file
        return [FileSet(self.root, [path(image_id) for image_id in ids])]

    def _list_path(self, split: str) -> Path:
        return self.root / "ImageSets" / "Segmentation" / f"{split}.txt"

    def _annotation_path(self, image_id: str) -> Path:
        return self.root / "Annotations" / f"{image_id}.xml"

    def _names(self) -> dict[str, str]:
        """File names of the images by id; listed once."""
        if self._file_names is None:
            names = sorted(file_names(self._images), reverse=True)  # of a.JPG and a.jpg the second is kept
            self._file_names = {
                name.rpartition(".")[0]: name for name in names if name.lower().endswith(IMAGE_SUFFIXES)
            }
        return self._file_names

    def _mask_folder(self, image_id: str) -> str:
        if isinstance(self.masks, str):
            return self.masks
        for split, folder in self.masks.items():
            if split not in self._lists:
                self._lists[split] = frozenset(self.ids(split))
            if image_id in self._lists[split]:
                return folder
        raise ValueError(
            f"image {image_id!r} of {self.root} is in none of the splits {', '.join(self.masks)}, for which "
            "`data.source.init_args.masks` names a folder of masks; add its split there"
        )

    def _read_labels(self, image_id: str) -> np.ndarray:
        path = self._annotation_path(image_id)
        if not path.is_file():
            raise FileNotFoundError(
                f"image {image_id!r} has no annotation {path}; image labels are read from it, "
                "so complete Annotations/ or leave the image out of the split"
            )
        try:
            tree = ElementTree.parse(path)
        except (ElementTree.ParseError, LookupError, ValueError) as error:  # LookupError: unknown encoding
            raise ValueError(f"{path} is not valid XML ({error}); replace it with an intact copy") from error
        labels = np.zeros(len(self.class_names), np.float32)
        for item in tree.iterfind("object"):  # direct children only: parts of a person have names too
            name = (item.findtext("name") or "").strip()
            if not name:
                raise ValueError(f"{path} has an object without a name; complete it or remove the object")
            if name not in self._index:
                raise ValueError(
                    f"{path} names the class {name!r}, which vocabulary {self.vocabulary!r} lacks "
                    f"({nearest_names(name, self.class_names)}); set `vocabulary` to the one of this data"
                )
            labels[self._index[name]] = 1.0
        return labels


def _read_captions(path: Path) -> dict[str, tuple[str, ...]]:
    content = read_json_text(path)
    if not isinstance(content, dict):
        raise ValueError(
            f"{path} holds a {type(content).__name__}; expected a map from ids to lists of captions"
        )
    for image_id, sentences in content.items():
        if not isinstance(sentences, list) or not all(
            isinstance(text, str) and text.strip() for text in sentences
        ):
            raise ValueError(
                f"{path}: the captions of image {image_id!r} are {str(sentences)[:80]!r}; expected a list "
                "of texts"
            )
    return {image_id: tuple(sentences) for image_id, sentences in content.items()}
