"""What trainings are measured with before a plan is printed."""

from __future__ import annotations

import os

import pytest

from wsss_bench.bench import calibrate
from wsss_bench.plan.planner import make_plan


@pytest.mark.parametrize(("gpus", "share"), [("", 1), ("0", 1), ("0,1,2,3", 4)])
def test_a_probe_has_the_loading_processes_of_a_stage(project, monkeypatch, gpus, share):
    """As many as a stage has while the other GPUs have theirs."""
    jobs = []
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", gpus)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(32)))
    monkeypatch.setattr(calibrate, "run_to_end", lambda launcher, job: jobs.append(job) or 1)
    plan = make_plan(project.experiment(methods=["cam"]), project.runs)
    with pytest.raises(ValueError, match="the probes ended with status 1"):
        calibrate.calibrate(plan, project.runs)
    assert [job.workers for job in jobs] == [32 // share]
