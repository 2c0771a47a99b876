"""Builds a trained method from its checkpoint.

A checkpoint says how its method is built (`hyper_parameters`) and how it predicts (`prediction`), so that a
copy of the file is enough. Those of earlier versions do not; then the configuration of their stage does.
"""

from __future__ import annotations

import sys
import warnings
from argparse import ArgumentError
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import torch
import yaml
from jsonargparse import ArgumentParser

from wsss_bench.artifacts.layout import CONFIG_FILE, LAST, PLAN_FILE, find_manifest
from wsss_bench.artifacts.stage_files import check_file
from wsss_bench.methods.checkpoint import (
    check_checkpoint,
    first_sentence,
    load_state,
    qualified_name,
    read_checkpoint,
)
from wsss_bench.methods.hyperparameters import plain_arguments
from wsss_bench.methods.image_prediction import PredictionSettings
from wsss_bench.methods.named_code import foreign, is_admitted, refuse_foreign
from wsss_bench.nn.clip import CLIP
from wsss_bench.nn.frozen import Frozen
from wsss_bench.own_modules import import_class

if TYPE_CHECKING:
    from wsss_bench.methods.base import Method

Trained = TypeVar("Trained", bound="Method")
HYPER_PARAMETERS = "hyper_parameters"
"""Where a checkpoint holds the arguments of its method, as any checkpoint of Lightning does."""


def record_method(method: Method, checkpoint: dict[str, Any]) -> None:
    """Add to a checkpoint what `load_method` needs, in JSON types."""
    plain, other = plain_arguments(method.hparams)
    checkpoint[HYPER_PARAMETERS] = plain
    checkpoint["wsss_bench"] = {
        "method": qualified_name(type(method)),
        "class_names": list(method.class_names),
        "not_kept": other,
        "prediction": method.prediction_settings.to_plain(),
    }


def load_method(
    place: Path,
    base: type[Trained],
    device: torch.device | str = "cpu",
    modules: Sequence[str] = (),
    /,
    **changed: Any,
) -> Trained:
    """Build a trained method and load its weights.

    The argument `weights` of a method is not read: the checkpoint replaces what it stands for. A frozen CLIP
    is in no checkpoint and is read from where the argument `clip` says.

    Args:
        place: Folder of a train stage, its checkpoint, or a copy of that file.
        base: Class of the method, or one above it.
        device: Where the method computes.
        modules: Modules that the checkpoint may name, besides this package and that of `base`
            (`named_code`). Those in the working directory are found too.
        **changed: Hyper-parameters that differ from those in the checkpoint.

    Returns:
        The method in evaluation mode, with the `prediction_settings` of its checkpoint.

    Raises:
        FileNotFoundError: no checkpoint, or no CLIP.
        ValueError: a checkpoint that is damaged, foreign, or of another class; one without hyper-parameters
            outside of its stage; hyper-parameters that its class does not take; or code that the caller
            did not name.
    """
    path, stage = find_checkpoint(place)
    device = _device(device)
    checkpoint = read_checkpoint(path)
    try:
        check_checkpoint(checkpoint, None, None)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    record = checkpoint["wsss_bench"]
    arguments, prediction = _settings_of(checkpoint, path, stage)
    kind = find_class(record["method"], base, modules, path)
    lost = [name for name in record.get("not_kept", ()) if name not in changed]
    if lost:
        raise ValueError(
            f"{path}: {kind.__name__} was built with objects that a checkpoint cannot hold; give "
            f"{', '.join(lost)} again, as arguments"
        )
    own = (kind.__module__.partition(".")[0], *modules)  # the caller named it, or it is this package
    refuse_foreign({k: v for k, v in arguments.items() if k not in (*changed, "weights")}, own, path)
    arguments = {"class_names": record["class_names"], **arguments, **changed}
    if not kind.open_vocabulary and list(arguments["class_names"]) != list(record["class_names"]):
        raise ValueError(
            f"{kind.__name__} predicts the classes of its training ({', '.join(record['class_names'])}); got "
            f"{', '.join(arguments['class_names'])}; leave class_names out, or train on these"
        )
    method = _build(kind, arguments, path)
    try:
        method.on_load_checkpoint(checkpoint)
        method.prediction_settings = PredictionSettings.from_plain(prediction)
    except (ArgumentError, TypeError, ValueError) as error:
        raise ValueError(f"{path}: {error}") from error
    load_state(method, checkpoint["state_dict"], path)
    if not prediction and (kind.makes("seed") or kind.makes("segmentation")):
        warnings.warn(
            f"{stage} is of an earlier version and does not say how its method predicts: the defaults of "
            "`wsss-bench predict` are used; assign other prediction_settings",
            stacklevel=3,
        )
    return method.eval().to(device)


def find_checkpoint(place: Path) -> tuple[Path, Path | None]:
    """The checkpoint file at a place, and the folder of its train stage if it lies in one.

    Raises:
        FileNotFoundError: there is none.
        ValueError: it is damaged: it is not what the stage wrote.
    """
    if not place.is_dir():
        stage = place.parent.parent
        known = any((stage / name).is_file() for name in (PLAN_FILE, CONFIG_FILE))
        return place, stage if known and place.parent.name == LAST.parent.name else None
    if (place / LAST).is_file():
        check_file(place, LAST)
        return place / LAST, place
    train = _read_yaml(place / PLAN_FILE).get("checkpoint")
    hint = f"it is a stage that predicts with {train}; name that one" if train else "name a train stage"
    raise FileNotFoundError(f"{place} has no {LAST}; {hint}, or a checkpoint")


def find_class(name: str, base: type[Trained], modules: Sequence[str], path: Path) -> type[Trained]:
    """The class of a name, imported if the caller named its module or has imported it.

    Args:
        name: Its module and name.
        base: The class, or one above it.
        modules: Modules that may be imported besides this package and that of `base`.
        path: The checkpoint, for messages.

    Raises:
        ValueError: it cannot be imported, may not be, or is another one.
    """
    if name == qualified_name(base):
        return base
    module = name.rpartition(".")[0]
    if module not in sys.modules and not is_admitted(name, (base.__module__.partition(".")[0], *modules)):
        raise foreign(name, path)
    try:
        kind = import_class(name)
    except ValueError as error:
        raise ValueError(f"checkpoint {path}: {error}") from error
    if not issubclass(kind, base):
        raise ValueError(f"checkpoint {path} is of {name}, which is no {base.__name__}; use wsss_bench.load")
    return kind


def _settings_of(
    checkpoint: dict[str, Any], path: Path, stage: Path | None
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Arguments of the method and its prediction settings: of the checkpoint, else of its stage."""
    if HYPER_PARAMETERS in checkpoint:
        return checkpoint[HYPER_PARAMETERS], _renewed(checkpoint["wsss_bench"].get("prediction", {}))
    config = {} if stage is None else _config_of(stage)
    if not config.get("model"):
        raise ValueError(
            f"checkpoint {path} was written by an earlier version and does not say how its method is built; "
            "name its stage folder, which does, or train again"
        )
    prediction = (config.get("stage") or {}).get("prediction") or {}
    if not prediction and config.get("inference"):
        threshold = (config.get("bench") or {}).get("threshold")
        prediction = {"inference": config["inference"], "threshold": threshold}
    return config["model"].get("init_args") or {}, prediction


def _renewed(prediction: dict[str, Any]) -> dict[str, Any]:
    """The prediction settings of a checkpoint, which earlier versions wrote too.

    They wrote the upper limit `long_side` into all checkpoints. Without a short side it now resizes.
    """
    inference = prediction.get("inference")
    if not inference or "stretch_to" in inference or inference.get("short_side") is not None:
        return prediction
    return {**prediction, "inference": {k: v for k, v in inference.items() if k != "long_side"}}


def _config_of(stage: Path) -> dict[str, Any]:
    """The configuration of a stage: resolved, as its manifest or `config.yaml` has it, and its plan."""
    resolved = find_manifest(stage).get("config") or _read_yaml(stage / CONFIG_FILE)
    plan = _read_yaml(stage / PLAN_FILE)
    return {**plan, **resolved, "stage": plan.get("stage") or resolved.get("stage")}


def _read_yaml(path: Path) -> dict[str, Any]:
    """Content of a YAML file with a mapping; empty if there is none."""
    content = yaml.safe_load(path.read_text(encoding="utf-8")) if path.is_file() else None
    return content if isinstance(content, dict) else {}


def _build(kind: type[Trained], arguments: dict[str, Any], path: Path) -> Trained:
    """The method without pretrained weights, unless a network that is in no checkpoint has them."""
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(kind, "model", fail_untyped=False)
    takes_weights = "model.weights" in parser.get_defaults()  # also where `**kwargs` passes it on

    def build(content: dict[str, Any]) -> Trained:
        return parser.instantiate(parser.parse_object({"model": content})).model

    try:
        method = build({**arguments, "weights": None} if takes_weights else arguments)
        held = [module.network for module in method.modules() if isinstance(module, Frozen)]
        if takes_weights and not all(isinstance(network, CLIP) for network in held):
            method = build(arguments)
    except (ArgumentError, TypeError) as error:
        raise ValueError(
            f"checkpoint {path}: {kind.__name__} cannot be built from its hyper-parameters "
            f"({' '.join(str(error).split())}); use the version that wrote it, or correct the arguments given"
        ) from error
    except OSError as error:
        if "clip" not in arguments:
            raise
        raise FileNotFoundError(
            f"{kind.__name__} needs its frozen CLIP {arguments['clip']!r}, which is not in checkpoint {path} "
            f"and cannot be read ({first_sentence(error)}); download it, or give clip, its folder"
        ) from error
    return method


def _device(device: torch.device | str) -> torch.device:
    try:
        found = torch.device(device)
        torch.empty(0, device=found)
    except (RuntimeError, AssertionError) as error:
        raise ValueError(
            f"device {str(device)!r} cannot be used ({first_sentence(error)}); expected cpu, or cuda on a "
            "machine with a GPU"
        ) from error
    return found
