"""Floor, ceiling and competitors, with and without training."""

import copy

import pytest
from project import METHODS

from wsss_bench.plan.config import MethodHints
from wsss_bench.plan.planner import make_plan
from wsss_bench.plan.schema import ConfigError, read_as

SEGMENTER = {"model": {"class_path": "fake.Segmenter"}, "bench": {"backbone": "R50"}}


def hints(**changes):
    content = {"pipeline": "multi_stage", "supervision": "none", "backbone": "ViT", "threshold": 0.5}
    return read_as(MethodHints, content | changes, "own.yaml", "bench")


@pytest.mark.parametrize(
    ("changes", "reference"),
    [
        ({"trains": False}, ""),  # without training it competes all the same
        ({"trains": False, "role": "floor"}, "floor"),
        ({"role": "method"}, ""),
        ({"pipeline": "upper_bound", "supervision": "mask"}, "ceiling"),
        ({"supervision": "mask", "role": "ceiling"}, "ceiling"),
    ],
)
def test_a_reference_says_so(changes, reference):
    assert hints(**changes).reference == reference


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"role": "baseline"}, "bench.role: unknown value 'baseline'; known: floor, ceiling, method"),
        ({"supervision": "mask", "role": "method"}, "bench.role is 'method', but supervision is 'mask'"),
    ],
)
def test_a_wrong_role_is_refused(changes, sentence):
    with pytest.raises(ConfigError, match=sentence):
        hints(**changes)


def test_a_method_without_training_gets_as_many_segmenters_as_others(project):
    """Its seeds and their masks do not depend on the random seed, so they are made and scored once."""
    content = copy.deepcopy(METHODS["cam"])
    content["bench"] |= {"trains": False}
    project.write("configs/methods/free.yaml", content)
    project.write("configs/segmenters/net.yaml", SEGMENTER)
    file = project.experiment(
        methods=["cam", "free"], random_seeds=[3, 4, 5], segmenter="net", pseudo_masks="threshold"
    )
    plan = make_plan(file, project.runs)

    def kinds(row):
        return [stage.kind for stage in plan.stages.values() if stage.title.startswith(f"{row}-")]

    trained, free = kinds("cam"), kinds("free")
    assert [trained.count(kind) for kind in ("train", "seed", "refine", "segment")] == [3, 3, 3, 3]
    assert [free.count(kind) for kind in ("train", "seed", "refine", "segment")] == [0, 1, 1, 3]
    scored = [
        (product.kind, product.cell.random_seed, product.split)
        for product in plan.products
        if product.cell.row == "free"
    ]
    masks = [("seed", 3, "train"), ("pseudo_mask", 3, "train")]
    assert scored[:2] == masks
    assert scored[2:] == [("segmentation", seed, split) for seed in (3, 4, 5) for split in ("val", "val_ood")]
