"""The shipped experiments, checked by the parsers of the real stages, and stages of several ranks."""

from __future__ import annotations

import subprocess
import sys
import time

import paths
import pytest
import yaml

from wsss_bench.bench.launchers import Job, LocalLauncher
from wsss_bench.bench.validate import check_stages, validate
from wsss_bench.plan.plan import distinct
from wsss_bench.plan.planner import make_plan

pytestmark = pytest.mark.slow

ROOT = paths.ROOT
PARSED: set[str] = set()  # experiments share most of their stages


@pytest.mark.parametrize("file", sorted((ROOT / "experiments").rglob("*.yaml")), ids=lambda file: file.stem)
def test_every_stage_of_a_shipped_experiment_parses(file, tmp_path):
    from wsss_bench.stages.check import check

    for stage in distinct(make_plan(file, tmp_path).stages.values()):
        settings = stage.settings  # before the parser resolves parts of the configuration in place
        if settings not in PARSED:
            check(stage.command, stage.config)
            PARSED.add(settings)


def test_a_typo_in_a_method_stops_the_bench_before_any_stage(tmp_path):
    content = yaml.safe_load((ROOT / "experiments" / "mini.yaml").read_text())
    content["override"] = {"cam": {"model": {"init_args": {"outpt_stride": 8}}}}
    file = tmp_path / "experiments" / "typo.yaml"
    file.parent.mkdir()
    file.write_text(yaml.safe_dump(content))
    plan = make_plan(file, tmp_path, ROOT / "configs")
    stages = [stage for stage in plan.stages.values() if stage.title == "cam-mini-s0"]
    with pytest.raises(ValueError, match="nothing was started") as caught:
        validate(stages, LocalLauncher(check_stages, preload=()))
    assert "train cam-mini-s0" in str(caught.value)
    assert "outpt_stride" in str(caught.value)


def test_a_stage_of_several_ranks_is_a_command_line(tmp_path):
    running = LocalLauncher(preload=()).start(Job(["--help"], tmp_path, ranks=True))
    deadline = time.monotonic() + 30
    while running.exit_status is None and time.monotonic() < deadline:
        time.sleep(0.02)
    assert running.exit_status == 0
    log = (tmp_path / "log.txt").read_text()
    assert f"{sys.executable} -m wsss_bench --help" in log
    assert "usage: wsss-bench <command>" in log


def test_a_command_line_can_be_stopped(tmp_path):
    running = LocalLauncher(preload=()).start(Job(["bench", "--help"], tmp_path, ranks=True))
    running.kill()
    assert running.exit_status is not None


@pytest.mark.parametrize("command", [[], ["bench"], ["table"]])
def test_help_imports_no_torch(command):
    program = (
        "import sys; from wsss_bench.cli import main\n"
        f"try: main([*{command!r}, '--help'])\n"
        "except SystemExit: pass\n"
        "assert not {'torch', 'matplotlib', 'lightning'} & set(sys.modules)"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert "usage: wsss-bench" in result.stdout
