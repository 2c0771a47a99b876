"""Loads weights that others have trained: checkpoints of timm and torchvision, whole or without classifier.

A checkpoint on disk is rarely the bare state of the network that is built here. It may lie in a container
(`state_dict`), its names may have a prefix (`module.`), and it holds a classifier that no method uses. All of
this is undone, and one printed sentence tells what was done. Any other difference is an error, so that no
part of a network keeps random weights without a word.
"""

from __future__ import annotations

import argparse
import pickle
import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

CONTAINERS = ("state_dict_ema", "model_ema", "state_dict", "model")
"""Keys under which training code stores the weights; the averaged ones come first, as in timm."""
WRAPPERS = ("module", "_orig_mod")
"""Prefixes of a whole network (DataParallel, torch.compile)."""
PARTS = ("model", "backbone", "encoder")
"""Prefixes of a network that is a part of something larger; what lies beside it is left out."""
CLASSIFIERS = ("fc", "head", "head_dist", "heads", "classifier", "pre_logits")
"""Names of classifiers, and of layers that only the classifier reads, in timm and torchvision."""
SHOWN = 5
TORCHVISION_VIT = (
    (r"^class_token$", "cls_token"),
    (r"^conv_proj\.", "patch_embed.proj."),
    (r"^encoder\.pos_embedding$", "pos_embed"),
    (r"^encoder\.ln\.", "norm."),
    (r"^encoder\.layers\.encoder_layer_(\d+)\.", r"blocks.\1."),
    (r"\.ln_([12])\.", r".norm\1."),
    (r"\.self_attention\.in_proj_", ".attn.qkv."),
    (r"\.self_attention\.out_proj\.", ".attn.proj."),
    (r"\.mlp\.(0|linear_1)\.", ".mlp.fc1."),
    (r"\.mlp\.(3|linear_2)\.", ".mlp.fc2."),
)
"""Names of torchvision's ViT, as patterns, and those of timm's. ResNets and VGGs have equal names in both."""

State = dict[str, Tensor]


def load_weights(network: nn.Module, path: str | Path, unused: Collection[str] = ()) -> None:
    """Load a checkpoint of timm or torchvision into a network without classifier, and print what was done.

    Args:
        network: The network, with timm's parameter names.
        path: `.safetensors`, or a file of `torch.save`, which is read without unpickling code.
        unused: Names of the architecture that `network` was built without; they are left out.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: not a checkpoint, or names or shapes differ in more than the classifier; the message has
            up to five names of each kind.
    """
    state, steps = read_state(path)
    own = network.state_dict()
    state, prefix_steps = _without_prefix(state, own)
    state = _with_timm_names(state)
    classifier = sorted(key for key in state if key not in own and _first(key) in CLASSIFIERS)
    idle = sorted(key for key in state if key not in own and key in unused)
    state = {key: value for key, value in state.items() if key not in {*classifier, *idle}}
    _check(state, own, path)
    steps += prefix_steps
    if classifier:
        steps.append(f"without the classifier ({_listed(classifier)})")
    if idle:
        steps.append(f"without layers that are not used ({_listed(idle)})")
    network.load_state_dict(state, strict=False)
    print(f"weights: {len(state)} tensors of {path}{', '.join(['', *steps])}", flush=True)


def read_state(path: str | Path) -> tuple[State, list[str]]:
    """Read the tensors of a checkpoint, and say in which containers they were.

    Raises:
        FileNotFoundError, ValueError: as in `load_weights`.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(
            f"weights: there is no file {str(path)!r}; give the path of a checkpoint of timm or torchvision, "
            "`imagenet`, or null for random weights"
        )
    content = _read(path)
    steps: list[str] = []
    if isinstance(content, dict) and "wsss_bench" in content:
        raise ValueError(
            f"weights: {path} is a checkpoint of wsss_bench; a training starts from another one by "
            "bench.warm_start (a method) or --warm_start (a train stage)"
        )
    while isinstance(content, dict) and (key := next((k for k in CONTAINERS if _holds(content, k)), "")):
        content = content[key]
        steps.append(f"from {key!r}")
    named = content.items() if isinstance(content, dict) else ()
    tensors = {str(key): value for key, value in named if isinstance(value, Tensor)}
    if not tensors:
        found = ", ".join(map(str, content)) if isinstance(content, dict) else type(content).__name__
        raise ValueError(
            f"weights: {path} holds no tensors by name (found: {found[:200]}); give the state_dict of a "
            f"network, bare or under one of {', '.join(CONTAINERS)}"
        )
    return tensors, steps


def _read(path: Path) -> Any:
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        # timm stores the arguments of its training script in its checkpoints; a Namespace runs no code
        with torch.serialization.safe_globals([argparse.Namespace]):
            return torch.load(path, map_location="cpu", weights_only=True)
    except (SafetensorError, pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError) as error:
        # torch adds how to read it all the same, which would run code
        reason = str(error).strip().partition("\n")[0].partition(". ")[0] or type(error).__name__
        raise ValueError(
            f"weights: {path} is not a checkpoint that can be read without running code ({reason}); it may "
            "be damaged, of another format, or hold more than tensors: save the state_dict alone"
        ) from error


def _holds(content: Mapping[Any, Any], key: str) -> bool:
    """Whether a container has weights under a key; `model` can also be the name of a submodule's tensor."""
    return isinstance(content.get(key), Mapping) and bool(content[key])


def _without_prefix(state: State, own: State) -> tuple[State, list[str]]:
    """Remove the prefix under which most names are those of `own`, or of torchvision's ViT."""
    words = "|".join((*WRAPPERS, *PARTS))
    prefixes = {match[0] for key in state if (match := re.match(rf"(?:(?:{words})\.)+", key))}
    # `a.b.` may be a prefix of two words, or a prefix `a.` and a part `b` of the network
    prefixes |= {".".join(p.split(".")[:n]) + "." for p in prefixes for n in range(1, p.count("."))}

    def hits(prefix: str) -> int:
        stripped = {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}
        return len(_with_timm_names(stripped).keys() & own.keys())

    best = max(["", *sorted(prefixes, key=len)], key=hits)
    if not best:
        return state, []
    kept = {key.removeprefix(best): value for key, value in state.items() if key.startswith(best)}
    beside = sorted(key for key in state if not key.startswith(best))
    if not set(best.rstrip(".").split(".")) & set(PARTS):
        return {**kept, **{key: state[key] for key in beside}}, [f"prefix {best!r} removed"]
    also = f", {len(beside)} tensors beside it left out ({_listed(beside)})" if beside else ""
    return kept, [f"prefix {best!r} removed{also}"]


def _with_timm_names(state: State) -> State:
    """Rename the parameters of torchvision's ViT; others are returned unchanged."""
    if not {"class_token", "conv_proj.weight"} <= state.keys():
        return state
    renamed = {}
    for key, value in state.items():
        for pattern, name in TORCHVISION_VIT:
            key = re.sub(pattern, name, key)
        renamed[key] = value
    return renamed


def _check(state: State, own: State, path: str | Path) -> None:
    """Raise an error for names or shapes that differ, apart from classifiers."""
    missing = [key for key in own if key not in state and not _may_be_missing(key)]
    unexpected = [key for key in state if key not in own]
    shapes = [
        f"{key} {tuple(state[key].shape)} for {tuple(own[key].shape)}"
        for key in state
        if key in own and state[key].shape != own[key].shape
    ]
    differences = {"missing": missing, "unexpected": unexpected, "of another shape": shapes}
    if any(differences.values()):
        told = "; ".join(f"{len(keys)} {kind}: {_listed(keys)}" for kind, keys in differences.items() if keys)
        raise ValueError(
            f"weights: {path} is not a checkpoint of this architecture ({told}); set backbone to the model "
            "that it was trained as, or give another file"
        )


def _may_be_missing(key: str) -> bool:
    """Layers that only a classifier reads, and counters that old checkpoints lack."""
    return _first(key) in CLASSIFIERS or key.endswith("num_batches_tracked")


def _first(key: str) -> str:
    return key.partition(".")[0]


def _listed(names: Sequence[str]) -> str:
    more = f", and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
