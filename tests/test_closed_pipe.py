"""Commands whose output nobody reads any more, as in `wsss-bench table mini | head`, through real pipes."""

from __future__ import annotations

import os
import subprocess
import sys

import paths
import pytest

from wsss_bench.closed_pipe import EXIT_STATUS

COMMAND = [sys.executable, "-m", "wsss_bench"]
MINI = str(paths.ROOT / "experiments" / "mini.yaml")


def run_unread(arguments, **options):
    """Run a command into a pipe that has no reader from the start."""
    reader, writer = os.pipe()
    os.close(reader)
    try:
        return subprocess.run([*COMMAND, *arguments], stdout=writer, **options)
    finally:
        os.close(writer)


@pytest.mark.parametrize("command", [["--help"], ["bench", "--help"], ["fit", "--help"]])
def test_help_ends_quietly(command):
    done = run_unread(command, stderr=subprocess.PIPE)
    assert done.stderr == b""
    assert done.returncode in (0, EXIT_STATUS)  # 0: argparse itself keeps quiet, where Python does not buffer


@pytest.mark.slow
@pytest.mark.parametrize("command", [["bench", MINI, "--dry-run"], ["table", MINI]])
def test_plan_and_table_end_quietly(command, tmp_path):
    done = run_unread([*command, "--runs", str(tmp_path)], stderr=subprocess.PIPE)
    assert (done.returncode, done.stderr) == (EXIT_STATUS, b"")


@pytest.mark.slow
def test_a_plan_for_head(tmp_path):
    command = [*COMMAND, "bench", MINI, "--dry-run", "--runs", str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as bench:
        head = subprocess.run(["head", "-n", "1"], stdin=bench.stdout, capture_output=True, text=True)
        bench.stdout.close()
        assert bench.stderr.read() == b""
    assert head.stdout.startswith("plan of mini in ")
    assert bench.returncode in (0, EXIT_STATUS)  # 0 if all was written before head ended


def test_nothing_is_printed_where_stderr_is_not_read_either():
    assert run_unread(["bench"], stderr=subprocess.STDOUT).returncode in (2, EXIT_STATUS)


def test_a_broken_pipe_elsewhere_is_a_bug_and_is_seen(monkeypatch, capsys):
    from wsss_bench import cli
    from wsss_bench.report import command

    def fail(argv):
        raise BrokenPipeError("of a worker")

    monkeypatch.setattr(command, "main", fail)
    with pytest.raises(BrokenPipeError, match="of a worker"):
        cli.main(["table", "mini"])


@pytest.mark.slow
@pytest.mark.parametrize("stderr_is_read", [True, False])
def test_a_bench_goes_on_unread(project, stderr_is_read):
    slow = {name: {"model": {"init_args": {"sleep": 0.5}}} for name in ("cam", "full")}
    file = project.experiment(override=slow)
    command = [sys.executable, str(paths.ROOT / "tests" / "fakes.py"), str(file), str(project.runs)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    stderr = subprocess.PIPE if stderr_is_read else subprocess.STDOUT
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=stderr, env=environment) as bench:
        assert bench.stdout.readline().startswith(b"plan of toy")
        bench.stdout.close()
        said = bench.stderr.read().decode() if stderr_is_read else ""
    assert bench.returncode == 0
    assert len(list((project.runs / "stages").glob("*/stage.json"))) == 20
    assert (project.runs / "toy" / "leaderboard.csv").read_text().count("\n") > 1
    if stderr_is_read:
        assert said.count("nobody reads the output any more; the bench goes on without it") == 1
        assert "Traceback" not in said
        assert "Broken pipe" not in said
        assert f"the table will be in {project.runs / 'toy'}" in said
