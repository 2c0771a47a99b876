"""GIA and LEA of DALNet: values worked out by hand, and cases in which a wrong formula would show."""

import math

import pytest
import torch

from wsss_bench.methods.single_stage.dalnet_losses import (
    global_implicit_alignment,
    local_explicit_alignment,
    match_probability,
)
from wsss_bench.methods.single_stage.object_mask import ObjectMask

# two class texts and two background texts, all orthogonal
CLASSES = torch.eye(4)[:2]
BACKGROUND = torch.eye(4)[2:]
BOTH = torch.ones(1, 2, dtype=torch.bool)
HALF = math.log(2)  # -log p of a cosine of 0


def unit(*values):
    return torch.nn.functional.normalize(torch.tensor(values), dim=-1)


def test_cosines_become_probabilities():
    cosine = torch.tensor([-1.0, -0.5, 0.0, 1.0])
    affine = match_probability(cosine, "affine")
    torch.testing.assert_close(affine, torch.tensor([1e-4, 0.25, 0.5, 1 - 1e-4]))
    clamp = match_probability(cosine, "clamp")
    torch.testing.assert_close(clamp, torch.tensor([1e-4, 1e-4, 1e-4, 1 - 1e-4]))
    sigmoid = match_probability(torch.tensor([0.0, 0.1]), "sigmoid")
    torch.testing.assert_close(sigmoid, torch.tensor([0.5, 1 / (1 + math.exp(-1))]))


def test_a_negative_cosine_has_a_gradient_unless_it_is_clamped():
    for kind, has_gradient in (("affine", True), ("sigmoid", True), ("clamp", False)):
        cosine = torch.tensor([-0.3], requires_grad=True)
        match_probability(cosine, kind).log().sum().backward()
        assert bool(cosine.grad.any()) == has_gradient, kind


def test_the_foreground_match_is_smallest_for_the_label_itself():
    for c in range(2):
        match, _ = global_implicit_alignment(CLASSES[[c]], CLASSES, BACKGROUND, torch.eye(2)[[c]], BOTH)
        other, _ = global_implicit_alignment(CLASSES[[1 - c]], CLASSES, BACKGROUND, torch.eye(2)[[c]], BOTH)
        assert match.item() == pytest.approx(0, abs=1e-3)
        assert other.item() == pytest.approx(HALF, rel=1e-5)


def test_background_suppression_is_a_mean_maximum_or_sum_over_texts():
    image = torch.tensor([[0.0, 0.0, 0.6, -0.8]])
    terms = [-math.log(1 - 0.8), -math.log(1 - 0.1)]
    for reduce, expected in (("mean", sum(terms) / 2), ("max", terms[0]), ("sum", sum(terms))):
        _, suppression = global_implicit_alignment(
            image, CLASSES, BACKGROUND, torch.ones(1, 2), BOTH, reduce=reduce
        )
        assert suppression.item() == pytest.approx(expected, rel=1e-5)
    _, above = global_implicit_alignment(image, CLASSES, BACKGROUND, torch.ones(1, 2), BOTH, threshold=0.26)
    assert above.item() == pytest.approx(terms[0], rel=1e-5)
    _, one_text = global_implicit_alignment(
        image, CLASSES, BACKGROUND, torch.ones(1, 2), torch.tensor([[False, True]])
    )
    assert one_text.item() == pytest.approx(terms[1], rel=1e-5)


def test_an_image_without_labels_and_texts_adds_nothing():
    image = unit([1.0, 2.0, 3.0, 4.0]).requires_grad_()
    match, suppression = global_implicit_alignment(image[None], CLASSES, BACKGROUND, torch.zeros(1, 2), ~BOTH)
    (match + suppression).backward()
    assert match.item() == suppression.item() == 0
    assert not image.grad.any()


def lea(patches, labels, objects, background, **options):
    mask = ObjectMask(torch.tensor([objects]) > 0, torch.tensor([background]) > 0)
    labels = torch.tensor([labels])
    return local_explicit_alignment(patches[None], CLASSES, BACKGROUND, labels, BOTH, mask, **options)


def test_objects_match_their_class_and_background_patches_no_class():
    patches = torch.stack([CLASSES[0], CLASSES[1], BACKGROUND[0], -CLASSES[1]])
    good = lea(patches, [1.0, 1.0], [[1, 0, 0, 0], [0, 1, 0, 0]], [0, 0, 1, 0])
    assert good.item() == pytest.approx(HALF, abs=1e-3)  # background: cosine 0 with both classes
    swapped = lea(patches, [1.0, 1.0], [[0, 1, 0, 0], [1, 0, 0, 0]], [0, 0, 1, 0])
    assert swapped.item() == pytest.approx(2 * HALF, abs=1e-3)
    alone = lea(patches, [1.0, 1.0], [[1, 0, 0, 0], [0, 1, 0, 0]], [0, 0, 0, 0])
    assert alone.item() == pytest.approx(0, abs=1e-3)
    absent = lea(patches, [1.0, 0.0], [[1, 0, 0, 0], [0, 0, 0, 0]], [0, 1, 0, 0])
    assert absent.item() == pytest.approx(HALF, abs=1e-3)  # the second class is not in the image


def test_background_patches_may_be_ignored_or_pulled_to_background_texts():
    patches = torch.stack([CLASSES[0], CLASSES[0]])
    objects, background = [[1, 0], [0, 0]], [0, 1]
    assert lea(patches, [1.0, 0.0], objects, background).item() == pytest.approx(-math.log(1e-4), rel=1e-3)
    assert lea(patches, [1.0, 0.0], objects, background, repel=False).item() == pytest.approx(0, abs=1e-3)
    pulled = lea(patches, [1.0, 0.0], objects, background, repel=False, attract=True)
    assert pulled.item() == pytest.approx(HALF, abs=1e-3)


def test_an_empty_mask_gives_zero_loss_and_zero_gradient():
    patches = torch.randn(2, 4, requires_grad=True)
    loss = lea(patches, [1.0, 1.0], [[0, 0], [0, 0]], [0, 0], attract=True)
    loss.backward()
    assert loss.item() == 0
    assert not patches.grad.any()
    for objects, background in (([[1, 1], [0, 0]], [0, 0]), ([[0, 0], [0, 0]], [1, 1])):
        assert torch.isfinite(lea(patches, [1.0, 0.0], objects, background))
