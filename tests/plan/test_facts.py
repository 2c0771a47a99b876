"""What the plan tells W&B about each stage, without making it another stage."""

from __future__ import annotations

import paths
import pytest

from wsss_bench.artifacts.identity import fingerprint_of
from wsss_bench.artifacts.run import FACTS, StageInfo
from wsss_bench.crf import densecrf
from wsss_bench.plan.planner import make_plan

SHIPPED = sorted((paths.ROOT / "experiments").rglob("*.yaml"))


def facts_of(plan):
    """Facts of the stages by kind and title."""
    return {(stage.kind, stage.title): stage.config["stage"]["facts"] for stage in plan.stages.values()}


@pytest.mark.parametrize("file", SHIPPED, ids=lambda file: file.stem)
def test_every_stage_has_facts_that_do_not_decide_its_fingerprint(file, tmp_path):
    for stage in make_plan(file, tmp_path).stages.values():
        info = StageInfo(**stage.config["stage"])
        assert tuple(info.facts) == FACTS
        bare = {key: value for key, value in stage.config.items() if key not in ("stage", "out")}
        assert fingerprint_of(stage.kind, bare, stage.inputs, info.data) == stage.fingerprint


EXPERIMENT = """
methods: [cam, clims, clip_zeroshot]
data: [mini]
refiners: [pamr, irn]
pseudo_masks: irn
segmenter: deeplabv2
"""


@pytest.mark.skipif(not densecrf.available(), reason="pydensecrf is not installed (make crf)")
def test_facts_of_the_stages_of_a_multi_stage_method(tmp_path):
    (tmp_path / "own.yaml").write_text(EXPERIMENT)
    found = facts_of(make_plan(tmp_path / "own.yaml", tmp_path / "runs", paths.CONFIGS))
    cam = {
        "cell": "cam-mini-s0",
        "method": "cam",
        "base": "cam",
        "dataset": "mini",
        "seed": 0,
        "supervision": "image",
        "backbone": "ResNet-10t (mini)",
        "extra": None,
    }
    expected = {
        ("train", ""): ("train", None, None, None),
        ("seed", ""): ("train", "seed", None, None),
        ("evaluate", "-seed"): ("train", "seed", None, None),
        ("refine", "-irn-labels"): ("train", None, "irn", None),
        ("affinity", "-irn"): ("train", None, "irn", None),
        ("refine", "-irn"): ("train", "pseudo_mask", "irn", None),
        ("refine", "-pamr"): ("train", "pseudo_mask", "pamr", None),
        ("evaluate", "-pamr"): ("train", "pseudo_mask", "pamr", None),
        ("segment", "-irn-deeplabv2"): ("train", None, "irn", "deeplabv2"),
        ("predict", "-irn-deeplabv2-val"): ("val", "segmentation", "irn", "deeplabv2"),
        ("evaluate", "-irn-deeplabv2-val"): ("val", "segmentation", "irn", "deeplabv2"),
    }
    for (kind, suffix), values in expected.items():
        facts = dict(zip(("split", "product", "refiner", "segmenter"), values, strict=True))
        assert found[kind, f"cam-mini-s0{suffix}"] == cam | facts, (kind, suffix)
    assert found["train", "clims-mini-s0"]["extra"] == "clip"
    assert found["evaluate", "clip_zeroshot-mini-s0-val"]["supervision"] == "none"


def test_a_variant_names_the_method_that_it_varies(project):
    row = {"method": "cam", "override": {"inference": {"flip": False}}, "same_training": True}
    file = project.experiment(methods=["cam"], variants={"cam-plain": row})
    found = facts_of(make_plan(file, project.runs))
    seed = found["seed", "cam-plain-toy-s0"]
    assert (seed["cell"], seed["method"], seed["base"]) == ("cam-plain-toy-s0", "cam-plain", "cam")
    assert found["train", "cam-toy-s0"]["method"] == "cam"  # which both rows share
    assert ("train", "cam-plain-toy-s0") not in found
