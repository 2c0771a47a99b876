"""Class token contrast (CTC): views of an image, projection head, and loss values worked out by hand."""

import math

import pytest
import torch

from wsss_bench.losses.ranks import image_noise
from wsss_bench.methods.single_stage.class_token_contrast import (
    ProjectionHead,
    class_token_contrast,
    global_view,
    local_crops,
)

TEACHER = torch.tensor([[[1.0, 0.0]]])
STUDENT = torch.tensor([[[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]]], requires_grad=True)


def noise(step=0, ids=("a", "b"), size=400):
    return image_noise(ids, step, [size], torch.device("cpu"))


def test_crops_are_windows_of_the_image_centred_outside_object_regions():
    image = torch.rand(2, 3, 20, 20)
    region = torch.full((2, 20, 20), 2)
    region[:, :, :10] = 1  # uncertain: centres may lie in the left half only
    crops = local_crops(image, region, noise(), count=5, size=8)
    windows = image.unfold(2, 8, 1).unfold(3, 8, 1)  # (2, 3, 13, 13, 8, 8)
    for b in range(2):
        for crop in crops.image[b]:
            found = (windows[b] == crop[:, None, None]).all(dim=(0, 3, 4)).nonzero()
            assert len(found) == 1
            assert found[0, 1] + 4 < 10  # the centre
    assert len({crop.sum().item() for crop in crops.image[0]}) == 5


def test_a_crop_of_mostly_background_is_negative():
    region = torch.zeros(1, 16, 16, dtype=torch.long)
    image = torch.rand(1, 3, 16, 16)
    assert not local_crops(image, region, noise(ids="a"), 4, 8).positive.any()
    assert local_crops(image, region + 1, noise(ids="a"), 4, 8).positive.all()


def test_without_enough_candidates_any_centre_is_allowed():
    region = torch.full((1, 16, 16), 2)
    assert local_crops(torch.rand(1, 3, 16, 16), region, noise(ids="a"), 4, 8).image.shape == (1, 4, 3, 8, 8)


def test_crops_that_do_not_fit_are_an_error():
    with pytest.raises(ValueError, match=r"lower ctc\.crop_size"):
        local_crops(torch.rand(1, 3, 16, 16), torch.ones(1, 16, 16), noise(ids="a"), 4, 24)


def test_a_global_view_is_a_window_resized_to_the_image():
    ramp = torch.linspace(0, 1, 32).expand(2, 3, 32, 32)
    whole = global_view(ramp, torch.tensor([[1.0, 0.5, 0.5, 0.5, 0.9], [1.0, 0.5, 0.5, 0.5, 0.1]]))
    torch.testing.assert_close(whole[0], ramp[0], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(whole[1], ramp[1].flip(-1), atol=1e-5, rtol=1e-5)
    part = global_view(ramp[:1], torch.tensor([[0.0, 0.5, 0.5, 0.0, 0.9]]))  # 40 % of the area, at the left
    width = 0.4**0.5
    assert part[0, 0, 0, -1].item() == pytest.approx(width * ramp[0, 0, 0, -1].item(), abs=0.02)
    assert part[0, 0, 0, 0].item() == pytest.approx(0, abs=0.02)


def test_noise_depends_on_image_and_step_not_on_the_batch():
    both, alone = noise(), noise(ids=("b",))
    assert torch.equal(both[1:], alone)
    assert not torch.equal(both[0], both[1])
    assert not torch.equal(noise(step=1), both)
    assert both.min() >= 0
    assert both.max() < 1


def test_outputs_of_the_projection_head_are_cosines():
    head = ProjectionHead(8, hidden=16, bottleneck=4, num_outputs=6)
    out = head(torch.randn(5, 8))
    assert out.shape == (5, 6)
    assert out.abs().max() <= 1 + 1e-6


def test_positives_are_compared_with_all_negatives_and_the_extra_term_is_added():
    loss = class_token_contrast(STUDENT, TEACHER, torch.tensor([[True, True, False]]), temperature=0.5)
    negatives = math.exp(-2) + 1e-4
    terms = [math.log((math.exp(s) + negatives) / math.exp(s)) for s in (2.0, 0.0, 0.0)]
    assert loss.item() == pytest.approx(sum(terms) / (2 + 1e-4), rel=1e-5)


def test_images_are_not_contrasted_with_each_other():
    student, teacher = torch.randn(2, 3, 4), torch.randn(2, 2, 4)
    positive = torch.tensor([[True, True, False], [True, False, False]])
    both = class_token_contrast(student, teacher, positive, 1.0)
    alone = [class_token_contrast(student[[i]], teacher[[i]], positive[[i]], 1.0) for i in range(2)]
    torch.testing.assert_close(both, sum(alone) / 2)


def test_the_teacher_gets_no_gradient():
    teacher = TEACHER.clone().requires_grad_()
    class_token_contrast(STUDENT, teacher, torch.tensor([[True, True, False]]), 0.5).backward()
    assert teacher.grad is None
    assert STUDENT.grad.any()


@pytest.mark.parametrize("positive", [[True, True, True], [True, False, False], [False, False, False]])
def test_large_similarities_stay_finite(positive):
    student = (1000 * STUDENT.detach()).requires_grad_()
    loss = class_token_contrast(student, TEACHER, torch.tensor([positive]), 0.5)
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(student.grad).all()
