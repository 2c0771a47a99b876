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
        # chosen on the mini world, for all methods
        ("cam", "mini", (0.50, 0.15, 0.35)),
        ("clims", "mini", (0.50, 0.15, 0.35)),
    ],
)
def test_each_chain_has_its_published_levels(method, data, levels):
    refiner = FOLDER.refiner("irn", data, {}, method)
    labels = refiner.affinity_labels.init_args
    assert (labels["foreground"], labels["background"], refiner.refiner.init_args["threshold"]) == levels
