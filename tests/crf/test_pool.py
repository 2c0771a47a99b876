"""The process pool: bounded queue, error messages, number of workers."""

import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from wsss_bench.crf.pool import ImagePool, WriterThread, available_workers


def test_a_worker_that_dies_is_reported_with_the_images_under_way():
    with pytest.raises(ValueError, match=r"died while the images first.*fewer workers"):  # noqa: SIM117
        with ImagePool(1) as pool:
            pool.run("first", os._exit, 9)


def test_an_error_of_the_caller_is_not_hidden():
    pool = ImagePool(1)
    pool.run("first", os._exit, 9)
    error = KeyError("mine")
    pool.__exit__(KeyError, error, None)  # does not raise: Python goes on with the caller's error


def test_at_most_two_images_per_worker_are_under_way(tmp_path):
    with ImagePool(1) as pool:
        for index in range(6):
            pool.run(str(index), Path.touch, tmp_path / str(index))
            assert len(pool._pending) <= 2
    assert len(list(tmp_path.iterdir())) == 6


def test_a_worker_is_started_once_and_an_own_process_not_at_all(tmp_path):
    for workers, lines in ((0, 0), (1, 1)):
        log = tmp_path / f"{workers}"
        log.touch()
        with ImagePool(workers, partial(append, log)) as pool:
            for index in range(3):
                pool.run(str(index), Path.touch, tmp_path / "file")
        assert len(log.read_text().splitlines()) == lines


def append(log):
    with open(log, "a") as file:
        file.write("started\n")


def test_a_writer_thread_keeps_the_order_and_raises_errors_as_they_are():
    seen = []
    with WriterThread() as thread:
        for index in range(20):
            thread.run(str(index), seen.append, index)
            assert len(thread._pending) <= 4
    assert seen == list(range(20))
    with pytest.raises(OSError, match="disk full"), WriterThread() as thread:  # noqa: PT012
        thread.run("a", fail)
        thread.run("b", seen.append, 99)


def fail():
    raise OSError("disk full")


def test_a_negative_number_of_workers_is_refused():
    with pytest.raises(ValueError, match="workers"):
        ImagePool(-1)


def test_workers_do_not_import_torch():
    code = (
        "import sys, wsss_bench.refine.densecrf, wsss_bench.refine.threshold, wsss_bench.refine.process;"
        "print('torch' in sys.modules)"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "False"


def test_the_number_of_workers_comes_from_the_environment(monkeypatch):
    monkeypatch.setenv("WSSS_WORKERS", "8")
    assert available_workers() == 8
    monkeypatch.setenv("WSSS_WORKERS", "1")
    assert available_workers() == 0
    monkeypatch.setenv("WSSS_WORKERS", "all")
    with pytest.raises(ValueError, match="WSSS_WORKERS is a number of processes"):
        available_workers()
