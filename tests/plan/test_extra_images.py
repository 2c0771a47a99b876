"""Extra training images: in the plan of seeds, masks and segmenter, and in the column `extra`."""

from __future__ import annotations

import pytest

from wsss_bench.plan.planner import make_plan
from wsss_bench.plan.schema import ConfigError
from wsss_bench.report.leaderboard import extra_of

NET = {
    "model": {"class_path": "fake.Net"},
    "data": {"view": "mask"},
    "bench": {"backbone": "R101"},
}
EXTRA = {
    "web": {"source": {"class_path": "fake.Folder", "init_args": {"root": "web"}}, "may_be_anchor": False}
}


def plan_of(project):
    project.write("configs/segmenters/net.yaml", NET)
    project.write(
        "configs/refine/saliency.yaml",
        {"refiner": {"class_path": "fake.Saliency", "init_args": {"folder": "maps"}}, "extra": ["saliency"]},
    )
    override = {"data": {"extra_images": EXTRA}, "bench": {"extra": ["web_images"]}}
    changes = {
        "methods": ["cam"],
        "refiners": ["threshold", "saliency"],
        "pseudo_masks": "saliency",
        "segmenter": "net",
        "variants": {"cam-web": {"method": "cam", "override": override}},
    }
    return make_plan(project.experiment(**changes), project.runs)


def test_extra_images_have_seeds_and_masks_but_no_scores(project):
    plan = plan_of(project)
    stages = {(stage.kind, stage.title): stage.config for stage in plan.stages.values()}
    source = stages["refine", "cam-web-toy-s0-saliency"]["source"]
    assert source["class_path"] == "wsss_bench.data.sources.combined.CombinedSource"
    plain = stages["refine", "cam-toy-s0-saliency"]["source"]
    assert source["init_args"] == {"main": plain, "split": "train", "extra_images": EXTRA}
    assert stages["refine", "cam-web-toy-s0-threshold"]["source"] == plain  # nothing is trained on these
    for kind, title in (
        ("train", "cam-web-toy-s0"),
        ("seed", "cam-web-toy-s0"),
        ("segment", "cam-web-toy-s0-saliency-net"),
    ):
        assert stages[kind, title]["data"]["extra_images"] == EXTRA
        assert "extra_images" not in stages[kind, title.replace("-web", "")]["data"]
    for (kind, _), config in stages.items():
        assert kind != "evaluate" or config["source"] == plain


def test_extra_images_that_bench_extra_does_not_name_are_refused(project):
    variants = {"cam-web": {"method": "cam", "override": {"data": {"extra_images": EXTRA}}}}
    with pytest.raises(
        ConfigError, match=r"cam-web trains on further images \(data.extra_images: web\).*bench\.extra"
    ):
        make_plan(project.experiment(methods=["cam"], variants=variants), project.runs)


def test_partial_masks_train_a_segmenter_and_have_no_score(project):
    content = {"refiner": {"class_path": "fake.Saliency"}, "scored": False, "extra": ["saliency"]}
    project.write("configs/segmenters/net.yaml", NET)
    project.write("configs/refine/partial.yaml", content)
    changes = {"refiners": ["partial"], "pseudo_masks": "partial", "segmenter": "net"}
    plan = make_plan(project.experiment(methods=["cam"], **changes), project.runs)
    refined = [product for product in plan.products if product.kind == "pseudo_mask"]
    assert [(product.evaluate, product.missing) for product in refined] == [(None, "partial")]
    kinds = [stage.kind for stage in plan.stages.values()]
    assert kinds.count("refine") == kinds.count("segment") == 1


def test_column_extra_of_each_product(project):
    given = {
        (product.cell.row, product.kind, product.refiner): extra_of(product)
        for product in plan_of(project).products
    }
    assert given["cam", "seed", None] == given["cam", "pseudo_mask", "threshold"] == ()
    assert (
        given["cam", "pseudo_mask", "saliency"] == given["cam", "segmentation", "saliency"] == ("saliency",)
    )
    assert given["cam-web", "seed", None] == ("web_images",)
    assert given["cam-web", "segmentation", "saliency"] == ("saliency", "web_images")
