"""Weights that a stage loads from a hub or from a path: which they are, and whether they are here.

They are read from the configuration and the signatures of its classes, so that nothing is built. All networks
of the suite name them alike: `backbone` with `weights`, which is `imagenet` (timm) or a path; `clip` or
`text.model` (CLIP of transformers). A class of your own with other arguments is checked when it is built.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any, NamedTuple

import timm
from huggingface_hub import constants, try_to_load_from_cache
from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils import validate_repo_id

from wsss_bench.artifacts.layout import ASSET_PREFIX
from wsss_bench.nn.clip import CLIP
from wsss_bench.nn.timm_models import build_timm, read_recipe
from wsss_bench.nn.weights import locate
from wsss_bench.own_modules import import_class

WEIGHTS = ("model.safetensors", "pytorch_model.bin")
CLIP_FILES = (("config.json",), WEIGHTS, ("tokenizer.json", "vocab.json"), ("preprocessor_config.json",))
"""What a CLIP model needs; one file of each group."""


class Weights(NamedTuple):
    """What a stage loads.

    Args:
        kind: `timm`, `CLIP`, `file`, or `folder` for a CLIP whose name no hub can have.
        name: timm model, hub repository of a CLIP model or its folder, or path.
    """

    kind: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"

    @property
    def is_here(self) -> bool:
        """Whether they are on this machine: at their path, or in the cache of the hub."""
        if self.kind == "file":
            return Path(self.name).is_file()
        if self.kind == "folder":
            return Path(self.name).is_dir()
        if self.kind == "CLIP":
            return Path(self.name).is_dir() or all(_is_cached(self.name, *files) for files in CLIP_FILES)
        config: Any = timm.get_pretrained_cfg(self.name)
        if config is None or not config.hf_hub_id:
            return (
                True  # unknown to timm, or fetched by an address of its own: the check of the build says so
            )
        return _is_cached(
            config.hf_hub_id, *([config.hf_hub_filename] if config.hf_hub_filename else WEIGHTS)
        )

    def fetch(self) -> None:
        """Load them as a stage does, which downloads them into the cache.

        Raises:
            FileNotFoundError: a path that does not exist; or the hub cannot be reached.
            OSError, ValueError: the hub has no such weights.
        """
        if self.kind == "timm":
            build_timm(self.name, True)
        elif self.kind == "CLIP":
            CLIP(self.name)
        elif not self.is_here:
            raise FileNotFoundError(f"there is no {self}; it is on no hub, so put it there")


def weights_of(content: Any) -> Iterator[Weights]:
    """What the networks of a configuration load, those that ship with the package aside."""
    if isinstance(content, Mapping):
        if isinstance(content.get("class_path"), str):
            yield from _of_arguments(_arguments(content["class_path"], content.get("init_args") or {}))
        for value in content.values():
            yield from weights_of(value)
    elif isinstance(content, list):
        for value in content:
            yield from weights_of(value)


def missing_weights(config: Mapping[str, Any]) -> list[str]:
    """A sentence for each of the weights that a stage loads and cannot get.

    Weights of a hub count if the network is forbidden (`HF_HUB_OFFLINE`) and the cache does not have them.
    """
    try:
        named = dict.fromkeys(weights_of(config.get("model")))
    except ValueError as error:  # an environment variable that is not set
        return [f"weights: {error}"]
    found = []
    for weights in named:
        if weights.is_here:
            continue
        if weights.kind in ("file", "folder"):
            found.append(f"weights: there is no {weights}; put it there, or name another")
        elif constants.HF_HUB_OFFLINE:
            found.append(
                f"the weights {weights} are not in {constants.HF_HUB_CACHE}, and HF_HUB_OFFLINE forbids to "
                "fetch them; `wsss-bench weights EXPERIMENT` does so for all stages where there is a network"
            )
    return found


def _arguments(class_path: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of a class with their defaults."""
    parameters = inspect.signature(import_class(class_path)).parameters.values()
    found: dict[str, Any] = {p.name: p.default for p in parameters if p.default is not p.empty}
    for name, value in found.items():
        if is_dataclass(value) and not isinstance(value, type):
            found[name] = asdict(value)
    for name, value in given.items():
        both = isinstance(found.get(name), dict) and isinstance(value, Mapping)
        found[name] = {**found[name], **value} if both else value
    return found


def _of_arguments(arguments: Mapping[str, Any]) -> Iterator[Weights]:
    backbone, weights = arguments.get("backbone"), arguments.get("weights")
    if isinstance(backbone, str) and isinstance(weights, str) and not weights.startswith(ASSET_PREFIX):
        hub = weights == "imagenet"
        yield Weights("timm", read_recipe(backbone)[0]) if hub else Weights("file", locate(weights))
    text = arguments.get("text")
    for name in (arguments.get("clip"), text.get("model") if isinstance(text, Mapping) else None):
        if isinstance(name, str) and "/" in name and not name.startswith(ASSET_PREFIX):
            place = locate(name)
            yield Weights("CLIP" if _is_hub_name(place) else "folder", place)


def _is_hub_name(name: str) -> bool:
    """Whether a hub could have it; other names are those of folders."""
    try:
        validate_repo_id(name)
    except HFValidationError:
        return False
    return True


def _is_cached(repository: str, *files: str) -> bool:
    return any(isinstance(try_to_load_from_cache(repository, file), str) for file in files)
