"""The camera-ready form of CLIMS: its head, what never moves, and what belongs to a class."""

import copy

import pytest
import torch
from torch import nn

from wsss_bench.methods.clims.camera_ready import CLIMSCameraReady
from wsss_bench.methods.clims.losses import LossWeights
from wsss_bench.methods.clims.text_matcher import Similarities
from wsss_bench.types import ImageBatch
from wsss_bench.vocabulary import load

MINI = load("mini")
ARGUMENTS = {"backbone": "resnet10t", "weights": None, "output_stride": 8, "clip": "package:mini/clip"}


@pytest.fixture(scope="module")
def shipped():
    return CLIMSCameraReady(
        MINI, prompts="camera_ready_mini", class_weight={"boat": 3.0}, **ARGUMENTS
    ).train()


@pytest.fixture
def method(shipped):
    return copy.deepcopy(shipped)


def batch(labels, valid=True):
    count = len(labels)
    padding = torch.full((count, 64, 64), bool(valid))
    return ImageBatch([str(n) for n in range(count)], torch.rand(count, 3, 64, 64), labels, padding)


def test_head_is_a_bottleneck_and_one_map_more_than_classes(method):
    assert method.head[0].conv1.weight.shape[0] == method.backbone.channels // 4
    assert method.head[1].weight.shape[:2] == (9, method.backbone.channels)
    assert isinstance(method.head[0].act3, nn.LeakyReLU)
    assert method.seed_maps(torch.rand(2, 3, 64, 64)).shape == (2, 8, 8, 8)
    sum(method.training_loss(batch(torch.eye(8)[:2])).values()).backward()
    gradient = method.head[1].weight.grad.flatten(1).abs().sum(dim=1)
    assert gradient[0] == 0
    assert (gradient[1:] > 0).all()


def test_scale_and_shift_of_batch_norm_are_in_no_group(method):
    (group,) = method.parameter_groups()
    moving = [p for p in group["params"] if p.requires_grad]
    assert {p.ndim for p in moving} == {4}


def test_padding_is_zero_for_both_networks(method):
    seen = []
    method.backbone.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    method.training_loss(batch(torch.eye(8)[:2], valid=False))
    assert not seen[0].any()


def test_weights_of_classes_and_scenery_enter_as_published(method):
    """Boat (weighted 3, with water) and bus (weighted 1, without scenery) at cosines worked out by hand."""
    method.loss_weights = LossWeights(1.0, 1.0, 1.0, 1.0)
    nouns = torch.tensor([[0.9, 0.5, 0.9], [0.9, 0.9, 0.9]])  # sky, water, railway
    cosines = Similarities(torch.tensor([2, 3]), torch.tensor([0.5, 0.25]), torch.tensor([0.5, 0.75]), nouns)
    method.matcher.forward = lambda *_: cosines
    losses = method.training_loss(batch(torch.eye(8)[2:4]))
    log2 = torch.tensor(2.0).log().item()
    assert losses["object_text"].item() == pytest.approx(
        (3 + 2) * log2 / 2
    )  # over 2 pairs, not over the weight 4
    assert losses["background_text"].item() == pytest.approx((3 + 2) * log2 / 2)
    assert losses["suppression"].item() == pytest.approx(log2)


def test_a_batch_without_labels_trains_the_area_alone(method):
    losses = method.training_loss(batch(torch.zeros(2, 8)))
    assert [loss.item() for loss in losses.values()][:3] == [0, 0, 0]
    assert losses["area"] > 0
    sum(losses.values()).backward()
    assert torch.isfinite(method.head[1].weight.grad).all()


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="one list for all classes, which only the improved version reads"):
        CLIMSCameraReady(MINI, prompts="mini", **ARGUMENTS)
    with pytest.raises(
        ValueError, match="class_weight names classes that the data source does not have: sofa"
    ):
        CLIMSCameraReady(MINI, prompts="camera_ready_mini", class_weight={"sofa": 3.0}, **ARGUMENTS)
