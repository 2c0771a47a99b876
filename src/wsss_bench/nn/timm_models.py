"""timm networks by the names of configs: built, filled with weights, and their image statistics."""

from __future__ import annotations

import difflib
import json
from pathlib import Path
from typing import Any

import timm
from torch import nn

from wsss_bench.nn.checkpoints import load_weights
from wsss_bench.nn.normalize import Normalize
from wsss_bench.nn.weights import locate
from wsss_bench.types import IMAGENET_MEAN, IMAGENET_STD


def create_timm(backbone: str, weights: str | None, **kwargs: Any) -> nn.Module:
    """Build a timm network without its classifier.

    Args:
        backbone: timm model name; or a path (also `package:...`) to a JSON file `{"model": name, "kwargs":
            {...}}`.
        weights: `imagenet` for timm's own weights, the path of a checkpoint (also `package:...`) of timm or
            torchvision (`nn/checkpoints.py`), or None for random weights.
        **kwargs: Passed to `timm.create_model`.

    Raises:
        FileNotFoundError: the checkpoint does not exist, or timm's weights are neither on this machine nor
            available from the hub.
        ValueError: timm has no such model or no weights for it, or the checkpoint is of another network.
    """
    net = build_timm(backbone, weights == "imagenet", **kwargs)
    if weights not in (None, "imagenet"):
        load_weights(net, locate(weights))
    return net


def build_timm(backbone: str, pretrained: bool, **kwargs: Any) -> nn.Module:
    """Build a timm network without its classifier, with timm's weights (`pretrained`) or random ones."""
    name, recipe = read_recipe(backbone)
    family_of(backbone)  # refuses a model that timm does not have
    kwargs = {"num_classes": 0, **recipe, **kwargs}
    if not pretrained:
        return timm.create_model(name, **kwargs)
    try:
        return timm.create_model(name, pretrained=True, **kwargs)
    except OSError as error:
        raise FileNotFoundError(
            f"weights: imagenet: no weights of {name!r} on this machine, and the hub did not provide them "
            f"({_first_line(error)}); download them once, or set weights to the path of a checkpoint"
        ) from error
    except RuntimeError as error:
        raise ValueError(
            f"weights: imagenet: timm has no weights of {name!r} ({_first_line(error)}); choose a model with "
            "weights, or set weights to the path of a checkpoint"
        ) from error


def read_recipe(backbone: str) -> tuple[str, dict[str, Any]]:
    """timm model name and keyword arguments of `backbone` (see `create_timm`)."""
    recipe = _recipe(backbone)
    return recipe["model"], recipe["kwargs"]


def family_of(backbone: str) -> str:
    """Module of timm that defines the network: `resnet`, `vgg`, `vision_transformer`, ...

    Raises:
        ValueError: timm has no such model.
    """
    name = read_recipe(backbone)[0].partition(".")[0]
    if not timm.is_model(name):
        close = difflib.get_close_matches(name, timm.list_models(), n=3)
        similar = f"did you mean {' or '.join(close)}?" if close else "see timm.list_models()"
        raise ValueError(f"backbone: timm {timm.__version__} has no model {name!r}; {similar}")
    return timm.model_entrypoint(name).__module__.rpartition(".")[2]


def own_normalize(backbone: str) -> Normalize:
    """The normalisation that a network was pretrained with: of its recipe, or of timm's configuration."""
    recipe = _recipe(backbone)
    config: Any = timm.get_pretrained_cfg(recipe["model"]).to_dict() if "mean" not in recipe else recipe
    return Normalize(config.get("mean", IMAGENET_MEAN), config.get("std", IMAGENET_STD))


def _recipe(backbone: str) -> dict[str, Any]:
    if backbone.endswith(".json"):
        recipe: dict[str, Any] = json.loads(Path(locate(backbone)).read_text())
        return recipe
    return {"model": backbone, "kwargs": {}}


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]
