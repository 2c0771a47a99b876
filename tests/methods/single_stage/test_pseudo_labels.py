"""CAMs and online pseudo labels against the authors' functions (ToCo)."""

import numpy as np
import paths
import pytest
import torch
from torch.nn import functional as F

from wsss_bench.methods.single_stage.class_token_contrast import region_mask
from wsss_bench.methods.single_stage.pseudo_labels import (
    cam_to_label,
    multi_scale_cams,
    refine_pseudo_label,
    valid_patches,
)
from wsss_bench.nn.par import PAR

GOLDEN = paths.GOLDEN / "single_stage"


def load(name):
    arrays = np.load(GOLDEN / f"{name}.npz")
    return {key: torch.tensor(arrays[key]) for key in arrays.files}


def inside(boxes, size):
    """Boxes (y0, y1, x0, x1) as `valid` maps."""
    valid = torch.zeros(len(boxes), *size, dtype=torch.bool)
    for row, (top, bottom, left, right) in zip(valid, boxes.tolist(), strict=True):
        row[top:bottom, left:right] = True
    return valid


@pytest.mark.parametrize("given", [False, True], ids=["all forwards", "first map known"])
@pytest.mark.parametrize(
    ("scales", "suffix"), [((1.0, 0.5, 1.5), ""), ((1.0,), "_single"), ((1.0, 0.5, 0.75, 1.5), "_scales4")]
)
def test_multi_scale_cams_equal_the_published_ones(scales, suffix, given):
    golden = load("multi_scale_cam")

    def forward(image):
        weights = (golden["stub_weight_cam"], golden["stub_weight_aux"])
        return [F.conv2d(image, weight, stride=4) for weight in weights]

    known = forward(golden["inputs"]) if given else None
    for cam, name in zip(
        multi_scale_cams(forward, golden["inputs"], scales, known), ("cam", "cam_aux"), strict=True
    ):
        np.testing.assert_allclose(cam, golden[name + suffix], rtol=1e-4, atol=1e-5)


def test_labels_equal_the_published_ones_on_and_between_the_thresholds():
    golden = load("cam_to_label")
    cam, labels = golden["cam"], golden["cls_label"]
    valid = inside(golden["img_box"], cam.shape[2:])
    everywhere = torch.ones_like(valid)
    for name, low, high, where in (
        ("label_ignore_mid", 0.25, 0.7, valid),
        ("label_no_ignore_mid", 0.5, 0.5, valid),
        ("label_no_box", 0.5, 0.5, everywhere),
        ("label_ignore_mid_coco", 0.25, 0.65, valid),
    ):
        assert torch.equal(cam_to_label(cam, labels, where, low, high), golden[name]), name
    assert torch.equal(region_mask(cam, labels, 0.25, 0.7), golden["roi_mask"].long())


@pytest.mark.parametrize(("name", "high"), [("refined_label", 0.7), ("refined_label_coco", 0.65)])
def test_refined_labels_equal_the_published_ones(name, high):
    golden = load("refine_pseudo_label")
    label = refine_pseudo_label(
        golden["images_01"],
        golden["cams"],
        golden["cls_label"],
        inside(golden["img_box"], golden["cams"].shape[2:]),
        0.25,
        high,
        PAR(10),
        int(golden["cls_label"].sum(dim=1).max()),
    )
    assert torch.equal(label, golden[name].long())


def test_labels_are_those_of_present_classes_or_0_or_255():
    generator = torch.Generator().manual_seed(0)
    cam = torch.rand(2, 5, 16, 16, generator=generator)
    labels = torch.tensor([[0.0, 1, 0, 1, 0], [0, 0, 0, 0, 0]])
    valid = torch.ones(2, 16, 16, dtype=torch.bool)
    image = torch.rand(2, 3, 16, 16, generator=generator)
    for label in (
        cam_to_label(cam, labels, valid, 0.25, 0.7),
        refine_pseudo_label(image, cam, labels, valid, 0.25, 0.7, PAR(2), 2),
    ):
        assert set(label[0].unique().tolist()) <= {0, 2, 4, 255}
        assert label[0].unique().numel() > 1
        assert label[1].unique().tolist() == [0]


def test_a_patch_with_a_padded_pixel_is_padding():
    valid = torch.ones(1, 8, 12, dtype=torch.bool)
    valid[:, :, 7:] = False
    assert valid_patches(valid, 4).tolist() == [[[True, False, False], [True, False, False]]]
