"""Checkpoints of a training: written atomically, two of them kept, and read only if they are intact.

`last.ckpt` is the newest. The one before it, `previous.ckpt`, stays until the training is complete: if the
newest is damaged (a machine that crashed, a copy that was cut off), the training goes on from there.
`next.ckpt` exists only between the two renames by which a new checkpoint takes its place.
"""

from __future__ import annotations

import os
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins import TorchCheckpointIO
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint

from wsss_bench.artifacts.files import write_atomically
from wsss_bench.artifacts.layout import LAST

NEXT, PREVIOUS = LAST.with_name("next.ckpt"), LAST.with_name("previous.ckpt")
NEEDED = ("epoch", "global_step", "state_dict", "optimizer_states", "lr_schedulers", "loops")
"""Keys without which a training cannot go on from a checkpoint."""


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes checkpoints atomically, and keeps the one before as `previous.ckpt`.

    Lightning's own implementation copies from a temporary folder, which may be on another file system.
    """

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any | None = None
    ) -> None:
        path = Path(path)
        new = path.with_name(NEXT.name)
        write_atomically(new, lambda file: torch.save(checkpoint, file))
        if path.is_file():
            os.replace(path, path.with_name(PREVIOUS.name))
        os.replace(new, path)


class LastCheckpoint(Checkpoint):
    """Writes the newest checkpoint: at the end of each epoch, and when it is told to.

    Lightning's ModelCheckpoint with `save_top_k=0` writes its last checkpoint at the end of the training only
    (2.6.6).

    Attributes:
        written: When the newest one was written, or the training began, on `time.monotonic`.
        step: The number of steps that were done then.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.save(trainer)

    def save(self, trainer: Trainer) -> None:
        """Write it; all ranks call this."""
        trainer.save_checkpoint(self.path)
        self.mark(trainer)

    def mark(self, trainer: Trainer) -> None:
        """Nothing is lost if the training ends here."""
        self.written, self.step = time.monotonic(), trainer.global_step


def newest_checkpoint(stage: Path, check: Callable[[dict[str, Any]], None]) -> tuple[Path | None, list[str]]:
    """The checkpoint that an interrupted training goes on from.

    Args:
        stage: Folder of the train stage.
        check: Raises `ValueError` for a checkpoint that belongs to something else.

    Returns:
        Its path, or None if there is no usable one; and a sentence about each file that could not be used.
    """
    complaints = []
    for name in (NEXT, LAST, PREVIOUS):
        path = stage / name
        if not path.is_file():
            continue
        try:
            steps = read_training(path, check)["global_step"]
        except ValueError as error:
            complaints.append(f"{error}; it is not used")
            continue
        if complaints:
            complaints.append(f"the training goes on from {path}, after {steps} steps")
        return path, complaints
    if complaints:
        complaints.append("the training starts again from its beginning")
    return None, complaints


def keep_newest(stage: Path, resumed_from: Path | None) -> None:
    """Leave only the newest checkpoint, as `last.ckpt`, when the training is complete.

    Args:
        stage: Folder of the train stage.
        resumed_from: The checkpoint that the training went on from. If it was already the end of the training
            and lay between the two renames, it has not been replaced.

    Raises:
        ValueError: there is no checkpoint.
    """
    if resumed_from == stage / NEXT and resumed_from.is_file():
        os.replace(resumed_from, stage / LAST)
    for name in (NEXT, PREVIOUS):
        (stage / name).unlink(missing_ok=True)
    if not (stage / LAST).is_file():
        raise ValueError(f"the training ended without a checkpoint in {stage}; it had no complete epoch")


def read_training(path: Path, check: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    """Read a checkpoint of a training, with its checksums.

    Its tensors are mapped from the file, not copied into memory.

    Raises:
        ValueError: it is empty, cut off, damaged, or no checkpoint of a training, or `check` refuses it.
        OSError: it cannot be opened.
    """
    with open(path, "rb"):  # a file that may not be read is not a damaged one
        pass
    try:
        with zipfile.ZipFile(path) as archive:  # torch itself does not compare the checksums
            damaged = archive.testzip()
        if damaged is not None:
            raise ValueError(f"the checksum of {damaged} is wrong")
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except Exception as error:  # whatever zipfile, pickle and torch make of arbitrary bytes
        raise ValueError(f"{path} is empty, cut off or damaged ({_first_line(error)})") from error
    lacking = [key for key in NEEDED if not isinstance(content, dict) or key not in content]
    if lacking:
        raise ValueError(f"{path} is not a checkpoint of a training (it lacks {', '.join(lacking)})")
    try:
        check(content)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    return content


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".splitlines()[0]
