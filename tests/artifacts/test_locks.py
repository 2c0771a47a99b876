"""Locks of folders: one of many gets it, and it is taken over from those who are no more."""

import errno
import json
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from wsss_bench.artifacts import lock_folder, locks
from wsss_bench.artifacts.holder import UNKNOWN, Holder
from wsss_bench.artifacts.lock_folder import enter_free, leave, lock_of
from wsss_bench.artifacts.locks import BENCH_VARIABLE, LockHeld, LockLost, Locks, locked, waiting_for_lock
from wsss_bench.artifacts.run import StageInfo, open_stage

ELSEWHERE = replace(Holder.this("bench"), host="node7", user="ada", process=1, kernel="another")


@pytest.fixture
def folder(tmp_path):
    place = tmp_path / "stages" / "train-cam"
    place.mkdir(parents=True)
    return place


@pytest.fixture
def clock(monkeypatch):
    """A list with the seconds that `time.monotonic` says."""
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    return now


def looks(watcher, folder, clock, seconds, step=5.0):
    """Look for a while, every `step` seconds; returns who holds the lock at the end."""
    holder = watcher.holder_of(folder)
    for _ in range(round(seconds / step)):
        clock[0] += step
        holder = watcher.holder_of(folder)
    return holder


def started(code, *arguments, **variables):
    """A process of Python that has printed a line."""
    environment = {**os.environ, **variables, "PYTHONPATH": os.pathsep.join(sys.path)}
    process = subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )
    assert process.stdout.readline()
    return process


HOLD = """
import sys, time
from pathlib import Path
from wsss_bench.artifacts import locks
locks.BEAT_SECONDS = 0.05
with locks.locked(Path(sys.argv[1]), "stage"):
    print("holds", flush=True)
    time.sleep(30)
"""
CONTEND = """
import os, sys, time
from pathlib import Path
from wsss_bench.artifacts.locks import Locks
folder, rounds = Path(sys.argv[1]), int(sys.argv[2])
print("ready", flush=True)
sys.stdin.readline()
done = 0
while done < rounds:
    with Locks("bench") as mine:
        if mine.take(folder) is None:
            inside = folder / "inside"
            os.close(os.open(inside, os.O_CREAT | os.O_EXCL))  # fails if there are two
            with open(folder / "count", "a") as file:
                file.write("x")
            os.unlink(inside)
            done += 1
            if done % 3:
                continue
            mine._held.clear()  # as if it were killed: the next one takes the lock over
            (entry,) = os.listdir(folder.parent / ".locks" / folder.name)
            path = folder.parent / ".locks" / folder.name / entry
            path.write_text(path.read_text().replace(mine.owner.began, "1"))
"""


def test_a_lock_is_taken_given_back_and_leaves_nothing(folder):
    one, other = Locks("bench"), Locks("bench")
    assert one.take(folder) is None
    assert one.holds(folder)
    assert other.take(folder) == one.owner
    assert not other.holds(folder)
    one.release(folder)
    assert os.listdir(folder.parent) == [folder.name]
    assert other.take(folder) is None
    assert one.holder_of(folder) == other.owner
    one.release(folder)  # it is not its own any more
    assert one.holder_of(folder) == other.owner
    other.release(folder)


def test_relative_and_absolute_paths_are_one_lock(folder, monkeypatch):
    monkeypatch.chdir(folder.parent)
    one = Locks("bench")
    assert one.take(folder.relative_to(folder.parent)) is None
    assert Locks("bench").take(folder) == one.owner
    one.release(folder)


def test_of_many_processes_one_is_inside_at_a_time(folder):
    """They take the lock in turn, also over from holders that have ended, and no turn is lost."""
    processes = []
    for _ in range(4):
        code = [sys.executable, "-c", CONTEND, str(folder), "40"]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        processes.append(subprocess.Popen(code, text=True, env=environment, **pipes))
    for process in processes:
        process.stdout.readline()
    for process in processes:
        process.stdin.write("\n")
        process.stdin.flush()
    assert [process.communicate(timeout=60)[1] for process in processes] == [""] * 4
    assert (folder / "count").read_text() == "x" * 160


def test_of_many_contenders_for_a_dead_lock_exactly_one_wins(folder):
    dead = replace(Holder.this("bench"), began="1")
    for _ in range(50):
        assert enter_free(lock_of(folder), "dead-0", dead)
        contenders = [Locks("bench") for _ in range(8)]
        gate, won = threading.Barrier(8), []

        def contend(one, gate=gate, won=won):
            gate.wait()
            if one.take(folder) is None:
                won.append(one)

        threads = [threading.Thread(target=contend, args=(one,)) for one in contenders]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(won) == 1
        assert contenders[0].holder_of(folder) in (None, won[0].owner)
        won[0].release(folder)
    assert os.listdir(folder.parent) == [folder.name]


def test_who_looked_late_does_not_remove_a_new_holder(folder):
    """A contender has seen a dead entry, and removes it after another one has taken the lock."""
    lock = lock_of(folder)
    dead = replace(Holder.this("bench"), began="1")
    enter_free(lock, "dead-0", dead)
    quick = Locks("bench")
    assert quick.take(folder) is None
    leave(lock, "dead-0")
    assert not enter_free(lock, "late-0", dead)
    assert quick.holds(folder)
    quick.check()


def test_a_silent_holder_elsewhere_loses_its_lock_after_the_stated_time(folder, clock):
    enter_free(lock_of(folder), "far-0", ELSEWHERE)
    here = Locks("bench")
    assert looks(here, folder, clock, locks.SILENT_SECONDS - 5) == ELSEWHERE
    assert here.take(folder) == ELSEWHERE
    assert looks(here, folder, clock, 5) is None
    assert here.take(folder) is None


@pytest.mark.parametrize("hours", [-30, 0, 30])
def test_a_holder_that_beats_never_loses_it_whatever_its_clock_says(folder, clock, hours):
    lock = lock_of(folder)
    enter_free(lock, "far-0", ELSEWHERE)
    here, theirs = Locks("bench"), time.time() + 3600 * hours
    for _ in range(100):
        theirs += locks.BEAT_SECONDS
        os.utime(lock / "far-0", (theirs, theirs))
        assert looks(here, folder, clock, locks.BEAT_SECONDS) == ELSEWHERE


def test_a_watcher_that_was_suspended_does_not_count_that_time(folder, clock):
    enter_free(lock_of(folder), "far-0", ELSEWHERE)
    here = Locks("bench")
    assert looks(here, folder, clock, 10_000, step=5_000) == ELSEWHERE


@pytest.mark.parametrize(
    "content",
    [b"", b'{"user": "ad', b"\xff\x00", b"[1]", b"{}", b"null", b'"' + b"a" * 9999, None],
    ids=["empty", "cut", "bytes", "list", "no keys", "null", "long", "types"],
)
def test_an_entry_that_says_nothing_holds_until_it_is_silent(folder, clock, content):
    lock = lock_of(folder)
    lock.mkdir(parents=True)
    wrong = json.dumps(asdict(ELSEWHERE) | {"process": "1"}).encode()
    (lock / "far-0").write_bytes(wrong if content is None else content)
    here = Locks("bench")
    assert here.take(folder) == UNKNOWN
    assert looks(here, folder, clock, locks.SILENT_SECONDS) is None
    assert here.take(folder) is None


def test_an_empty_lock_is_free(folder):
    lock_of(folder).mkdir(parents=True)
    assert Locks("bench").take(folder) is None


def test_a_file_system_that_renames_onto_nothing_only(folder, monkeypatch):
    lock_of(folder).mkdir(parents=True)
    rename = os.rename

    def strict(source, target):
        if os.path.exists(target):
            raise FileExistsError(17, "File exists", str(target))
        rename(source, target)

    monkeypatch.setattr(os, "rename", strict)
    one, other = Locks("bench"), Locks("bench")
    assert one.take(folder) is None
    assert other.take(folder) == one.owner
    one.release(folder)
    assert other.take(folder) is None


def test_an_answer_that_came_late_counts(folder, monkeypatch):
    """The rename was made, and its answer was lost: asked again, the server finds nothing to rename."""
    rename = os.rename

    def late(source, target):
        rename(source, target)
        raise FileNotFoundError(2, "No such file or directory", str(source))

    monkeypatch.setattr(os, "rename", late)
    one = Locks("bench")
    assert one.take(folder) is None
    assert Locks("bench").holder_of(folder) == one.owner


def test_the_folder_of_the_locks_may_vanish_at_any_moment(folder, monkeypatch):
    make, tries = os.mkdir, []

    def vanishing(path, mode=0o777):
        make(path, mode)
        if os.path.basename(path) == lock_folder.LOCKS and len(tries) < 3:
            tries.append(path)
            os.rmdir(path)

    monkeypatch.setattr(os, "mkdir", vanishing)
    assert Locks("bench").take(folder) is None
    assert len(tries) == 3


def test_a_disk_without_room_leaves_nothing(folder, monkeypatch):
    def full(path, holder):
        path.write_text("{")
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr(lock_folder, "_write", full)
    with pytest.raises(OSError, match="No space left"):
        Locks("bench").take(folder)
    assert os.listdir(folder.parent) == [folder.name]


def test_nothing_is_made_where_the_folder_was_deleted(tmp_path):
    with pytest.raises(FileNotFoundError):
        Locks("bench").take(tmp_path / "stages" / "train-cam")
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_the_lock_of_a_killed_process_is_free_at_once(folder, number):
    process = started(HOLD, folder)
    here = Locks("bench")
    holder = here.take(folder)
    assert (holder.process, holder.host) == (process.pid, here.owner.host)
    os.kill(process.pid, number)
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # a zombie still
    assert here.take(folder) is None
    process.communicate()


def test_a_later_process_with_the_same_id_is_not_the_holder(folder):
    for changed, free in (({"began": "1"}, True), ({"kernel": "another"}, False), ({}, False)):
        enter_free(lock_of(folder), "old-0", replace(Holder.this("bench"), **changed))
        assert (Locks("bench").holder_of(folder) is None) is free
        leave(lock_of(folder), "old-0")


def test_a_process_that_lost_its_lock_ends(folder):
    process = started(HOLD, folder)
    (entry,) = lock_of(folder).iterdir()
    entry.unlink()
    assert Locks("bench").take(folder) is None
    _, errors = process.communicate(timeout=20)
    assert process.returncode == 1
    assert f"the lock of {folder} was taken over by another process" in errors


def test_a_stage_that_lost_its_lock_is_not_marked_complete(folder):
    stage = open_stage(folder, "train", {}, StageInfo())
    stage.__enter__()
    (entry,) = lock_of(folder).iterdir()
    entry.unlink()
    with pytest.raises(LockLost, match="taken over"):
        stage.__exit__(None, None, None)
    assert not (folder / "stage.json").exists()


def test_a_lost_lock_is_noticed_and_one_that_was_given_back_is_not_lost(folder, monkeypatch):
    monkeypatch.setattr(locks, "BEAT_SECONDS", 0.01)
    lost, gone = [], threading.Event()

    def on_loss(place):
        lost.append(place)
        gone.set()

    other = folder.parent / "other"
    with Locks("bench", on_loss) as mine:
        for _ in range(50):
            assert mine.take(other) is None
            mine.release(other)
        mine.take(folder)
        before = lock_of(folder).joinpath(os.listdir(lock_of(folder))[0]).stat().st_mtime_ns
        deadline = time.monotonic() + 10
        while (entry := next(lock_of(folder).iterdir())).stat().st_mtime_ns == before:
            assert time.monotonic() < deadline, "no sign of life"
            time.sleep(0.005)
        entry.unlink()
        assert gone.wait(10)
        assert not mine.holds(folder)
    assert lost == [folder]


def test_a_stage_by_hand_is_told_who_works_there(folder):
    holder = Holder.this("bench")
    with (
        locked(folder, "bench"),
        pytest.raises(LockHeld) as caught,
        open_stage(folder, "train", {}, StageInfo()),
    ):
        pass
    said = str(caught.value)
    assert f"another bench is working in {folder}: {holder.user}@{holder.host}, process {os.getpid()}" in said
    assert f"since {holder.since[:10]}" in said
    assert "last sign of life" in said
    assert str(lock_of(folder)) in said
    assert not (folder / "identity.json").exists()


def test_a_stage_works_under_the_lock_of_its_bench_and_keeps_it_if_that_ends(folder, monkeypatch):
    bench, next_bench = Locks("bench"), Locks("bench")
    bench.take(folder)
    monkeypatch.setenv(BENCH_VARIABLE, bench.name)
    with open_stage(folder, "train", {}, StageInfo()):
        assert next_bench.take(folder) == bench.owner
        for entry in lock_of(folder).glob(f"{bench.name}-*"):
            entry.unlink()  # as if it had ended
        assert next_bench.take(folder).work == "stage"
    assert next_bench.take(folder) is None


def test_a_stage_that_starts_after_its_bench_has_lost_the_lock_does_not_work(folder, monkeypatch):
    monkeypatch.setenv(BENCH_VARIABLE, "0123456789abcdef")
    with Locks("bench") as other:
        other.take(folder)
        with pytest.raises(LockHeld, match="another bench"), open_stage(folder, "train", {}, StageInfo()):
            pass
        assert len(os.listdir(lock_of(folder))) == 1
    with open_stage(folder, "train", {}, StageInfo()):  # nobody is there any more
        assert len(os.listdir(lock_of(folder))) == 1


def test_writers_of_the_same_results_come_one_after_the_other(folder, monkeypatch):
    monkeypatch.setattr(locks, "WAIT_SECONDS", 0.001)
    order = []

    def write(name):
        with waiting_for_lock(folder / "report", "report"):
            order.append(name)
            time.sleep(0.02)
            order.append(name)

    threads = [threading.Thread(target=write, args=(name,)) for name in "abc"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert order[0::2] == order[1::2]
    with suppress(FileNotFoundError):
        assert os.listdir(folder) == []


@pytest.mark.parametrize("number", [errno.ESTALE, errno.EACCES, errno.ENOTDIR, errno.EIO])
def test_a_lock_that_cannot_be_listed_is_somebodys_and_no_error(folder, monkeypatch, number):
    """NFS forgets a folder that another machine has renamed; others may make one that they alone read."""
    enter_free(lock_of(folder), "far-0", ELSEWHERE)
    listed, failing = os.listdir, [True]

    def listdir(path):
        if failing and Path(path) == lock_of(folder):
            raise OSError(number, os.strerror(number))
        return listed(path)

    monkeypatch.setattr(os, "listdir", listdir)
    here = Locks("bench")
    assert here.holder_of(folder) == here.take(folder) == UNKNOWN
    failing.clear()
    assert here.holder_of(folder) == ELSEWHERE


def test_a_dead_holder_elsewhere_is_outlived_and_a_living_one_is_not(folder, clock, monkeypatch):
    lock = lock_of(folder)
    enter_free(lock, "far-0", ELSEWHERE)
    waited = []

    def sleep(seconds):
        waited.append(seconds)
        clock[0] += seconds
        if len(waited) == living:
            os.utime(lock / "far-0", (1.0, 1.0))

    monkeypatch.setattr(time, "sleep", sleep)
    living = 20
    assert Locks("bench").take_or_outlive(folder) == ELSEWHERE
    assert len(waited) == living
    living = -1
    with Locks("bench") as here:
        assert here.take_or_outlive(folder) is None
        assert here.holds(folder)
    assert sum(waited) == pytest.approx(locks.SILENT_SECONDS, abs=living and 20)


def test_a_lock_that_nobody_can_list_is_not_waited_for_without_end(folder, clock, monkeypatch):
    enter_free(lock_of(folder), "far-0", ELSEWHERE)
    listed = os.listdir

    def listdir(path):
        if Path(path) == lock_of(folder):
            raise PermissionError(errno.EACCES, "denied")
        return listed(path)

    monkeypatch.setattr(os, "listdir", listdir)
    monkeypatch.setattr(time, "sleep", lambda seconds: clock.__setitem__(0, clock[0] + seconds))
    began = clock[0]
    assert Locks("bench").take_or_outlive(folder) == UNKNOWN
    assert clock[0] - began < locks.SILENT_SECONDS + 2 * locks.BEAT_SECONDS


def test_a_living_holder_here_is_not_waited_for(folder, monkeypatch):
    monkeypatch.setattr(time, "sleep", lambda seconds: pytest.fail("waits"))
    with Locks("bench") as other:
        assert other.take(folder) is None
        assert Locks("bench").take_or_outlive(folder) == other.owner
