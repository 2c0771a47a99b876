"""experiments/real_photos.yaml: planned and checked on the photographs; without them one sentence."""

import paths
import pytest
from paths_of_real_data import ROOT, needs

from wsss_bench.bench.launchers import LocalLauncher
from wsss_bench.bench.validate import check_stages, methods_of, validate
from wsss_bench.cli import main
from wsss_bench.plan.planner import make_plan

EXPERIMENT = paths.ROOT / "experiments" / "real_photos.yaml"


@needs("msrc_voc")
@pytest.mark.slow
def test_every_stage_can_be_built_on_the_photographs(tmp_path, monkeypatch):
    monkeypatch.setenv("WSSS_REAL", str(ROOT))
    plan = make_plan(EXPERIMENT, tmp_path)
    validate(list(plan.stages.values()), LocalLauncher(check_stages, preload=()), methods=methods_of(plan))


@needs("msrc_voc")
def test_the_photographs_are_those_of_the_protocol(monkeypatch, capsys):
    monkeypatch.setenv("WSSS_REAL", str(ROOT))
    assert main(["data", "check", "--config", "msrc"]) == 0
    assert "no problems" in capsys.readouterr().out


def test_without_the_photographs_the_variable_is_named(tmp_path, monkeypatch, capfd):
    monkeypatch.delenv("WSSS_REAL", raising=False)
    monkeypatch.chdir(tmp_path)
    assert main(["data", "check", "--config", "msrc"]) != 0
    assert "the environment variable WSSS_REAL, which is not set" in capfd.readouterr().err
