"""ToCo: teacher, start steps, loss weights and options; the parts it shares have their own tests."""

import pytest
import torch

from wsss_bench.methods.optim import OptimConfig, build_optimizer
from wsss_bench.methods.single_stage.network import CAMConfig, DecoderConfig
from wsss_bench.methods.single_stage.toco import CTCConfig, LossWeights, StartSteps, ToCo
from wsss_bench.types import ImageBatch

SMALL = CTCConfig(crops=3, crop_size=16, hidden=8)
# most of a random image counts as background
MOSTLY_BACKGROUND = CAMConfig(scales=(1.0, 0.5), low=0.6)
AT_ONCE = StartSteps(ptc=0, ctc=0, seg=0)


def build(**options):
    torch.manual_seed(0)
    options = {
        "optim": OptimConfig("adamw", 1e-3),
        "backbone": "package:mini2/vit.json",
        "weights": "package:mini2/vit.safetensors",
        "decoder": DecoderConfig(width=8),
        "cam": CAMConfig(scales=(1.0, 0.5)),
        "ctc": SMALL,
        "start": AT_ONCE,
        **options,
    }
    return ToCo(("bird", "boat", "bus"), **options)


def batch(size=48, labels=((1.0, 0, 0), (0, 1, 1))):
    image = torch.rand(len(labels), 3, size, size, generator=torch.Generator().manual_seed(1))
    valid = torch.ones(len(labels), size, size, dtype=torch.bool)
    return ImageBatch([f"image{i}" for i in range(len(labels))], image, torch.tensor(labels), valid)


def losses(method, data=None, step=None):
    if step is None:
        return method.training_loss(data or batch())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ToCo, "global_step", step)
        return method.training_loss(data or batch())


def test_the_teacher_is_a_moving_average_of_the_projection_and_not_trained():
    method = build()
    before = method.teacher_projection.last_layer.weight.clone()
    assert torch.equal(before, method.projection.last_layer.weight)
    with torch.no_grad():
        method.projection.last_layer.weight += 1
    losses(method)
    torch.testing.assert_close(method.teacher_projection.last_layer.weight, before + 0.1)
    listed = {id(p) for group in method.parameter_groups() for p in group["params"]}
    assert not listed & {id(p) for p in method.teacher_projection.parameters()}
    assert {id(p) for p in method.projection.parameters()} <= listed


def test_a_loss_is_zero_before_its_start_step():
    method = build(start=StartSteps(ptc=3, ctc=5, seg=7))
    for step, counting in ((2, ""), (3, "ptc"), (5, "ptc ctc"), (7, "ptc ctc seg")):
        found = losses(method, step=step)
        assert {name for name in ("ptc", "ctc", "seg") if found[name].item()} == set(counting.split())
    method.zero_grad()
    sum(losses(method, step=0).values()).backward()
    # zero gradients, not None: data-parallel training needs a gradient for every parameter
    for unused in (method.projection.last_layer, method.network.decoder.conv8):
        assert not unused.weight.grad.any()


def test_loss_weights_scale_their_losses():
    one = losses(build(loss=LossWeights(1, 1, 1, 1, 1)))
    weights = LossWeights(cls=2, aux=3, ptc=4, ctc=5, seg=6)
    for name, value in losses(build(loss=weights)).items():
        assert value.item() == pytest.approx(getattr(weights, name) * one[name].item(), rel=1e-5), name


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"ctc": CTCConfig(4, 16, hidden=8)}, {"ctc"}),
        ({"ctc": CTCConfig(3, 24, hidden=8)}, {"ctc"}),
        ({"ctc": CTCConfig(3, 16, temperature=1.0, hidden=8)}, {"ctc"}),
        ({"ctc": CTCConfig(3, 16, hidden=12)}, {"ctc"}),
        ({"cam": CAMConfig((1.0, 0.5), low=0.6, aux_cam_until=1)}, {"seg"}),
        ({"cam": CAMConfig((1.0, 0.5), high=0.65)}, {"ptc", "ctc", "seg"}),
    ],
)
def test_options_change_their_losses_and_no_other(options, expected):
    options = {"cam": MOSTLY_BACKGROUND, **options}
    default, found = losses(build(cam=MOSTLY_BACKGROUND)), losses(build(**options))
    changed = {key for key, value in found.items() if value.item() != default[key].item()}
    assert changed <= expected
    assert changed


def test_momentum_of_one_keeps_the_teacher():
    method = build(ctc=CTCConfig(3, 16, momentum=1.0, hidden=8))
    before = method.teacher_projection.last_layer.weight.clone()
    optimizer = build_optimizer(method.parameter_groups(), method.optim)
    for _ in range(2):
        optimizer.zero_grad()
        sum(losses(method).values()).backward()
        optimizer.step()
    assert torch.equal(method.teacher_projection.last_layer.weight, before)
    assert not torch.equal(method.projection.last_layer.weight, before)


def test_views_of_an_image_do_not_depend_on_its_batch():
    method, data = build(loss=LossWeights(ctc=1.0)), batch()
    first, second = (ImageBatch(*(part[i : i + 1] for part in data[:4])) for i in range(2))
    whole, alone = losses(method, data), [losses(method, part) for part in (first, second)]
    torch.testing.assert_close(whole["ctc"], (alone[0]["ctc"] + alone[1]["ctc"]) / 2)


def test_images_without_any_class_keep_everything_finite():
    for step in (0, 10):
        found = losses(build(start=StartSteps(5, 5, 5)), batch(labels=((0.0, 0, 0), (0.0, 0, 0))), step)
        assert all(torch.isfinite(value) for value in found.values())


def test_sizes_that_do_not_fit_are_errors_that_name_the_key():
    with pytest.raises(ValueError, match=r"20x20 pixels .* data\.transform\.crop_size"):
        losses(build(), batch(size=20))
    with pytest.raises(ValueError, match=r"12x12 pixels .* patches of 8"):
        losses(build(ctc=CTCConfig(3, 12, hidden=8)))
    with pytest.raises(ValueError, match=r"lower ctc\.crop_size"):
        losses(build(ctc=CTCConfig(3, 56, hidden=8)))
