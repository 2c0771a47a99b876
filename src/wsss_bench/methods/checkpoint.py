"""Reads the checkpoints of train stages; whatever is wrong with one is said with its file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

SHOWN_KEYS = 5


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint of a train stage. Code in it is not run (`weights_only`).

    Its tensors are mapped from the file, not copied into memory.

    Raises:
        FileNotFoundError: no such file.
        ValueError: an empty, truncated or foreign file.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no checkpoint at {path}; run the train stage that writes it first")
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except PermissionError:
        raise
    except Exception as error:  # of torch, zipfile or pickle, depending on where the file is broken
        what = "is empty" if path.stat().st_size == 0 else "is truncated, damaged or no checkpoint"
        raise ValueError(
            f"checkpoint {path} {what} ({first_sentence(error)}); run the train stage that writes it again"
        ) from error
    if not isinstance(checkpoint, dict) or not isinstance(checkpoint.get("state_dict"), dict):
        raise ValueError(
            f"{path} holds no `state_dict` and is no checkpoint of a train stage; name its "
            "checkpoints/last.ckpt, or give other weights as model.init_args.weights"
        )
    return checkpoint


def load_state(module: nn.Module, state: dict[str, Tensor], path: Path) -> None:
    """Load all tensors of a checkpoint into a module.

    Args:
        module: The module.
        state: Its tensors, by name.
        path: Where they come from, for messages.

    Raises:
        ValueError: tensors that are missing, left over or of another shape; up to five of each are named.
    """
    own = module.state_dict()
    shapes = [
        f"{name} {tuple(state[name].shape)} instead of {tuple(own[name].shape)}"
        for name in own
        if name in state and own[name].shape != state[name].shape
    ]
    missing = [name for name in own if name not in state]
    left_over = [name for name in state if name not in own]
    complaints = [
        f"{len(names)} tensors {what} ({', '.join(names[:SHOWN_KEYS] + ['...'] * (len(names) > SHOWN_KEYS))})"
        for what, names in (("missing", missing), ("left over", left_over), ("of another shape", shapes))
        if names
    ]
    if complaints:
        raise ValueError(
            f"checkpoint {path} does not fit {type(module).__name__}: {'; '.join(complaints)}. It was "
            "trained with another backbone or other arguments; use those in the configuration, or train again"
        )
    module.load_state_dict(state)


def check_checkpoint(
    checkpoint: dict[str, Any], method: str | None, class_names: Sequence[str] | None
) -> None:
    """Raise an error for the checkpoint of another method or of other classes.

    Args:
        checkpoint: Content of a checkpoint file.
        method: Qualified name of the method that must have written it; None for any method (warm starts).
        class_names: Foreground classes that it must have been trained on, in this order; None for any
            classes.

    Raises:
        ValueError: the file was not written by wsss_bench, or by another method, or has another class list.
    """
    origin = checkpoint.get("wsss_bench")
    if not isinstance(origin, dict) or not {"method", "class_names"} <= origin.keys():
        raise ValueError(
            "the checkpoint was not written by wsss_bench; give the `last.ckpt` of a train stage"
        )
    if method is not None and origin["method"] != method:
        raise ValueError(
            f"the checkpoint is of {origin['method']}, but the config asks for {method}; change one of them"
        )
    if class_names is not None and tuple(origin["class_names"]) != tuple(class_names):
        raise ValueError(
            f"the checkpoint has {len(origin['class_names'])} classes ({', '.join(origin['class_names'])}), "
            f"the data source has {len(class_names)} ({', '.join(class_names)}); train on this source, or "
            "change data.source"
        )


def qualified_name(kind: type) -> str:
    """Module and name of a class."""
    return f"{kind.__module__}.{kind.__qualname__}"


def first_sentence(error: Exception) -> str:
    """What another package says about an error, shortened."""
    text = " ".join(str(error).split(". ")[0].split())[:120]
    return text if " " in text else type(error).__name__
