"""Shards: records survive a kill, a cut and damage; several processes write side by side."""

import multiprocessing
import os
import signal
from contextlib import suppress

import pytest

from wsss_bench.artifacts import shards
from wsss_bench.artifacts.shards import ShardWriter, find_records

IDS = ["a", "b", "deep/c", "ä" * 300]


def write(folder, ids=IDS, rank=0):
    with ShardWriter(folder, rank) as writer:
        for image_id in ids:
            writer.append(image_id, {"length": len(image_id)}, {"x": image_id.encode() * 9, "y": b"why"})


def read(folder):
    return {
        name: records[0].read(["x"])[1]["x"].decode()[: len(name)]
        for name, records in find_records(folder).items()
    }


def test_records_come_back_and_only_the_parts_that_are_asked_for(tmp_path):
    assert not find_records(tmp_path / "none")
    write(tmp_path)
    assert os.listdir(tmp_path) == ["0-00000.seeds"]
    assert read(tmp_path) == {name: name for name in IDS}
    header, parts = find_records(tmp_path)["deep/c"][0].read(["y", "z"])
    assert (header["id"], header["length"], parts) == ("deep/c", 6, {"y": b"why"})


def test_each_cut_leaves_the_whole_records_and_the_next_writer_goes_on(tmp_path):
    write(tmp_path / "whole")
    whole = (tmp_path / "whole" / "0-00000.seeds").read_bytes()
    ends = [records[0].end for records in find_records(tmp_path / "whole").values()]
    assert ends[-1] == len(whole)
    shard = tmp_path / "cut" / "0-00000.seeds"
    shard.parent.mkdir()
    for length in [0, 1, 11, *range(12, len(whole), 7), len(whole)]:
        shard.write_bytes(whole[:length])
        present = [name for name, end in zip(IDS, ends, strict=True) if end <= length]
        assert list(find_records(shard.parent)) == present
        write(shard.parent, IDS[len(present) :])
        assert shard.read_bytes() == whole


def test_a_damaged_byte_is_never_read_as_content(tmp_path):
    write(tmp_path)
    shard = tmp_path / "0-00000.seeds"
    whole = shard.read_bytes()
    for position in range(len(whole)):
        content = bytearray(whole)
        content[position] ^= 0x10
        shard.write_bytes(content)
        os.utime(shard, ns=(position, position))  # as far apart as in life
        for name, (record,) in find_records(tmp_path).items():
            assert name in IDS
            with suppress(ValueError):  # its checksum differs
                header, parts = record.read(["x", "y"])
                assert (header["id"], parts["x"]) == (name, name.encode() * 9)


def test_a_full_shard_is_followed_by_another_and_a_lost_one_is_made_again_alike(tmp_path, monkeypatch):
    monkeypatch.setattr(shards, "SHARD_BYTES", 300)
    ids = [f"{k:02}" for k in range(12)]
    write(tmp_path, ids)
    files = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert len(files) > 3
    assert all(300 <= len(content) < 600 for name, content in files.items() if name != max(files))
    (tmp_path / "0-00001.seeds").unlink()
    lost = [name for name in ids if name not in find_records(tmp_path)]
    assert 0 < len(lost) < 6
    write(tmp_path, lost)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == files


def test_ranks_and_a_process_that_is_not_quite_dead_write_side_by_side(tmp_path):
    writers = [ShardWriter(tmp_path, rank) for rank in (0, 1, 1)]
    for k in range(3):
        for position, writer in enumerate(writers):
            writer.append(f"{position}-{k}", {}, {"x": b"x"})
            assert f"{position}-{k}" in find_records(tmp_path)
    assert sorted(os.listdir(tmp_path)) == ["0-00000.seeds", "1-00000.seeds", "1-00001.seeds"]
    assert len(find_records(tmp_path)) == 9
    for writer in writers:
        writer.close()


def killed(folder):
    writer = ShardWriter(folder)
    for k in range(3):
        writer.append(str(k), {}, {"x": b"content"})
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_killed_process_loses_nothing_that_it_wrote(tmp_path):
    process = multiprocessing.get_context("fork").Process(target=killed, args=(tmp_path,))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert list(find_records(tmp_path)) == ["0", "1", "2"]


def test_a_later_record_of_an_image_replaces_an_earlier_one(tmp_path):
    for text in (b"first", b"second"):
        with ShardWriter(tmp_path) as writer:
            writer.append("a", {}, {"x": text})
    assert [record.read(["x"])[1]["x"] for record in find_records(tmp_path)["a"]] == [b"second", b"first"]


def test_a_full_disk_leaves_whole_records(tmp_path, monkeypatch):
    writer = ShardWriter(tmp_path)
    writer.append("a", {}, {"x": b"content"})
    real = os.write

    def half_then_full(file, content):
        if len(content) < 50:
            raise OSError(28, "No space left on device")
        return real(file, content[: len(content) // 2])

    monkeypatch.setattr(shards.os, "write", half_then_full)
    with pytest.raises(OSError, match="No space left"):
        writer.append("b", {}, {"x": b"content"})
    monkeypatch.setattr(shards.os, "write", real)
    writer.append("c", {}, {"x": b"content"})
    assert list(find_records(tmp_path)) == ["a", "c"]


def test_an_endless_id_is_refused(tmp_path):
    with ShardWriter(tmp_path) as writer, pytest.raises(ValueError, match="the header of 'xxx"):
        writer.append("x" * 70_000, {}, {})
