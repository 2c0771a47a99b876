"""The `configs` folders in memory: finds files by name, merges their layers, and checks the result.

`configs/methods/<name>.yaml` may have an overlay `<name>.<dataset>.yaml`, merged over it for that data set;
the same holds for `configs/refine` and `configs/segmenters`. The user's own folder and the shipped one are
seen as one, in which own files stand in place of shipped ones; an overlay and its file may be in different
folders. Nothing here reads the disk: `reader.py` does.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from wsss_bench.crf.densecrf import CRFConfig
from wsss_bench.plan.config import ClassSpec, DataFile, MethodFile, RefinerFile, SegmenterFile, TrainerFile
from wsss_bench.plan.schema import ConfigError, nearest, read_as
from wsss_bench.plan.yaml_files import merge

METHODS, DATA, REFINE, SEGMENTERS, TRAINER = "methods", "data", "refine", "segmenters", "trainer"
"""The subfolders of `configs`."""


def file_key(kind: str, name: str, overlay: str = "") -> str:
    """Path of a file below `configs`: `methods/cam.yaml`, or its overlay `methods/cam.coco.yaml`."""
    return f"{kind}/{name}.{overlay}.yaml" if overlay else f"{kind}/{name}.yaml"


def read_data_file(path: Path, raw: dict[str, Any]) -> DataFile:
    """A data set and its protocol, checked.

    Args:
        path: The file, for messages.
        raw: What it holds.
    """
    _require_protocol(path, raw)
    content = read_as(DataFile, raw, path)
    read_as(ClassSpec, content.data.get("source"), path, "data.source")
    read_as(CRFConfig, content.protocol.crf, path, "protocol.crf")
    for split in (content.protocol.train_split, *content.protocol.eval_splits):
        if split and split not in content.protocol.counts:
            raise ConfigError(
                f"{path}: protocol.counts: no count for split {split!r}; add the number of its images"
            )
    return content


def _require_protocol(path: Path, raw: dict[str, Any]) -> None:
    """Refuse a data set without its protocol, or without a required key of it, and show what to write.

    Raises:
        ConfigError: as `read_data_file`.
    """
    protocol = raw.get("protocol")
    if isinstance(protocol, dict) and {"dataset", "counts"} <= protocol.keys():
        return
    if protocol is not None and not isinstance(protocol, dict):
        return  # of a wrong type, as any other key may be
    example = {
        "dataset": path.stem,
        "train_split": "train",
        "eval_splits": ["val"],
        "counts": {"train": "N", "val": "N"},
    } | (protocol or {})
    block = yaml.safe_dump(example, sort_keys=False, default_flow_style=True, width=10_000).rstrip()
    raise ConfigError(
        f"{path}: the block `protocol` {'lacks a key' if protocol else 'is missing'}; add it, with the "
        "number of images of each split (docs/data.md explains each key; `wsss-bench data init` writes it "
        f"for own images): protocol: {block}"
    )


@dataclass(frozen=True)
class ConfigFolder:
    """The files of the `configs` folders, of which `contents` holds those that were read.

    Args:
        root: The own folder, where a missing file would be; for messages.
        listed: Paths of all YAML files, by what `file_key` gives.
        hidden: Those of them in whose place another one is listed.
        contents: What the listed files hold, by the same keys.
    """

    root: Path
    listed: Mapping[str, Path]
    hidden: Mapping[str, Path]
    contents: Mapping[str, dict[str, Any]]

    def path(self, kind: str, name: str) -> Path:
        """The file of a name, for messages."""
        key = file_key(kind, name)
        return self.listed.get(key, self.root / key)

    def notes(self) -> list[str]:
        """What was read in place of shipped files, and shipped overlays that lie over such files."""
        own = [key for key in self.contents if key in self.hidden]
        stems = tuple(key.removesuffix("yaml") for key in own)
        over = [
            key
            for key in self.contents
            if key not in own and key.startswith(stems) and self.root not in self.listed[key].parents
        ]
        said = (("read from {} in place of shipped files", own), ("shipped overlays lie over these", over))
        return [f"{text.format(self.root)}: {', '.join(sorted(keys))}" for text, keys in said if keys]

    def names(self, kind: str) -> list[str]:
        """Names of the files in a subfolder, without overlays."""
        stems = (
            key.removeprefix(f"{kind}/").removesuffix(".yaml")
            for key in self.listed
            if key.startswith(f"{kind}/")
        )
        return sorted(stem for stem in stems if "." not in stem)

    def methods(self) -> list[str]:
        """Names of all methods."""
        return self.names(METHODS)

    def method(
        self, name: str, dataset: str, trainer: dict[str, Any], *overrides: dict[str, Any]
    ) -> MethodFile:
        """A method as it runs on `dataset`: file, overlay, `trainer` and `overrides`; later ones win."""
        *layers, files = self._layers(METHODS, name, dataset)
        if any(overrides):
            files += " with the experiment's overrides"
        method = read_as(MethodFile, merge(*layers, {"trainer": trainer}, *overrides), files)
        for refiner in method.bench.refine:
            if refiner not in self.names(REFINE):
                raise ConfigError(
                    f"{files}: bench.refine.{refiner}: there is no such refiner; "
                    f"{nearest(refiner, self.names(REFINE))}"
                )
        return method

    def data(self, name: str) -> DataFile:
        """A data set and its protocol."""
        path, raw = self._file(DATA, name)
        return read_data_file(path, raw)

    def trainer(self, name: str) -> dict[str, Any]:
        """Arguments of the trainer."""
        path, content = self._file(TRAINER, name)
        return read_as(TrainerFile, content, path).trainer

    def refiner(
        self,
        name: str,
        dataset: str,
        trainer: dict[str, Any],
        method: str | None = None,
        *overrides: dict[str, Any],
    ) -> RefinerFile:
        """A refiner as it runs on `dataset`; its network, if it has one, runs with `trainer`.

        With a method, its `bench.refine` applies: that of its file over the refiner's file, then what the
        files of the data set say, the refiner's first, then the `overrides` of the method.
        """
        base, overlay, files = self._layers(REFINE, name, dataset)
        content = merge(base, overlay)
        if method is not None:
            own, own_overlay, own_files = self._layers(METHODS, method, dataset)
            changes = [_refine_of(layer, name) for layer in (own, own_overlay, *overrides)]
            content = merge(base, changes[0], overlay, *changes[1:])
            if any(changes):
                files += f" with bench.refine.{name} of {own_files}"
        if "network" in content:
            content = merge(content, {"network": {"trainer": trainer}})
        refiner = read_as(RefinerFile, content, files)
        if (refiner.network is None) != (refiner.affinity_labels is None):
            raise ConfigError(
                f"{files}: network and affinity_labels go together: `network` is trained on the masks of the "
                "refiner `affinity_labels`; give both or none"
            )
        return refiner

    def segmenter(self, name: str, dataset: str, trainer: dict[str, Any]) -> SegmenterFile:
        """A segmenter as it runs on `dataset`."""
        *layers, files = self._layers(SEGMENTERS, name, dataset)
        return read_as(SegmenterFile, merge(*layers, {"trainer": trainer}), files)

    def _layers(self, kind: str, name: str, dataset: str) -> tuple[dict[str, Any], dict[str, Any], str]:
        """The file, its overlay (empty if there is none), and the text that names them in messages."""
        path, content = self._file(kind, name)
        key = file_key(kind, name, self.data(dataset).protocol.overlay or dataset)
        if key not in self.listed:
            return content, {}, str(path)
        overlay = self.listed[key]
        named = overlay.name if overlay.parent == path.parent else overlay
        return content, self.contents[key], f"{path} with {named}"

    def _file(self, kind: str, name: str) -> tuple[Path, dict[str, Any]]:
        key = file_key(kind, name)
        if key not in self.listed:
            known = self.names(kind)
            raise ConfigError(
                f"{self.root / key} does not exist; "
                f"{nearest(name, known) if known else 'the folder has no YAML files'}"
            )
        return self.listed[key], self.contents[key]


def _refine_of(layer: dict[str, Any], refiner: str) -> dict[str, Any]:
    """What a layer of a method, which was checked, changes of a refiner."""
    changes: dict[str, Any] = layer.get("bench", {}).get("refine", {}).get(refiner, {})
    return changes
