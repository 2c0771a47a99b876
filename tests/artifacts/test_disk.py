"""A full disk is called so whatever library met it, and a deleted folder is not made again."""

from __future__ import annotations

import errno
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from wsss_bench.artifacts.disk import (
    DiskFull,
    FolderDeleted,
    WatchedFolder,
    full_disk,
    full_disk_in_log,
    naming_full_disk,
)
from wsss_bench.artifacts.run import StageInfo, open_stage

PIXELS = np.random.default_rng(0).integers(0, 256, (300, 300), np.uint8)
WRITERS = {
    "torch": lambda file: torch.save({"a": torch.rand(100_000)}, file),
    "numpy": lambda file: np.savez_compressed(file, a=PIXELS),
    "png": lambda file: Image.fromarray(PIXELS).save(file, format="PNG"),
    "text": lambda file: file.write(b"x" * 100_000),
}


@pytest.mark.parametrize("name", WRITERS)
def test_a_disk_that_is_really_full_is_recognised(name, tmp_path):
    """Every write to /dev/full fails as on a full disk."""
    with pytest.raises(Exception) as caught, open("/dev/full", "wb") as file:
        WRITERS[name](file)
    assert "the disk is full" in (full_disk(caught.value, tmp_path) or "")


@pytest.mark.parametrize(
    ("number", "words"), [(errno.ENOSPC, "the disk is full"), (errno.EDQUOT, "the disk quota is used up")]
)
def test_the_sentence_has_folder_and_free_space(number, words, tmp_path):
    def body():
        with open_stage(tmp_path, "train", {}, StageInfo()):
            try:
                raise OSError(number, "as the system says", str(tmp_path / "seeds.npz"))
            except OSError as error:  # as a pool does it
                raise ValueError("image 'a'") from error

    with pytest.raises(DiskFull, match=rf"{words}: {tmp_path} has \d+ MB free; free some space"):
        body()
    assert not (tmp_path / "stage.json").exists()


def test_other_errors_pass(tmp_path):
    with pytest.raises(PermissionError), naming_full_disk(tmp_path):
        raise PermissionError(errno.EACCES, "no")
    assert full_disk(ValueError("the disk is fine"), tmp_path) is None


def test_the_sentence_is_found_in_a_log(tmp_path):
    sentence = full_disk(OSError(errno.ENOSPC, "No space left on device"), tmp_path)
    log = f"epoch 1\nTraceback ...\nDiskFull: {sentence}\nwsss-bench fit: DiskFull: {sentence}\n"
    assert full_disk_in_log(log) == sentence
    assert full_disk_in_log("epoch 1") is None


def test_a_stage_whose_folder_was_deleted_ends_and_makes_it_not_again(tmp_path):
    out = tmp_path / "runs" / "stage"

    def body():
        with open_stage(out, "a", {}, StageInfo()) as run:
            run.progress(1, 10, "images")
            shutil.rmtree(tmp_path / "runs")
            run.progress(2, 10, "images")

    with pytest.raises(FolderDeleted, match="was deleted or replaced"):
        body()
    assert not (tmp_path / "runs").exists()


def test_a_folder_in_the_place_of_another_is_noticed(tmp_path):
    (tmp_path / "runs").mkdir()
    watched = WatchedFolder(tmp_path / "runs")
    watched.check()
    (tmp_path / "runs").rename(tmp_path / "old")
    (tmp_path / "runs").mkdir()
    with pytest.raises(FolderDeleted):
        watched.check()


@pytest.mark.parametrize("content", ["", "{", '{"wall_seconds": 3', "[]", '{"wall_seconds": null}', "\xff"])
def test_a_damaged_progress_file_costs_its_figures_only(content, tmp_path, capsys):
    (tmp_path / "progress.json").write_bytes(content.encode("latin-1"))
    with open_stage(tmp_path, "train", {}, StageInfo()) as run:
        assert run.cost()["wall_seconds"] < 1
    assert "the cost of earlier attempts is lost" in capsys.readouterr().out
