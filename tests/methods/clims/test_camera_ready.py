"""The camera-ready version of CLIMS: head, untrained parameters, class weights, class-related background."""

import copy

import numpy as np
import paths
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


def test_head_is_a_bottleneck_with_one_unused_map(method):
    assert method.head[0].conv1.weight.shape[0] == method.backbone.channels // 4
    assert method.head[1].weight.shape[:2] == (9, method.backbone.channels)
    assert isinstance(method.head[0].act3, nn.LeakyReLU)
    assert method.seed_maps(torch.rand(2, 3, 64, 64)).shape == (2, 8, 8, 8)
    sum(method.training_loss(batch(torch.eye(8)[:2])).values()).backward()
    gradient = method.head[1].weight.grad.flatten(1).abs().sum(dim=1)
    assert gradient[0] == 0
    assert (gradient[1:] > 0).all()


def test_scale_and_shift_of_batch_norm_are_not_trained(method):
    (group,) = method.parameter_groups()
    trained = [p for p in group["params"] if p.requires_grad]
    assert {p.ndim for p in trained} == {4}


def test_padding_is_zero_for_both_networks(method):
    seen = []
    method.backbone.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    method.training_loss(batch(torch.eye(8)[:2], valid=False))
    assert not seen[0].any()


def test_class_weights_and_class_related_background_enter_as_published(method):
    """Boat (weight 3, background prompt water) and bus (weight 1, no background prompt), computed by hand."""
    method.loss_weights = LossWeights(1.0, 1.0, 1.0, 1.0)
    nouns = torch.tensor([[0.9, 0.5, 0.9], [0.9, 0.9, 0.9]])  # sky, water, railway
    s_oo, s_bo = torch.tensor([0.5, 0.25]), torch.tensor([0.5, 0.75])
    similarities = Similarities(torch.tensor([2, 3]), s_oo, s_bo, nouns)
    method.matcher.forward = lambda *_: similarities
    losses = method.training_loss(batch(torch.eye(8)[2:4]))
    log2 = torch.tensor(2.0).log().item()
    # divided by the 2 pairs, not by the sum of weights, 4
    assert losses["otm"].item() == pytest.approx((3 + 2) * log2 / 2)
    assert losses["btm"].item() == pytest.approx((3 + 2) * log2 / 2)
    assert losses["cbs"].item() == pytest.approx(log2)


def test_negative_cosines_train_on_and_the_loss_is_that_of_the_other_pairs(method):
    golden = np.load(paths.GOLDEN / "clims" / "camera_ready_negative_cosine.npz")
    s_oo = torch.tensor(golden["cosine"].ravel(), requires_grad=True)
    labels = torch.tensor([0, 2, 2, 0, 0])  # boat has weight 3
    s_bo, s_ob = torch.full((5,), 0.1), torch.full((5, 3), 0.1)
    method.matcher.forward = lambda *_: Similarities(labels, s_oo, s_bo, s_ob)
    seen = {}
    method.monitor = lambda name, value: seen.update({name: value.item()})
    method.loss_weights = LossWeights(2.0, 1.0, 1.0, 1.0)
    losses = method.training_loss(batch(torch.eye(8)[:5]))
    losses["otm"].backward()
    weight = torch.tensor([1.0, 3.0, 3.0, 1.0, 1.0])
    np.testing.assert_allclose(s_oo.grad, 2 * -(weight / (5 * s_oo.detach())), rtol=1e-5)
    expected = -(weight * s_oo.detach().log())[[0, 1, 4]].mean()
    assert losses["otm"].item() == pytest.approx(2 * expected.item(), rel=1e-5)
    assert seen == {"pairs_with_negative_cosine": 2}


def test_a_batch_without_labels_has_only_the_area_regularization(method):
    losses = method.training_loss(batch(torch.zeros(2, 8)))
    assert [loss.item() for loss in losses.values()][:3] == [0, 0, 0]
    assert losses["reg"] > 0
    sum(losses.values()).backward()
    assert torch.isfinite(method.head[1].weight.grad).all()


def test_wrong_prompts_and_class_weights_are_refused():
    with pytest.raises(ValueError, match="one list for all classes, which only the improved version reads"):
        CLIMSCameraReady(MINI, prompts="mini", **ARGUMENTS)
    with pytest.raises(
        ValueError, match="class_weight names classes that the data source does not have: sofa"
    ):
        CLIMSCameraReady(MINI, prompts="camera_ready_mini", class_weight={"sofa": 3.0}, **ARGUMENTS)
