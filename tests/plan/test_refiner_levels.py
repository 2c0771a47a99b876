"""The background levels of IRN, which stand per chain of seeds (irn/run_sample.py, CLIMS/run_sample*.py)."""

import paths
import pytest

from wsss_bench.plan.reader import read_configs

FOLDER = read_configs(paths.CONFIGS)


@pytest.mark.parametrize(
    ("method", "data", "levels"),
    [
        ("cam", "voc", (0.30, 0.05, 0.25)),
        ("cam", "coco", (0.30, 0.05, 0.25)),
        ("clims", "voc", (0.30, 0.10, 0.20)),
        ("clims", "coco", (0.35, 0.10, 0.25)),
        ("clims_camera_ready", "voc", (0.30, 0.05, 0.25)),
        ("mcis", "voc", (0.30, 0.05, 0.25)),
        # chosen on the mini world, once on CAM's seeds and once on CLIMS'
        ("cam", "mini", (0.40, 0.20, 0.30)),
        ("clims", "mini", (0.40, 0.20, 0.30)),
    ],
)
def test_each_chain_has_its_published_levels(method, data, levels):
    refiner = FOLDER.refiner("irn", data, {}, method)
    labels = refiner.affinity_labels.init_args
    assert (labels["foreground"], labels["background"], refiner.refiner.init_args["threshold"]) == levels


@pytest.mark.parametrize(("method", "doublings"), [("cam", 2), ("clims", 3), ("mcis", 2)])
def test_the_walk_on_the_mini_world_is_as_long_as_suits_the_seeds(method, doublings):
    assert FOLDER.refiner("irn", "mini", {}, method).refiner.init_args["exp_times"] == doublings
