"""DeepLabV2 and LargeFOV as segmenters: trained parameters, learning rates, losses."""

import numpy as np
import paths
import pytest
import torch
from torch import distributed, nn
from torch.nn import functional as F

from wsss_bench.losses.segmentation import balanced_cross_entropy, cross_entropy, resize_labels
from wsss_bench.methods.optim import build_optimizer, build_schedule
from wsss_bench.segmenters.deeplabv2 import DeepLabV2
from wsss_bench.segmenters.largefov import DeepLabLargeFOV
from wsss_bench.types import MaskBatch

DEEPLAB = np.load(paths.GOLDEN / "clims" / "deeplab.npz")
TINY = {"backbone": "resnet10t", "weights": None}


def batch():
    generator = torch.Generator().manual_seed(0)
    mask = torch.randint(0, 3, (2, 32, 40), generator=generator)
    mask[0, :9] = 255
    mask[0, 9:20] = 0
    return MaskBatch(["a", "b"], torch.rand(2, 3, 32, 40, generator=generator), mask, mask != 255)


def test_learning_rate_changes_every_ten_steps():
    optimizer = build_optimizer(
        [{"params": [nn.Parameter(torch.zeros(1))]}], DeepLabV2(("a", "b"), **TINY).optim
    )
    schedule = build_schedule(optimizer, DeepLabV2(("a", "b"), **TINY).optim, 100)
    rates = []
    for _ in range(100):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()  # without gradients, nothing moves
        schedule.step()
    np.testing.assert_allclose(rates, DEEPLAB["lr_schedule_iter0_to_100"][:100], rtol=1e-6)


@pytest.mark.parametrize("segmenter", [DeepLabV2, DeepLabLargeFOV])
def test_backbone_head_and_biases_have_the_published_learning_rates(segmenter):
    method = segmenter(("a", "b"), **TINY)
    groups = build_optimizer(method.parameter_groups(), method.optim).param_groups
    assert [(g["lr"], g["weight_decay"]) for g in groups] == [
        (pytest.approx(2.5e-4), 5e-4),
        (pytest.approx(2.5e-3), 5e-4),
        (pytest.approx(5e-3), 0.0),
    ]
    assert {g["momentum"] for g in groups} == {0.9}
    assert {p.ndim for p in groups[1]["params"]} == {4}
    assert {tuple(p.shape) for p in groups[2]["params"]} == {(3,)}


@pytest.mark.parametrize("segmenter", [DeepLabV2, DeepLabLargeFOV])
def test_batch_norm_statistics_and_affine_parameters_are_frozen(segmenter):
    method = segmenter(("a", "b"), **TINY).train()
    norms = [m for m in method.backbone.modules() if isinstance(m, nn.BatchNorm2d)]
    before = [norm.running_mean.clone() for norm in norms]
    sum(method.training_loss(batch()).values()).backward()
    assert norms
    assert all(norm.weight.grad is None and norm.bias.grad is None for norm in norms)
    for norm, mean in zip(norms, before, strict=True):
        torch.testing.assert_close(norm.running_mean, mean, rtol=0, atol=0)


@pytest.mark.parametrize(
    ("name", "loss"), [("cross_entropy", cross_entropy), ("balanced", balanced_cross_entropy)]
)
def test_deeplab_sums_the_losses_of_three_scales_and_their_maximum(name, loss):
    method = DeepLabV2(("a", "b"), loss=name, **TINY).eval()
    normalized = method.backbone.normalize(batch().image)
    maps = []
    for size in ((32, 40), (16, 20), (24, 30)):
        image = F.interpolate(normalized, size, mode="bilinear", align_corners=False)
        maps.append(method.head(method.backbone(image)[-1]))
    enlarged = [F.interpolate(m, maps[0].shape[-2:], mode="bilinear", align_corners=False) for m in maps]
    maps.append(torch.stack(enlarged).amax(dim=0))
    expected = sum(loss(m, resize_labels(batch().mask, m.shape[-2:])) for m in maps)
    torch.testing.assert_close(method.training_loss(batch())["segmentation"], expected)
    torch.testing.assert_close(method.segmentation_logits(batch().image), maps[-1])
    assert [tuple(m.shape[-2:]) for m in maps] == [(4, 5), (2, 3), (3, 4), (4, 5)]


def test_largefov_loss_is_at_the_size_of_the_mask():
    method = DeepLabLargeFOV(("a", "b"), width=16, **TINY).eval()
    logits = method.segmentation_logits(batch().image)
    assert logits.shape == (2, 3, 4, 5)
    # Caffe's Interp: cell i on pixel 8 i; the pixels after the last cell have its value
    covered = F.interpolate(logits, (8 * 3 + 1, 8 * 4 + 1), mode="bilinear", align_corners=True)
    full = F.pad(covered, (0, 40 - 33, 0, 32 - 25), mode="replicate")
    expected = F.cross_entropy(full, batch().mask, ignore_index=255)
    torch.testing.assert_close(method.training_loss(batch())["segmentation"], expected)


def test_resnet101_is_dilated_as_published():
    method = DeepLabV2(("a", "b"), weights=None)
    rates = [
        {m.dilation[0] for m in stage.modules() if isinstance(m, nn.Conv2d) and m.kernel_size == (3, 3)}
        for stage in method.backbone.stages[1:]
    ]
    assert rates == [{1}, {1}, {2}, {4}]
    assert [branch.dilation[0] for branch in method.head.branches] == [6, 12, 18, 24]
    assert [len(stage) for stage in method.backbone.stages[1:]] == [3, 4, 23, 3]


def gradients(rank, ranks=2):
    """Gradients of this rank's share of the batch, averaged over ranks as in data-parallel training."""
    torch.manual_seed(0)
    method = DeepLabV2(("a", "b"), loss="balanced", **TINY).train()
    whole = batch()
    share = MaskBatch(whole.image_ids[rank::ranks], *(tensor[rank::ranks] for tensor in whole[1:]))
    method.training_loss(share)["segmentation"].backward()
    found = torch.cat([p.grad.flatten() for p in method.parameters() if p.requires_grad])
    if ranks > 1:
        distributed.all_reduce(found)
    return found.numpy() / ranks


def test_two_ranks_have_the_gradient_of_one_process(rank_pair):
    single, (double, _) = gradients(0, ranks=1), rank_pair.call(gradients)
    assert np.abs(single).max() > 0.01
    # the first image has far fewer labelled pixels than the second: a mean of the means per rank would differ
    assert np.linalg.norm(single - double) < 1e-4 * np.linalg.norm(single)
