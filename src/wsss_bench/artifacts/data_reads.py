"""Which data a stage reads, from its command and its configuration: known before anything is built."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from wsss_bench.artifacts.layout import ASSET_PREFIX, INPUTS

COMBINED = "wsss_bench.data.sources.combined.CombinedSource"
VIEW, TRAIN_SPLIT, VAL_SPLIT, BATCH_SIZE, CROP_SIZE = "image", "train", "val", 16, 512
"""Defaults of the data module, for configurations that leave them out."""
PART_OF_VIEW = {
    "image": "labels",
    "pair": "labels",
    "group": "labels",
    "caption": "captions",
    "mask": "masks",
}
"""What the training items of a view have besides an image."""
PARTS_OF_OWN_VIEW = ("labels", "captions", "masks")
"""What those of an own view may have: only its code knows, and a plan imports none."""


NO_FILES = (*INPUTS, "bench", "class_path", "data", "out", "source", "stage", "trainer")
"""Keys whose values name no further file: data and inputs have digests of their own."""


class DataRead(NamedTuple):
    """One kind of files of a split that a stage reads, or a file that its configuration names.

    Args:
        source: Class and arguments of the source, as JSON with sorted keys; empty for a named file.
        split: The split; empty for a named file.
        part: `lists` (which images there are, and of which classes), `images`, `labels`, `masks`, `captions`,
            `maps` (further files of a refiner), or `named` (own weights, prompts).
        path: Folder of the `maps`, or what may be the path of a named file.
    """

    source: str
    split: str
    part: str
    path: str = ""

    @property
    def name(self) -> str:
        """Split and part, or the path of a named file; unique within a stage."""
        return f"{self.split}/{self.part}" if self.split else self.path


def data_reads(command: str, config: Mapping[str, Any]) -> list[DataRead]:
    """What a stage reads of its data.

    Args:
        command: `fit`, `predict`, `crf`, `refine` or `evaluate`.
        config: Its configuration; keys with default values may be left out.
    """
    texts = {*_possible_paths(config), *_possible_paths(_own_arguments(config.get("data") or {}))}
    named = [DataRead("", "", "named", text) for text in sorted(texts)]
    source = _source(config)
    if source is None:
        return named
    readers = {"fit": _fit, "predict": _predict, "crf": _images, "refine": _images, "evaluate": _evaluate}
    parts = readers[command](config)
    reads = [
        DataRead(source, split, part)
        for split, found in parts.items()
        for part in ("lists", *(part for part in found if part))
    ]
    if folder := ((config.get("refiner") or {}).get("init_args") or {}).get("folder"):
        reads.append(DataRead(source, str(config["split"]), "maps", str(folder)))
    return reads + named


def _own_arguments(data: Mapping[str, Any]) -> list[Any]:
    """The arguments of an own view and of own transforms."""
    kinds = [(data.get(key) or {}).get("kind") for key in ("transform", "val_transform")]
    return [own.get("init_args") for own in (data.get("view"), *kinds) if isinstance(own, Mapping)]


def _possible_paths(content: Any) -> Iterator[str]:
    """The texts of a configuration that may name a file: those with a slash or a dot."""
    if isinstance(content, Mapping):
        for key, value in content.items():
            if key not in NO_FILES:
                yield from _possible_paths(value)
    elif isinstance(content, (list, tuple)):
        for value in content:
            yield from _possible_paths(value)
    elif (
        isinstance(content, str)
        and not content.startswith(ASSET_PREFIX)
        and ("/" in content or "." in content)
    ):
        yield content


def _fit(config: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    data = config["data"]
    view = data.get("view", VIEW)
    of_view = (PART_OF_VIEW.get(view, ""),) if isinstance(view, str) else PARTS_OF_OWN_VIEW
    if config.get("masks") or data.get("masks"):
        others = () if isinstance(view, str) else of_view
        return {data.get("train_split", TRAIN_SPLIT): ("images", *others)}
    parts = ("images", *of_view)
    splits = (data.get("train_split", TRAIN_SPLIT), data.get("val_split", VAL_SPLIT))
    return {split: parts for split in splits if split}


def _predict(config: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    if config["product"] != "seed":
        return {config["split"]: ("images",)}
    splits = [config["split"]]
    if (config.get("inference") or {}).get("references"):  # drawn from the training images
        splits.append(config["data"].get("train_split", TRAIN_SPLIT))
    return dict.fromkeys(splits, ("images", "labels"))


def _images(config: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    return {config["split"]: ("images",)}


def _evaluate(config: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    return {config["split"]: ("masks",)}


def _source(config: Mapping[str, Any]) -> str | None:
    """The source as JSON, with the extra images of the training; None without one."""
    data = config.get("data") or {}
    source = config.get("source") or data.get("source")
    if source is None:
        return None
    if extra := data.get("extra_images"):
        arguments = {
            "main": source,
            "split": data.get("train_split", TRAIN_SPLIT),
            "extra_images": extra,
        }
        source = {"class_path": COMBINED, "init_args": arguments}
    return json.dumps(source, sort_keys=True)
