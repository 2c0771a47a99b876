"""Configurations of ExCEL: published constants, plans on every data set, the ablation."""

import paths
import pytest
import yaml

from wsss_bench.plan.planner import make_plan
from wsss_bench.plan.reader import read_configs
from wsss_bench.stages.check import check

CONFIGS = paths.CONFIGS


@pytest.mark.slow
@pytest.mark.parametrize("data", ["voc", "coco", "mini"])
def test_every_stage_of_a_plan_parses(data, tmp_path):
    file = tmp_path / "excel.yaml"
    file.write_text(yaml.safe_dump({"methods": ["excel", "excel_static"], "data": [data]}))
    stages = list(make_plan(file, tmp_path, CONFIGS).stages.values())
    assert [stage.kind for stage in stages].count("train") == 1
    for stage in stages:
        check(stage.command, stage.config)


@pytest.mark.parametrize(
    ("data", "steps", "warmup", "threshold", "self_pairs", "clusters"),
    [("voc", 30000, 50, 0.79, 24000, 112), ("coco", 100000, 200, 0.88, None, 224)],
)
def test_constants_are_the_published_ones(data, steps, warmup, threshold, self_pairs, clusters):
    content = read_configs(CONFIGS).method("excel", data, {})
    given = content.model.init_args
    assert content.trainer == {"max_steps": steps}
    assert content.data["global_batch_size"] == 4
    expected = {"kind": "scale", "crop_size": 320, "scale": [0.5, 2.0], "padding": "black"}
    assert content.data["transform"] == expected
    optim = {"name": "adamw", "lr": 1e-3, "weight_decay": 1e-2, "power": 1.0, "warmup_steps": warmup}
    assert given["optim"] == optim
    assert (given["box_threshold"], given["lvc_start"]) == (threshold, 14000)
    assert given["self_pairs_start"] == self_pairs
    assert given["enrichment"] == {"attributes": data, "clusters": clusters, "kept": 0.9}
    assert given["tokens"] == "published"
    assert (given["calibrated_blocks"], given["attention_blocks"]) == (5, 6)
    named = {result.readout for result in content.bench.paper if result.dataset == data} - {None}
    assert named == ({"excel-log", "excel-voc"} if data == "voc" else {"excel-coco"})
    assert named <= set(content.readouts)


def test_both_read_class_maps_with_the_same_settings():
    folder = read_configs(CONFIGS)
    for data in ("voc", "coco", "mini"):
        static, trained = (folder.method(name, data, {}) for name in ("excel_static", "excel"))
        given = static.model.init_args
        assert given == {name: trained.model.init_args[name] for name in given}
        assert static.inference == trained.inference
        assert static.bench.extra == trained.bench.extra == ["clip", "llm_text"]


def test_the_ablation_leaves_out_each_module(tmp_path):
    plan = make_plan(paths.ROOT / "experiments" / "ablations" / "excel.yaml", tmp_path, CONFIGS)
    trained = {stage.title for stage in plan.stages.values() if stage.kind == "train"}
    for name in ("excel", "no-tse", "mean-text", "no-svc", "no-lvc", "clean-tokens"):
        assert sum(name in title for title in trained) >= 3, name
