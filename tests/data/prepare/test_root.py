"""The place that is written: full, read-only, a file, or in use."""

import errno
import os
from types import SimpleNamespace

import official_archives as official
import pytest

from wsss_bench.artifacts import disk, files
from wsss_bench.artifacts.locks import locked
from wsss_bench.data.prepare import space
from wsss_bench.data.sources.voc import VOC


@pytest.fixture
def folder(tmp_path):
    official.write_voc(tmp_path / "archives")
    return tmp_path / "root" / "VOCdevkit" / "VOC2012"


def test_the_disk_becomes_full_and_the_same_command_goes_on(prepare, folder, monkeypatch):
    replace, left = os.replace, [9]

    def full(source, target):
        left[0] -= 1
        if left[0] < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(source))
        replace(source, target)

    monkeypatch.setattr(files.os, "replace", full)
    status, _, err = prepare("voc")
    assert status == 1
    assert "the disk is full" in err
    assert "free some space and run the same command again" in err
    monkeypatch.undo()
    assert not list(folder.rglob("*.tmp"))
    assert prepare("voc")[0] == 0
    assert len(VOC(folder).ids("train_aug")) == 4


def test_too_little_space_is_said_before_anything_is_written(prepare, folder, monkeypatch):
    full = SimpleNamespace(f_bavail=20, f_frsize=1000, f_files=0, f_favail=0)
    monkeypatch.setattr(disk.os, "statvfs", lambda _: full)
    status, _, err = prepare("voc")
    assert status == 1
    assert "has 20 kB free" in err
    assert "are needed" in err
    assert not (folder / "JPEGImages").exists()


def test_a_file_in_the_place_of_the_root(prepare, folder):
    folder.parents[1].write_text("")
    status, _, err = prepare("voc")
    assert status == 1
    assert f"since {folder.parents[1]} is a file; name another --root" in err


def test_a_root_that_cannot_be_written(prepare, folder, monkeypatch):
    def refuse(self, *arguments, **options):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(self))

    monkeypatch.setattr(space.Path, "mkdir", refuse)
    status, _, err = prepare("voc")
    assert status == 1
    assert "is on a read-only file system" in err


def test_two_at_once(prepare, folder):
    folder.mkdir(parents=True)
    with locked(folder, "data"):
        status, _, err = prepare("voc")
    assert status == 1
    assert "another process is working in" in err


def test_sizes_in_words():
    assert [disk.size_text(n) for n in (0, 12_345, 23_456_789, 1_419_539_633)] == [
        "0 kB", "12 kB", "23.5 MB", "1.42 GB",
    ]  # fmt: skip
