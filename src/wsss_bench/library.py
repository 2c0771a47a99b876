"""The package as a library: trained methods in Python."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from wsss_bench.methods.base import Method
from wsss_bench.methods.loading import load_method


def load(
    place: Path | str,
    device: torch.device | str = "cpu",
    class_names: Sequence[str] | None = None,
    modules: Sequence[str] = (),
    **changed: Any,
) -> Method:
    """A trained method, segmenter or network of a refiner, ready for `predict`.

    Args:
        place: Folder of a train stage, its `checkpoints/last.ckpt`, or a copy of that file anywhere.
        device: Where it computes.
        class_names: The classes to predict, for an open-vocabulary method; None for those of the training.
        modules: Modules of your own that the checkpoint may import and call, such as `my_methods`; without
            them it names code of this package only. A module that you have imported needs no name.
        **changed: Hyper-parameters that differ from those in the checkpoint, such as `clip`, the folder of a
            CLIP that has moved.

    Returns:
        The method in evaluation mode, with the `prediction_settings` of its checkpoint.

    Raises:
        FileNotFoundError: no checkpoint there, or no CLIP.
        ValueError: a damaged or foreign checkpoint, code that cannot be imported or that you did not name,
            classes that the method was not trained on, or no such device.
    """
    if class_names is not None:
        changed["class_names"] = [class_names] if isinstance(class_names, str) else list(class_names)
    modules = [modules] if isinstance(modules, str) else modules
    return load_method(Path(place), Method, device, modules, **changed)
