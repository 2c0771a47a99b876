"""The plan and the stages agree on which data a stage reads."""

from __future__ import annotations

from pathlib import Path

import paths
import pytest

from wsss_bench.artifacts.data_reads import data_reads
from wsss_bench.plan.plan import Stage, distinct
from wsss_bench.plan.planner import make_plan
from wsss_bench.stages.crf import crf
from wsss_bench.stages.evaluate import evaluate
from wsss_bench.stages.fit import FitCLI
from wsss_bench.stages.parser import FunctionParser
from wsss_bench.stages.prediction import PredictCLI
from wsss_bench.stages.refine import refine

pytestmark = pytest.mark.slow


def resolved(stage: Stage) -> dict:
    """The configuration as the stage resolves it, with all default values."""
    if stage.command in ("fit", "predict"):
        return {"fit": FitCLI, "predict": PredictCLI}[stage.command](stage.config, build=False).plain_config()
    parser = FunctionParser({"crf": crf, "refine": refine, "evaluate": evaluate}[stage.command])
    return parser._resolve(stage.config)


def test_default_values_change_nothing_in_what_a_stage_reads(tmp_path: Path):
    plan = make_plan(paths.ROOT / "experiments" / "mini_saliency.yaml", tmp_path)
    kinds = {}
    for stage in distinct(plan.stages.values()):
        if stage.kind in kinds:
            continue
        names = [read.name for read in data_reads(stage.command, stage.config) if read.source]
        kinds[stage.kind] = names
        # default values add names of a hub (`openai/clip-...`), which are no files
        found = data_reads(stage.command, resolved(stage))
        assert [read.name for read in found if read.source] == names
    assert {"train", "seed", "refine", "segment", "predict", "crf", "evaluate"} <= kinds.keys()
    assert any(name.endswith("/maps") for name in kinds["refine"])
