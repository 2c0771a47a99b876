"""The JSON schema of each kind of YAML file: its keys from `plan.config`, `init_args` from the classes.

The classes are those that the files of the `configs` folder name, and the names in experiments are those of
its files. A file may name another class; then its `init_args` are not checked.
"""

from __future__ import annotations

import copy
import sys
from collections.abc import Iterable, Mapping
from typing import Any

from lightning.pytorch import Trainer

from wsss_bench.bench.cluster import Cluster
from wsss_bench.crf.densecrf import CRFConfig
from wsss_bench.crf.readouts import ReadoutCRF
from wsss_bench.data.datamodule import WSSSDataModule
from wsss_bench.inference_config import InferenceConfig
from wsss_bench.json_schema.types import Schema, argument_schemas, dataclass_schema, object_of
from wsss_bench.own_modules import import_class
from wsss_bench.plan.config import (
    DataFile,
    Experiment,
    MethodFile,
    MethodHints,
    NetworkSpec,
    Protocol,
    RefinerFile,
    SegmenterFile,
    Variant,
)
from wsss_bench.plan.config_folder import DATA, METHODS, REFINE, SEGMENTERS, TRAINER, ConfigFolder
from wsss_bench.published_readout import PublishedReadout
from wsss_bench.short_names import names_of

DRAFT = "http://json-schema.org/draft-07/schema#"
"""The version that editors support best."""


class Documents:
    """The schemas of the files of a `configs` folder and of its experiments.

    Args:
        configs: The folder, with all its files.
    """

    def __init__(self, configs: ConfigFolder) -> None:
        self._configs = configs
        self._classes: dict[str, dict[str, Schema]] = {}
        for path in sorted(set(_class_paths(configs.contents))):
            kind = _find(path)
            if kind is not None:
                self._classes[path] = argument_schemas(kind)

    def all(self) -> dict[str, Schema]:
        """The schemas by kind of file; those of overlays are `<kind>-overlay`."""
        kinds = {
            "experiment": self.experiment(),
            "method": self.method(),
            "data": self.data(),
            "refiner": self.refiner(),
            "segmenter": self.segmenter(),
            "trainer": object_of({"trainer": self._trainer()}, ["trainer"]),
            "cluster": dataclass_schema(Cluster),
        }
        overlays = {f"{kind}-overlay": partial(kinds[kind]) for kind in ("method", "refiner", "segmenter")}
        return {
            kind: {"$schema": DRAFT, "title": kind.replace("-", " "), **schema}
            for kind, schema in (kinds | overlays).items()
        }

    def experiment(self) -> Schema:
        """`experiments/<name>.yaml`."""
        schema = dataclass_schema(Experiment)
        methods, data = self._name(METHODS), self._name(DATA)
        change = partial(self.method())
        variant = dataclass_schema(Variant)
        variant["properties"] |= {"method": methods, "override": change}
        several = {"type": "array", "minItems": 1, "uniqueItems": True}
        schema["properties"] |= {
            "methods": {"anyOf": [{"const": "*"}, {**several, "items": methods}]},
            "data": {**several, "items": data},
            "train_on": _or_null(data),
            "refiners": {"type": "array", "items": self._name(REFINE)},
            "pseudo_masks": _or_null(self._name(REFINE)),
            "segmenter": _or_null(self._name(SEGMENTERS)),
            "trainer": self._name(TRAINER),
            "override": {"type": "object", "propertyNames": methods, "additionalProperties": change},
            "variants": {"type": "object", "additionalProperties": variant},
        }
        return schema

    def method(self) -> Schema:
        """`configs/methods/<name>.yaml`."""
        schema = dataclass_schema(MethodFile)
        hints = dataclass_schema(MethodHints)
        changes = partial(self.refiner())
        hints["properties"] |= {
            "warm_start": _or_null(self._name(METHODS)),
            "refine": {
                "type": "object",
                "propertyNames": self._name(REFINE),
                "additionalProperties": changes,
            },
        }
        schema["properties"] |= {**self._network(METHODS), **self._reading(), "bench": hints}
        return schema

    def segmenter(self) -> Schema:
        """`configs/segmenters/<name>.yaml`."""
        schema = dataclass_schema(SegmenterFile)
        schema["properties"] |= {**self._network(SEGMENTERS), **self._reading()}
        return schema

    def refiner(self) -> Schema:
        """`configs/refine/<name>.yaml`."""
        schema, network = dataclass_schema(RefinerFile), dataclass_schema(NetworkSpec)
        network["properties"] |= self._network(REFINE)
        refiner = self._class(REFINE, "refiner", "affinity_labels")
        for rule in refiner["allOf"]:  # null takes the threshold of the method
            arguments = rule["then"]["properties"]["init_args"].get("properties", {})
            arguments |= {"threshold": _or_null(arguments["threshold"])} if "threshold" in arguments else {}
        schema["properties"] |= {
            "refiner": refiner,
            "affinity_labels": _or_null(refiner),
            "network": _or_null(network),
        }
        return schema

    def data(self) -> Schema:
        """`configs/data/<name>.yaml`."""
        schema, protocol = dataclass_schema(DataFile), dataclass_schema(Protocol)
        protocol["properties"]["crf"] = partial(dataclass_schema(CRFConfig))
        module = argument_schemas(WSSSDataModule) | {"source": self._class(DATA, "source")}
        schema["properties"] |= {"data": object_of(module, ["source"]), "protocol": protocol}
        return schema

    def _network(self, kind: str) -> dict[str, Schema]:
        return {
            "model": self._class(kind, "model"),
            "data": partial(object_of(self._module(kind))),
            "trainer": self._trainer(),
        }

    def _module(self, kind: str) -> dict[str, Schema]:
        """The arguments of the data module, with those of the own views and transforms that files name."""
        module = argument_schemas(WSSSDataModule)
        for place, key in ((module, "view"), (module["transform"]["properties"], "kind")):
            names, _ = place[key]["anyOf"]
            place[key] = {**place[key], "anyOf": [names, self._class(kind, key)]}
        return module

    def _trainer(self) -> Schema:
        return object_of(argument_schemas(Trainer))

    def _reading(self) -> dict[str, Schema]:
        readout, with_crf = dataclass_schema(PublishedReadout), dataclass_schema(ReadoutCRF)
        readout["properties"] |= with_crf["properties"]  # its presence is the `crf` of the prediction
        return {
            "inference": partial(dataclass_schema(InferenceConfig)),
            "readouts": {"type": "object", "additionalProperties": readout},
        }

    def _name(self, kind: str) -> Schema:
        return {"enum": self._configs.names(kind)}

    def _class(self, kind: str, *keys: str) -> Schema:
        """A class with its arguments, of those that the files of a folder name under these keys."""
        contents = [value for key, value in self._configs.contents.items() if key.startswith(f"{kind}/")]
        named = sorted(set(_class_paths(contents, keys)) & self._classes.keys())
        short = [name for path in named for name in names_of(path)]
        # of this package, no class can be named that it does not have
        names = {
            "type": "string",
            "anyOf": [{"enum": [*named, *short]}, {"not": {"pattern": r"^wsss_bench\."}}],
        }
        schema = object_of({"class_path": names, "init_args": {"type": "object"}}, ["class_path"])
        schema["allOf"] = [
            {
                "if": {
                    "properties": {"class_path": {"enum": [path, *names_of(path)]}},
                    "required": ["class_path"],
                },
                "then": {"properties": {"init_args": object_of(self._classes[path])}},
            }
            for path in named
        ]
        options = sorted({name for path in named for name in self._classes[path]})
        # an overlay does not name its class again, so that it may have the arguments of any of them
        schema["allOf"] += [
            {
                "if": {"not": {"required": ["class_path"]}},
                "then": {"properties": {"init_args": {"propertyNames": {"enum": options}}}},
            }
        ]
        return schema


def partial(schema: Schema) -> Schema:
    """The same without keys that must be there, for what is merged over another file."""
    return _without_required(copy.deepcopy(schema))


def _without_required(schema: Schema) -> Schema:
    if "anyOf" in schema:
        schema["anyOf"] = [_without_required(option) for option in schema["anyOf"]]
    if schema.get("type") == "object":
        schema.pop("required", None)
        properties: dict[str, Schema] = schema.get("properties", {})
        schema["properties"] = {key: _without_required(value) for key, value in properties.items()}
        if isinstance(schema.get("additionalProperties"), dict):
            schema["additionalProperties"] = _without_required(schema["additionalProperties"])
    return schema


def _or_null(schema: Schema) -> Schema:
    return {"anyOf": [schema, {"type": "null"}]}


def _class_paths(content: Any, keys: Iterable[str] | None = None, key: str = "") -> Iterable[str]:
    """All class paths in files; with `keys`, those directly under one of these keys."""
    if isinstance(content, Mapping):
        found = content.get("class_path")
        if isinstance(found, str) and (keys is None or key in keys):
            yield found
        for name, value in content.items():
            yield from _class_paths(value, keys, name)
    elif isinstance(content, list):
        for value in content:
            yield from _class_paths(value, keys, key)


def _find(path: str) -> type | None:
    """A class by its path; None, with a word about it, if it cannot be imported."""
    try:
        return import_class(path)
    except ValueError as error:
        print(f"the init_args of {path} are not in the schema: {error}", file=sys.stderr)
        return None
