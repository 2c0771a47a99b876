"""Which errors get a sentence, which keep their traceback, and what the sentences name."""

from __future__ import annotations

import csv
import errno
import json
import os
from pathlib import Path

import jsonargparse
import pytest
import torch
import yaml
from torch.utils.data import DataLoader, Dataset

from wsss_bench import cli
from wsss_bench.errors import FILE_SYSTEM, explain
from wsss_bench.methods.base import Method
from wsss_bench.ranges import check_range


class InductorError(RuntimeError):
    """As of torch, which is slow to import."""


def error_of(function, *arguments):
    try:
        function(*arguments)
    except BaseException as error:
        return error
    raise AssertionError("no error")


def raising(error):
    def function(*_):
        raise error

    return function


@pytest.mark.parametrize("number", FILE_SYSTEM, ids=errno.errorcode.get)
def test_an_error_of_the_file_system_names_the_file(number):
    sentence = explain(error_of(raising(OSError(number, os.strerror(number), "/data/list.txt"))))
    assert "/data/list.txt" in sentence


def test_an_error_without_a_file_name_takes_the_file_that_was_open(tmp_path):
    def lock(path: Path):
        with open(path, "w") as file:  # noqa: F841
            raise OSError(errno.ENOLCK, "No locks available") from None

    assert explain(error_of(lock, tmp_path / ".lock")).startswith(
        f"the file system of {tmp_path}/.lock gives"
    )


@pytest.mark.parametrize("read", [Path.read_text, lambda path: list(csv.reader(path.open()))])
def test_text_that_is_not_utf8_is_named(tmp_path, read):
    path = tmp_path / "labels.csv"
    path.write_bytes(b"image,classes\n\xff\n")
    assert (
        explain(error_of(read, path))
        == f"{path} is not UTF-8 text (byte 14: invalid start byte); save it as UTF-8"
    )


def test_json_and_yaml_name_file_and_line(tmp_path):
    path = tmp_path / "x"
    path.write_text("{'a\n")
    assert f"{path} is not valid JSON" in explain(error_of(lambda p: json.loads(p.read_text()), path))
    assert "line 2" in explain(error_of(lambda p: yaml.safe_load(p.read_text()), path))


def test_a_message_of_this_package_is_the_sentence():
    assert (
        explain(error_of(check_range, "x", 2, 0, 1))
        == "x is 2; expected a whole number at least 0 and at most 1"
    )


@pytest.mark.parametrize(
    "bug",
    [
        lambda: {}["key"],
        lambda: None + 1,
        lambda: int("x"),
        lambda: torch.zeros(2) @ torch.zeros(3, 4),
        lambda: [].pop(),
        raising(ValueError("of a library")),
        raising(NotImplementedError("x")),
    ],
)
def test_a_bug_keeps_its_traceback(bug, monkeypatch):
    assert explain(error_of(bug)) is None
    monkeypatch.setattr("wsss_bench.bench.command.make_plan", lambda *_: bug())
    with pytest.raises(type(error_of(bug))):
        cli.main(["bench", "x.yaml", "--dry-run"])


def test_what_this_package_says_of_a_foreign_error_is_the_sentence(monkeypatch):
    """Not the first error of the chain, such as that of a network, in the words of another package."""

    def no_network(*_, **__):
        try:
            raise RuntimeError("[Errno -2] Name or service not known")
        except RuntimeError as first:
            raise OSError("cannot find the requested files") from first

    monkeypatch.setattr("timm.create_model", no_network)
    config = {"class_path": "wsss_bench.methods.cam.CAM", "init_args": {"class_names": ["a"]}}
    parser = jsonargparse.ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(Method, "model")
    said = explain(error_of(lambda: parser.instantiate(parser.parse_object({"model": config}))))
    assert said is not None
    assert "no weights of 'resnet50.tv_in1k' on this machine" in said
    assert "Name or service" not in said


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"), "global_batch_size"),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"), "fewer jobs"),
        (MemoryError(), "out of memory"),
        (RuntimeError("DataLoader worker (pid 7) is killed by signal: Bus error."), "/dev/shm"),
        (RuntimeError("No CUDA GPUs are available"), "trainer: cpu"),
        (torch.AcceleratorError("CUDA error: no CUDA-capable device is detected", 100), "trainer: cpu"),
        (torch.AcceleratorError("CUDA error: device-side assert triggered", 710), None),
        (torch.AcceleratorError("CUDA error: an illegal memory access was encountered", 700), None),
        (InductorError("InvalidCxxCompiler: No working C++ compiler found in (None, 'g++')"), "CXX"),
        (InductorError("LoweringException: a bug of torch"), None),
        (KeyboardInterrupt(), None),
    ],
)
def test_errors_of_other_packages(error, words):
    sentence = explain(error_of(raising(error)))
    assert sentence is None if words is None else words in sentence


def test_ctrl_c_ends_with_its_own_status(monkeypatch, capsys):
    monkeypatch.setattr("wsss_bench.bench.command.make_plan", raising(KeyboardInterrupt()))
    assert cli.main(["bench", "x.yaml", "--dry-run"]) == 130
    assert capsys.readouterr().err == "wsss-bench bench: stopped\n"


class Broken(Dataset):
    """Its items are out of range, or have a bug."""

    def __init__(self, bug: bool) -> None:
        self.bug = bug

    def __len__(self) -> int:
        return 1

    def __getitem__(self, index: int) -> int:
        if self.bug:
            return {}["key"]
        check_range("item", 2, 0, 1)
        return 0


def test_an_error_in_a_loader_process_is_the_sentence_and_a_bug_is_not():
    def load(bug: bool):
        return list(DataLoader(Broken(bug), num_workers=1))

    assert explain(error_of(load, False)) == "item is 2; expected a whole number at least 0 and at most 1"
    assert explain(error_of(load, True)) is None
