"""Configurations of DALNet and ToCo: plans on every data set, schedules, supervision."""

import paths
import pytest
import yaml

from wsss_bench.methods.single_stage.dalnet import StartSteps as DALNetStart
from wsss_bench.methods.single_stage.toco import StartSteps as ToCoStart
from wsss_bench.plan.planner import make_plan
from wsss_bench.plan.reader import read_configs
from wsss_bench.stages.check import check

CONFIGS = paths.CONFIGS


@pytest.mark.slow
@pytest.mark.parametrize("data", ["voc", "coco", "mini_coco"])
def test_every_stage_of_a_plan_parses(data, tmp_path):
    file = tmp_path / "single_stage.yaml"
    file.write_text(yaml.safe_dump({"methods": ["dalnet", "toco"], "data": [data]}))
    stages = list(make_plan(file, tmp_path, CONFIGS).stages.values())
    assert {stage.kind for stage in stages} == {"train", "seed", "predict", "crf", "evaluate"}
    for stage in stages:
        check(stage.command, stage.config)
        if stage.kind == "predict":
            assert stage.config["product"] == "segmentation"


@pytest.mark.parametrize("name", ["dalnet", "toco"])
def test_schedules_are_the_published_ones_and_end_at_the_last_step(name):
    folder = read_configs(CONFIGS)
    for data, steps, images in (("voc", 20000, 4), ("coco", 80000, 8)):
        content = folder.method(name, data, {})
        optim = content.model.init_args["optim"]
        # nothing that stops earlier or keeps a best checkpoint
        assert content.trainer == {"max_steps": steps}
        assert content.data["global_batch_size"] == images
        assert (optim["name"], optim["lr"], optim["weight_decay"], optim["warmup_steps"]) == (
            "adamw",
            6e-5,
            1e-2,
            1500,
        )
        assert content.data["transform"] == {
            "kind": "toco",
            "crop_size": 448,
            "scale": [0.5, 2.0],
            "padding": "black",
        }
        assert content.inference["pad_to"] == 16
        assert content.bench.pipeline == "single_stage"


def test_supervision_and_extra_are_declared():
    folder = read_configs(CONFIGS)
    dalnet, toco = (folder.method(name, "voc", {}).bench for name in ("dalnet", "toco"))
    assert (dalnet.supervision, set(dalnet.extra)) == ("image+text", {"clip", "imagenet_21k"})
    assert (toco.supervision, set(toco.extra)) == ("image", {"imagenet_21k"})
    assert (CONFIGS / "methods" / "dalnet.yaml").read_text().startswith("# DALNet (re-implementation)")


def test_losses_start_as_published_on_coco():
    """ToCo's code on COCO, counted from 0; DALNet takes from it what it says it takes."""
    folder = read_configs(CONFIGS)
    toco, dalnet = (folder.method(name, "coco", {}).model.init_args for name in ("toco", "dalnet"))
    assert toco["start"] == {"ptc": 12001, "ctc": 12001, "seg": 8001}
    assert toco["cam"]["aux_cam_until"] == dalnet["cam"]["aux_cam_until"] == 12001
    assert dalnet["start"] == {"lea": 6000, "ccl": 6000, "seg": 8001}
    assert ToCoStart() == ToCoStart(ptc=0, ctc=0, seg=2001)
    assert DALNetStart().seg == 2001
