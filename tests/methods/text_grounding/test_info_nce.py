"""InfoNCE in both directions against the official one."""

import math

import pytest
import torch
from golden_clip import tensors
from torch.nn import functional as F

from wsss_bench.methods.text_grounding.info_nce import (
    INITIAL_LOG_SCALE,
    info_nce,
    info_nce_of_cosines,
    inverse_temperature,
)


def test_info_nce_is_the_official_one():
    arrays = tensors("losses")
    image, text = arrays["info_img"].requires_grad_(), arrays["info_txt"].requires_grad_()
    scale = torch.tensor(INITIAL_LOG_SCALE, requires_grad=True)
    torch.testing.assert_close(scale.data, arrays["info_logit_scale_param"])
    loss = info_nce(image, text, scale).mean()
    torch.testing.assert_close(loss, arrays["info_loss"].view(()), rtol=1e-5, atol=1e-6)
    loss.backward()
    for found, name in ((image, "img"), (text, "txt"), (scale, "logit_scale")):
        torch.testing.assert_close(
            found.grad, arrays[f"info_grad_{name}"].view_as(found), rtol=1e-5, atol=1e-6
        )


def test_info_nce_of_cosines_is_the_official_extended_one():
    arrays = tensors("losses")
    image, text = arrays["ext_img"].requires_grad_(), arrays["ext_txt"].requires_grad_()
    scale = torch.tensor(INITIAL_LOG_SCALE, requires_grad=True)
    cosines = torch.einsum("bqd,qd->bq", F.normalize(image, dim=-1), F.normalize(text, dim=-1))
    loss = info_nce_of_cosines(cosines, scale).mean()
    torch.testing.assert_close(loss, arrays["ext_loss"].view(()), rtol=1e-5, atol=1e-6)
    loss.backward()
    for found, name in ((image, "img"), (text, "txt"), (scale, "logit_scale")):
        torch.testing.assert_close(
            found.grad, arrays[f"ext_grad_{name}"].view_as(found), rtol=1e-5, atol=1e-6
        )


def test_the_temperature_is_clamped():
    assert inverse_temperature(torch.tensor(10.0)) == 100
    assert inverse_temperature(torch.tensor(INITIAL_LOG_SCALE)).item() == pytest.approx(1 / 0.07, rel=1e-6)


def test_info_nce_with_every_image_twice_is_at_least_ln_2():
    perfect = torch.eye(4).repeat(2, 2) * 2 - 1  # every image twice, matched perfectly with its texts
    assert info_nce_of_cosines(perfect, torch.tensor(math.log(100.0))).mean().item() == pytest.approx(
        math.log(2)
    )


def test_without_pairs_the_loss_is_zero():
    empty = torch.zeros(0, 3, requires_grad=True)
    loss = info_nce(empty, empty, torch.tensor(INITIAL_LOG_SCALE)).sum()
    loss.backward()
    assert loss == 0
