"""Class token contrast: values worked out by hand."""

import math

import pytest
import torch

from wsss_bench.methods.single_stage.class_token_contrast import class_token_contrast

TEACHER = torch.tensor([[[1.0, 0.0]]])
STUDENT = torch.tensor([[[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]]], requires_grad=True)


def test_positives_are_compared_with_all_negatives_and_one_more_term_counts():
    loss = class_token_contrast(STUDENT, TEACHER, torch.tensor([[True, True, False]]), temperature=0.5)
    negatives = math.exp(-2) + 1e-4
    terms = [math.log((math.exp(s) + negatives) / math.exp(s)) for s in (2.0, 0.0, 0.0)]
    assert loss.item() == pytest.approx(sum(terms) / (2 + 1e-4), rel=1e-5)


def test_images_do_not_meet():
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
