"""CCL, the cross-contrastive loss of DALNet."""

import math

import pytest
import torch
from torch.nn import functional as F

from wsss_bench.methods.single_stage.dalnet_losses import (
    class_prototypes,
    image_to_text_contrast,
    text_to_image_contrast,
)
from wsss_bench.methods.single_stage.object_mask import ObjectMask

GENERATOR = torch.Generator().manual_seed(0)
PATCHES = F.normalize(torch.randn(2, 6, 8, generator=GENERATOR), dim=-1)
CLASSES = F.normalize(torch.randn(3, 8, generator=GENERATOR), dim=-1)
BACKGROUND = F.normalize(torch.randn(25, 8, generator=GENERATOR), dim=-1)
LABELS = torch.tensor([[1.0, 0, 0], [0, 1, 0]])
ALL_BACKGROUNDS = torch.ones(2, 25, dtype=torch.bool)
ALMOST_UNIFORM = 1e6  # a temperature at which the softmax is almost uniform


def mask():
    objects = torch.zeros(2, 3, 6, dtype=torch.bool)
    objects[0, 0, :2] = True
    objects[1, 1, 1:3] = True
    background = torch.zeros(2, 6, dtype=torch.bool)
    background[:, 4:] = True
    return ObjectMask(objects, background)


def to_text(found, labels=LABELS, backgrounds=ALL_BACKGROUNDS, tau=0.07, **options):
    return image_to_text_contrast(found, CLASSES, BACKGROUND, labels, backgrounds, tau, **options).item()


def to_image(found, tau=0.07):
    return text_to_image_contrast(found, CLASSES, tau, gather=True).item()


def test_prototypes_are_means_per_image_and_class():
    found = class_prototypes(PATCHES, mask())
    torch.testing.assert_close(found.objects[0, 0], F.normalize(PATCHES[0, :2].mean(0), dim=0))
    torch.testing.assert_close(found.objects[1, 1], F.normalize(PATCHES[1, 1:3].mean(0), dim=0))
    torch.testing.assert_close(found.background[1, 0], F.normalize(PATCHES[1, 4:].mean(0), dim=0))
    assert found.has_object.tolist() == [[True, False, False], [False, True, False]]


def test_sampled_background_patches_take_the_place_of_their_mean():
    noise = torch.tensor([[0.9, 0.9, 0.9, 0.9, 0.1, 0.2]]).expand(2, -1)
    found = class_prototypes(PATCHES, mask(), sampled=1, noise=noise)
    torch.testing.assert_close(found.background[:, 0], PATCHES[:, 5])
    more = class_prototypes(PATCHES, mask(), sampled=3, noise=noise)
    assert more.has_background.tolist() == [[True, True, False]] * 2


def test_the_two_directions_have_their_own_negatives():
    found = class_prototypes(PATCHES, mask())
    assert to_text(found, tau=ALMOST_UNIFORM) == pytest.approx(math.log(26), rel=1e-4)
    assert to_image(found, tau=ALMOST_UNIFORM) == pytest.approx(math.log(3), rel=1e-4)
    absent = to_text(found, tau=ALMOST_UNIFORM, class_negatives=True)
    assert absent == pytest.approx(math.log(28), rel=1e-4)  # two of three classes are absent
    one = ALL_BACKGROUNDS & (torch.arange(25) == 3)
    assert to_text(found, backgrounds=one, tau=ALMOST_UNIFORM) == pytest.approx(math.log(2), rel=1e-4)


def test_a_pair_gives_minus_log_softmax_of_its_positive():
    found = class_prototypes(PATCHES[:1], ObjectMask(*(part[:1] for part in mask())))
    f, g = found.objects[0, 0], found.background[0, 0]
    scores = torch.stack([f @ CLASSES[0], *(f @ BACKGROUND.T)]) / 0.07
    assert to_text(found, LABELS[:1], ALL_BACKGROUNDS[:1]) == pytest.approx(
        -scores.log_softmax(0)[0].item(), rel=1e-4
    )
    scores = torch.stack([f @ CLASSES[0], g @ CLASSES[0]]) / 0.07
    assert to_image(found) == pytest.approx(-scores.log_softmax(0)[0].item(), rel=1e-3)


def test_a_copy_of_an_image_in_the_batch_is_not_its_negative():
    one = ObjectMask(*(part[:1] for part in mask()))
    # without background patches nothing but the other image could raise the loss
    one = ObjectMask(one.objects, torch.zeros_like(one.background))
    copies = ObjectMask(*(part.repeat(2, *[1] * (part.ndim - 1)) for part in one))
    alone, both = class_prototypes(PATCHES[:1], one), class_prototypes(PATCHES[:1].repeat(2, 1, 1), copies)
    assert to_text(both, LABELS[[0, 0]]) == pytest.approx(
        to_text(alone, LABELS[:1], ALL_BACKGROUNDS[:1]), rel=1e-5
    )
    assert to_image(both) == pytest.approx(to_image(alone), abs=1e-6)
    assert to_image(alone) == pytest.approx(0, abs=1e-6)  # no background: this direction is 0


def test_an_empty_mask_gives_zero_loss_and_zero_gradient():
    patches = PATCHES.clone().requires_grad_()
    empty = ObjectMask(*(torch.zeros_like(part) for part in mask()))
    found = class_prototypes(patches, empty)
    loss = image_to_text_contrast(
        found, CLASSES, BACKGROUND, LABELS, ALL_BACKGROUNDS, 0.07
    ) + text_to_image_contrast(found, CLASSES, 0.07, gather=False)
    loss.backward()
    assert loss.item() == 0
    assert not patches.grad.any()
    assert torch.isfinite(patches.grad).all()
