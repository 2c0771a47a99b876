"""The texts of the files of a new data set, from templates."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from string import Template
from typing import Any

import yaml

from wsss_bench.data.init.splits import TRAIN, VAL
from wsss_bench.data.sources.tables import TableRow

HERE = Path(__file__).parent
METHODS = (
    "cam", "clims", "mcis", "toco", "dalnet", "clip_es", "excel_static", "weclip", "excel", "clip_zeroshot",
)  # fmt: skip
"""Methods that need no more than image-level labels."""
BACKGROUND = (
    "ground", "land", "grass", "tree", "building", "wall", "sky", "lake", "water", "river", "sea", "railway",
    "railroad", "cloud", "house", "mountain", "ocean", "road", "rock", "street", "valley", "bridge",
)  # fmt: skip
"""Background texts of CLIP-ES without those that name objects, to start from."""
WIDTH = 100_000
"""Of YAML values, which stand in one line."""


@dataclass(frozen=True)
class NewDataSet:
    """What the files of a new data set say.

    Args:
        name: Its name.
        arguments: Arguments of the source `Folder`.
        class_names: Its classes, in label order.
        counts: Number of images of each split, `train` first.
        unscored: Splits without masks.
    """

    name: str
    arguments: Mapping[str, Any]
    class_names: Sequence[str]
    counts: Mapping[str, int]
    unscored: Sequence[str]

    @property
    def eval_splits(self) -> list[str]:
        """All splits but `train`; `val` comes first, and those that are scored before the others."""
        others = [split for split in self.counts if split != TRAIN]
        return sorted(others, key=lambda split: (split in self.unscored, split != VAL))

    @property
    def words(self) -> list[str]:
        """The classes in plain language, as far as their names tell it."""
        return [name.replace("_", " ").replace("-", " ") for name in self.class_names]

    @property
    def background(self) -> list[str]:
        """Nouns of background that name no class."""
        named = {word.removesuffix("s") for text in self.words for word in text.casefold().split()}
        return [noun for noun in BACKGROUND if noun.removesuffix("s") not in named]


def config_files(data: NewDataSet) -> dict[str, str]:
    """The texts of the YAML files, by their path in a project."""
    scored = TRAIN not in data.unscored
    first = data.eval_splits[0]
    different = {name: word for name, word in zip(data.class_names, data.words, strict=True) if word != name}
    methods = [*METHODS, *(["supervised"] if scored else [])]
    words = {
        "name": data.name,
        "arguments": "\n".join(f"      {key}: {_flow(value)}" for key, value in data.arguments.items()),
        "splits": f"  train_split: {TRAIN}\n  val_split: {_flow(first)}  # monitored during training",
        "eval_splits": _flow(data.eval_splits),
        "unscored": _flow(list(data.unscored)),
        "holdout": _flow(min(100, data.counts[TRAIN] // 10) if scored else 0),
        "counts": _flow(dict(data.counts)),
        "classes": ", ".join(data.class_names),
        "words": _flow(data.words),
        "texts": _flow(dict(zip(data.class_names, data.words, strict=True))),
        "background": _flow(data.background),
        "prompt_names": _flow(different),
        "methods": _flow(methods),
    }
    files = {
        f"configs/data/{data.name}.yaml": "data",
        f"configs/methods/clims.{data.name}.yaml": "clims",
        f"configs/methods/dalnet.{data.name}.yaml": "dalnet",
        **{f"configs/methods/{name}.{data.name}.yaml": "competing_texts" for name in ("clip_es", "weclip")},
        **{f"configs/methods/{name}.{data.name}.yaml": "excel" for name in ("excel", "excel_static")},
        f"experiments/{data.name}.yaml": "experiment",
    }
    if different:
        files[f"configs/methods/clip_zeroshot.{data.name}.yaml"] = "clip_zeroshot"
    return {
        path: Template((HERE / f"{template}.yaml.template").read_text(encoding="utf-8")).substitute(words)
        for path, template in files.items()
    }


def table_text(rows: Sequence[TableRow], splits: Sequence[str]) -> str:
    """A table of labels with the column `split`."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["image", "classes", "split"])
    writer.writerows([row.image, row.value, split] for row, split in zip(rows, splits, strict=True))
    return text.getvalue()


def portable(path: Path) -> str:
    """An absolute path; one below `$WSSS_DATA` begins with it."""
    absolute = os.path.abspath(path)
    data = os.environ.get("WSSS_DATA")
    if data and absolute.startswith(os.path.abspath(data) + os.sep):
        return "${WSSS_DATA}" + absolute.removeprefix(os.path.abspath(data))
    return absolute


def _flow(value: Any) -> str:
    """A value as YAML in one line."""
    text = yaml.safe_dump(value, default_flow_style=True, sort_keys=False, allow_unicode=True, width=WIDTH)
    return text.removesuffix("...\n").strip()
