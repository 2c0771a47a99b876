"""`wsss-bench doctor`: what it says of machines that are not this one."""

from __future__ import annotations

from contextlib import nullcontext
from datetime import timedelta
from types import SimpleNamespace

import pytest
import torch
import torch.distributed as dist

from wsss_bench.cli import main
from wsss_bench.doctor import experiment, machine
from wsss_bench.doctor.verdict import Verdict, verdict_of
from wsss_bench.plan.config import DataFile, Protocol


@pytest.fixture
def driver(monkeypatch):
    """A machine with GPUs, as the driver and torch see them: (free, total) GiB of each."""

    def set_up(listed: list[str], memory: list[tuple[float, float]], bf16: bool = True) -> None:
        monkeypatch.setattr(machine, "_nvidia_smi", lambda query: listed)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: len(memory))
        monkeypatch.setattr(torch.cuda, "is_available", lambda: bool(memory))
        monkeypatch.setattr(torch.cuda, "get_device_name", lambda index: "NVIDIA A100")
        monkeypatch.setattr(
            torch.cuda, "mem_get_info", lambda index: tuple(int(gib * 2**30) for gib in memory[index])
        )
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: bf16)
        monkeypatch.setattr(torch.cuda, "device", lambda index: nullcontext())

    return set_up


def test_a_machine_without_gpus_has_nothing_to_check(driver):
    driver([], [])
    assert machine.gpus().kind == machine.bf16().kind == "left out"


def test_a_driver_whose_gpus_torch_does_not_see(driver):
    driver(["0, NVIDIA A100, 470.10"], [])
    found = machine.gpus()
    assert found.kind == "error"
    assert "1 GPU(s) (0, NVIDIA A100, 470.10), torch sees none" in found.words


def test_gpus_that_others_use_are_named(driver):
    driver(["0, NVIDIA A100, 550.54"] * 2, [(79, 80), (40, 80)])
    found = machine.gpus()
    assert found.kind == "warning"
    assert "2 x NVIDIA A100, driver 550.54" in found.words
    assert "GPU 1 (40.0 of 80 GiB)" in found.words
    driver(["0, NVIDIA A100, 550.54"] * 2, [(79, 80), (78, 80)])
    assert machine.gpus() == Verdict("ok", "2 x NVIDIA A100, driver 550.54")


def test_a_gpu_without_bfloat16(driver):
    driver(["0, NVIDIA V100, 550.54"], [(31, 32)], bf16=False)
    found = machine.bf16()
    assert found.kind == "error"
    assert "precision: 32-true" in found.words


@pytest.mark.parametrize(
    ("shared", "files", "cores", "kind", "words"),
    [
        (8.0, 4096, 8, "ok", "8 cores, 8.0 GiB of shared memory, 4096 open files"),
        (0.0625, 4096, 8, "warning", "--shm-size"),
        (8.0, 256, 8, "warning", "ulimit -n 4096"),
    ],
)
def test_loaders_need_cores_shared_memory_and_files(monkeypatch, driver, shared, files, cores, kind, words):
    driver([], [])
    monkeypatch.setattr(machine.os, "sched_getaffinity", lambda _: set(range(cores)))
    monkeypatch.setattr(machine.shutil, "disk_usage", lambda _: SimpleNamespace(total=shared * 2**30))
    monkeypatch.setattr(machine.resource, "getrlimit", lambda _: (files, files))
    found = machine.cores()
    assert found.kind == kind
    assert words in found.words


def test_a_slow_disk_is_a_warning_and_nothing_is_left_behind(tmp_path, monkeypatch):
    monkeypatch.setattr(machine, "SLOW_FILES", 1e9)
    found = machine.disk(tmp_path / "runs")
    assert found.kind == "warning"
    assert "give --runs a local disk" in found.words
    assert list((tmp_path / "runs").iterdir()) == []


@pytest.mark.slow
def test_two_ranks_add_up():
    found = machine.all_reduce()
    assert found.kind == "ok"
    assert "gloo: a sum over 2 ranks" in found.words


@pytest.mark.slow
def test_ranks_that_do_not_hear_of_each_other_are_an_error_in_time(monkeypatch):
    monkeypatch.setattr(machine, "_reduce", only_the_first)
    found = machine.all_reduce()
    assert found.kind == "error"
    assert "gloo: no sum over 2 ranks" in found.words
    assert "NCCL_DEBUG=INFO" in found.words


def test_a_gpu_that_torch_does_not_see_is_an_error(monkeypatch):
    monkeypatch.setattr(machine, "_nvidia_smi", lambda query: ["0, A100, 550", "1, A100, 550"])
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda index: (80, 80))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda index: "A100")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert machine.gpus() == Verdict(
        "error", "the driver has 2 GPUs, torch sees 1; `nvidia-smi` and `dmesg` say which is lost"
    )
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    assert machine.gpus().kind == "ok"


def only_the_first(rank: int, backend: str, ranks: int, store: str) -> None:
    """The other rank never comes."""
    if rank == 0:
        there = {"init_method": f"file://{store}", "rank": 0, "world_size": ranks}
        dist.init_process_group(backend, **there, timeout=timedelta(seconds=1))


def test_what_a_check_raises_is_an_error_of_its_own():
    def broken() -> Verdict:
        raise RuntimeError("NCCL error: unhandled system error")

    assert verdict_of(broken) == Verdict("error", "RuntimeError: NCCL error: unhandled system error")


def test_data_with_another_number_of_images(mini_data):
    source = {
        "class_path": "wsss_bench.data.sources.voc.VOC",
        "init_args": {"root": str(mini_data / "mini" / "voc"), "vocabulary": "mini"},
    }

    def found(counts, **more):
        protocol = Protocol("mini", counts, "train", ["val"], **more)
        return verdict_of(lambda: experiment.data(DataFile({"source": source}, protocol)))

    assert found({"train": 40, "val": 16}) == Verdict("ok", "train 40, val 16")
    wrong = found({"train": 40, "val": 300})
    assert wrong.kind == "error"
    assert "val has 16 images, 300 expected" in wrong.words
    source["init_args"]["root"] = str(mini_data / "nowhere")
    assert found({"train": 40}).kind == "error"
    prepare = ["data", "mini"]
    assert found({"train": 40}, prepare=prepare).words == "is made by the bench (wsss-bench data mini)"
    source["init_args"]["root"] = str(mini_data / "mini")  # another folder, which the bench does not make
    assert found({"train": 40}, prepare=prepare).kind == "error"


def test_an_error_is_the_exit_status(monkeypatch, capsys, tmp_path):
    for name in ("packages", "gpus", "bf16", "all_reduce", "cores", "crf"):
        monkeypatch.setattr(machine, name, lambda: Verdict("ok", "fine"))
    monkeypatch.setattr(machine, "disk", lambda runs: Verdict("warning", f"{runs} is slow"))
    assert main(["doctor", "--runs", str(tmp_path)]) == 0
    assert capsys.readouterr().out.endswith("0 error(s), 1 warning(s)\n")
    monkeypatch.setattr(machine, "gpus", lambda: Verdict("error", "none"))
    assert main(["doctor", "--runs", str(tmp_path)]) == 1
    assert "  error     GPUs: none\n" in capsys.readouterr().out
