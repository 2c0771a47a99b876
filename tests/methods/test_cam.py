"""CAM against arrays computed by published code (CLIMS repository, net/resnet50_clims.py)."""

import numpy as np
import paths
import pytest
import torch
from torch.nn import functional as F

from wsss_bench.methods.cam import CAM
from wsss_bench.types import ImageBatch

GOLDEN = paths.GOLDEN / "clims"


class FixedBackbone(torch.nn.Module):
    """Backbone that returns the same features for every image."""

    def __init__(self, features):
        super().__init__()
        self.features = features

    def forward(self, image):
        return [self.features]


def cam_with(features, weight):
    method = CAM([f"class{i}" for i in range(len(weight))], backbone="resnet18", weights=None)
    method.backbone = FixedBackbone(features)
    method.head = torch.nn.Conv2d(weight.shape[1], len(weight), 1, bias=False)
    method.head.weight.data = torch.tensor(weight)
    return method


def test_maps_of_image_and_mirror_equal_the_published_forward():
    golden = np.load(GOLDEN / "cam_forward.npz")
    method = cam_with(torch.tensor(golden["features"]), golden["weight"])
    with torch.no_grad():
        maps = method.seed_maps(torch.zeros(2, 3, 8, 8))
    np.testing.assert_allclose(maps[0] + maps[1].flip(-1), golden["cam"], rtol=1e-5, atol=1e-6)


def test_loss_and_gradient_equal_the_published_classifier():
    golden = np.load(GOLDEN / "cam_classification_loss.npz")
    method = cam_with(torch.tensor(golden["features"]), golden["weight"])
    image = torch.zeros(3, 3, 8, 8)
    logits = method.class_logits(image)
    np.testing.assert_allclose(logits.detach(), golden["logits"], rtol=1e-5, atol=1e-6)
    batch = ImageBatch(
        ["a", "b", "c"], image, torch.tensor(golden["label"]), torch.ones(3, 8, 8, dtype=torch.bool)
    )
    assert method.training_loss(batch)["classification"].item() == pytest.approx(
        float(golden["loss"]), rel=1e-5
    )
    leaf = torch.tensor(golden["logits"], requires_grad=True)
    F.multilabel_soft_margin_loss(leaf, batch.labels).backward()
    np.testing.assert_allclose(leaf.grad, golden["grad_logits"], rtol=1e-5, atol=1e-7)
