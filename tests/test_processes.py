"""Child processes end with the process that started them, also when it is killed."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import runpy
import subprocess
import sys
import time
from pathlib import Path

import pytest

from wsss_bench.crf.pool import ImagePool
from wsss_bench.data.datamodule import WSSSDataModule
from wsss_bench.data.sources.voc import VOC
from wsss_bench.processes import FIRST_RANK, end_with_parent, ranks_end_with_this_process

CHILD = "import sys, time; from wsss_bench.cli import main; main([]); print(flush=True); time.sleep(60)"


def note_and_wait(path):
    Path(path).write_text(f"{os.getpid()} ")
    time.sleep(60)


def hold_a_child(path):
    """A process with a child that asked to end with it."""
    if os.fork() == 0:
        end_with_parent(os.getppid())
        note_and_wait(path)
    time.sleep(60)


def hold_a_pool(path):
    script = Path(path).with_name("script.py")
    script.write_text(
        f"import os, pathlib, time\npathlib.Path({path!r}).write_text(f'{{os.getpid()}} ')\ntime.sleep(60)"
    )
    with ImagePool(1) as pool:  # the worker imports nothing but this package and the standard library
        pool.run("a", runpy.run_path, str(script))


class NotingVOC(VOC):
    def image(self, image_id):
        note_and_wait(self.note)


def hold_a_loader(path, root):
    source = NotingVOC(root, vocabulary="mini")
    source.note = path
    next(iter(WSSSDataModule(source, global_batch_size=2, num_workers=1).train_dataloader()))


def hold_a_rank(path):
    with ranks_end_with_this_process(), open(path, "w") as file:
        process = subprocess.Popen(
            [sys.executable, "-c", CHILD], stdout=subprocess.PIPE, env={**os.environ, "LOCAL_RANK": "1"}
        )
        assert process.stdout is not None
        process.stdout.readline()
        file.write(f"{process.pid} ")
        file.flush()
        time.sleep(60)


def is_alive(process: int) -> bool:
    with contextlib.suppress(OSError):
        return "State:\tZ" not in Path(f"/proc/{process}/status").read_text()
    return False


@pytest.mark.skipif(sys.platform != "linux", reason="PR_SET_PDEATHSIG")
@pytest.mark.parametrize("hold", [hold_a_child, hold_a_pool, hold_a_loader, hold_a_rank])
def test_children_of_a_killed_process_are_gone_at_once(hold, tmp_path, voc_root):
    note = tmp_path / "pid"
    arguments = (str(note), voc_root) if hold is hold_a_loader else (str(note),)
    process = multiprocessing.get_context("fork").Process(target=hold, args=arguments)
    process.start()
    deadline = time.monotonic() + 30
    while not (note.is_file() and note.read_text().endswith(" ")) and time.monotonic() < deadline:
        time.sleep(0.01)
    child = int(note.read_text())
    assert is_alive(child)
    process.kill()
    process.join()
    deadline = time.monotonic() + 20
    while is_alive(child) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not is_alive(child)


def test_a_rank_whose_first_rank_is_gone_already_ends():
    done = subprocess.run([sys.executable, "-c", CHILD], env={**os.environ, FIRST_RANK: "1"}, timeout=30)
    assert done.returncode == 1


def test_only_ranks_started_in_the_body_are_told_of_the_first_rank():
    with ranks_end_with_this_process():
        assert os.environ[FIRST_RANK] == str(os.getpid())
    assert FIRST_RANK not in os.environ
