"""Damaged checkpoints never block a training, and two of them are kept until it is complete."""

from __future__ import annotations

import os
import zipfile

import pytest
import torch

from wsss_bench.artifacts.layout import LAST
from wsss_bench.stages.checkpoints import (
    NEXT,
    PREVIOUS,
    AtomicCheckpointIO,
    keep_newest,
    newest_checkpoint,
)


def content(epoch):
    weights = torch.full((1000,), 7.0)
    return {"epoch": epoch, "global_step": epoch, "state_dict": {"w": weights}, "optimizer_states": [],
            "lr_schedulers": [], "loops": {}, "wsss_bench": {"method": "m"}}  # fmt: skip


def accept(checkpoint):
    if checkpoint["wsss_bench"]["method"] != "m":
        raise ValueError("the checkpoint is of another method")


@pytest.fixture
def stage(tmp_path):
    """A train stage that was interrupted after its second epoch."""
    for epoch in (0, 1):
        AtomicCheckpointIO().save_checkpoint(content(epoch), tmp_path / LAST)
    return tmp_path


def not_torch(path):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a", "b")


def flip(path):
    data = bytearray(path.read_bytes())
    middle = data.find(torch.full((4,), 7.0).numpy().tobytes())  # in the weights, where torch sees nothing
    data[middle : middle + 4] = b"abcd"
    path.write_bytes(data)


DAMAGES = {
    "empty": lambda path: path.write_bytes(b""),
    "text": lambda path: path.write_text("not a checkpoint\n" * 100),
    "half": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    "without its last byte": lambda path: path.write_bytes(path.read_bytes()[:-1]),
    "zeros": lambda path: path.write_bytes(bytes(path.stat().st_size)),
    "another zip": not_torch,
    "flipped": flip,
    "a tensor": lambda path: torch.save(torch.zeros(3), path),
    "weights only": lambda path: torch.save({"state_dict": {}}, path),
    "an object": lambda path: torch.save({**content(1), "loops": object}, path),
    "another method": lambda path: torch.save({**content(1), "wsss_bench": {"method": "n"}}, path),
}


def test_the_two_newest_are_kept(stage):
    AtomicCheckpointIO().save_checkpoint(content(2), stage / LAST)
    epochs = {
        path.name: torch.load(path, weights_only=True)["epoch"] for path in (stage / LAST).parent.iterdir()
    }
    assert epochs == {"last.ckpt": 2, "previous.ckpt": 1}
    assert newest_checkpoint(stage, accept) == (stage / LAST, [])
    keep_newest(stage, stage / LAST)
    assert [path.name for path in (stage / LAST).parent.iterdir()] == ["last.ckpt"]
    (stage / LAST).unlink()
    with pytest.raises(ValueError, match="ended without a checkpoint"):
        keep_newest(stage, None)


@pytest.mark.parametrize("name", DAMAGES)
def test_a_damaged_checkpoint_gives_way_to_the_one_before(name, stage):
    DAMAGES[name](stage / LAST)
    path, complaints = newest_checkpoint(stage, accept)
    assert path == stage / PREVIOUS
    assert str(stage / LAST) in complaints[0]
    assert complaints[1:] == [f"the training goes on from {stage / PREVIOUS}, after 0 steps"]
    DAMAGES[name](stage / PREVIOUS)
    path, complaints = newest_checkpoint(stage, accept)
    assert path is None
    assert len(complaints) == 3
    assert complaints[-1] == "the training starts again from its beginning"


def test_nothing_is_said_about_a_training_that_is_new(tmp_path):
    assert newest_checkpoint(tmp_path, accept) == (None, [])


@pytest.mark.parametrize("kill_at", [1, 2])
def test_a_kill_between_the_renames_loses_nothing(kill_at, stage, monkeypatch):
    renames = []

    def replace(old, new, replace=os.replace):
        if new != stage / NEXT:
            renames.append(new)
            if len(renames) == kill_at:
                raise KeyboardInterrupt
        replace(old, new)

    monkeypatch.setattr(os, "replace", replace)
    with pytest.raises(KeyboardInterrupt):
        AtomicCheckpointIO().save_checkpoint(content(2), stage / LAST)
    path, complaints = newest_checkpoint(stage, accept)
    assert complaints == []
    assert path is not None
    assert torch.load(path, weights_only=True)["epoch"] == 2


def test_a_file_that_may_not_be_read_is_not_a_damaged_one(stage, monkeypatch):
    def refuse(path, *arguments, open=open):
        if path == stage / LAST:
            raise PermissionError(13, "Permission denied", str(path))
        return open(path, *arguments)

    monkeypatch.setattr("builtins.open", refuse)
    with pytest.raises(PermissionError):
        newest_checkpoint(stage, accept)
