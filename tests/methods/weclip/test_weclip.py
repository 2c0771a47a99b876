"""WeCLIP on the shipped mini CLIP: phases, padding, any number of labels, any image size, bad settings."""

import pytest
import torch

from wsss_bench.inference import logits_of, seeds_of
from wsss_bench.methods.weclip import DecoderConfig, WeCLIP
from wsss_bench.nn.attention_refinement import kept_blocks, refined_attention
from wsss_bench.nn.competing_texts import Texts
from wsss_bench.nn.online_labels import pseudo_labels
from wsss_bench.nn.par import PAR
from wsss_bench.types import IGNORE, ImageBatch

CLASSES = ["aeroplane", "bird", "boat", "bus", "car", "cow", "sheep", "train"]
MINI = Texts(classes="mini", backgrounds="mini", templates="mini")


def build(**arguments):
    torch.manual_seed(0)
    small = {
        "clip": "package:mini/clip",
        "texts": MINI,
        "decoder": DecoderConfig(width=32, blocks=1),
        "affinity_blocks": 4,
        "refine_blocks": 4,
        "pair_radius": 5,
    }
    return WeCLIP(CLASSES, **{**small, **arguments})


@pytest.fixture(scope="module")
def shared():
    return build()


@pytest.fixture
def method(shared):
    """Not refining, at step 0."""
    shared.refining.fill_(False)
    shared.progress = None
    shared.refine_from = 9145
    return shared.train()


def batch_of(size=(48, 64), labels=((0,), (1, 2, 3), ())):
    generator = torch.Generator().manual_seed(1)
    multi_hot = torch.zeros(len(labels), len(CLASSES))
    for row, own in enumerate(labels):
        multi_hot[row, list(own)] = 1
    ids = [f"image {row}" for row in range(len(labels))]
    image = torch.rand(len(labels), 3, *size, generator=generator)
    return ImageBatch(ids, image, multi_hot, torch.ones(len(labels), *size, dtype=torch.bool))


@pytest.mark.parametrize("size", [(48, 64), (96, 96), (8, 8)])
@pytest.mark.parametrize("refine_from", [None, 0])
def test_a_step_is_finite_for_any_grid_and_any_number_of_labels(method, size, refine_from):
    method.refine_from = refine_from
    method.zero_grad()
    losses = method.training_loss(batch_of(size))
    sum(losses.values()).backward()
    assert all(torch.isfinite(loss) and loss >= 0 for loss in losses.values())
    assert all(torch.isfinite(parameter.grad).all() for parameter in method.parameters())


def test_a_batch_without_any_label_trains_background(method):
    batch = batch_of(labels=((), ()))
    losses = method.training_loss(batch)
    assert torch.isfinite(losses["seg"])
    maps = method.seed_maps(batch.image, batch.labels)
    assert not maps.any()
    assert not pseudo_labels(batch.image, maps, batch.labels, batch.valid, method.par).any()


def test_a_class_of_zeros_everywhere_is_background():
    batch = batch_of(labels=((4,),))
    maps = torch.zeros(1, len(CLASSES), 6, 8)
    assert not pseudo_labels(batch.image, maps, batch.labels, batch.valid, PAR(20)).any()


def test_pseudo_labels_of_an_image_do_not_depend_on_the_labels_of_others():
    batch = batch_of(labels=((5,), (0, 1, 6)))
    maps = torch.rand(2, len(CLASSES), 6, 8) * batch.labels[:, :, None, None]
    together = pseudo_labels(batch.image, maps, batch.labels, batch.valid, PAR(20))
    for row, allowed in enumerate(({0, 6}, {0, 1, 2, 7})):
        own = slice(row, row + 1)
        alone = pseudo_labels(batch.image[own], maps[own], batch.labels[own], batch.valid[own], PAR(20))
        assert torch.equal(together[own], alone)
        assert set(alone.unique().tolist()) <= allowed


def test_without_refinement_a_pixel_is_foreground_above_one_half():
    batch = batch_of(labels=((2, 3),))
    maps = torch.rand(1, len(CLASSES), *batch.image.shape[2:]) * batch.labels[:, :, None, None]
    label = pseudo_labels(batch.image, maps, batch.labels, batch.valid, lambda image, scores: scores)
    best, index = maps.max(dim=1)
    assert torch.equal(label, (index + 1).where(best > 0.5, torch.zeros_like(index)))


def test_padding_is_ignored(method):
    batch = batch_of()
    valid = batch.valid.clone()
    valid[:, 32:] = False
    maps = method.seed_maps(batch.image, batch.labels)
    label = pseudo_labels(batch.image, maps, batch.labels, valid, method.par)
    assert (label[~valid] == IGNORE).all()
    assert (label[valid] != IGNORE).all()


def test_refinement_starts_at_its_step_and_stays_in_the_checkpoint(method):
    batch = batch_of()
    method.refine_from, method.total_steps = 10, 20
    plain = method.eval().seed_maps(batch.image, batch.labels)
    method.train()
    for progress, refines in ((0.45, False), (0.5, True)):
        method.progress = progress  # steps 9 and 10
        method.after_step()
        assert bool(method.refining) is refines
    refined = method.eval().seed_maps(batch.image, batch.labels)
    assert not torch.allclose(refined, plain, atol=1e-2)
    assert bool(method.state_dict()["refining"])


def test_the_decoder_has_no_gradient_of_the_refinement(method):
    """Maps change with the decoder, but the loss does not see how."""
    method.refine_from = 0
    attention = torch.rand(4, 1, 6, 6)
    affinity = torch.rand(1, 6, 6)
    assert refined_attention(attention, affinity).shape == (1, 6, 6)
    batch = batch_of()
    encoded = method._encode(batch.image, 4)
    affinity = torch.rand(3, 48, 48, requires_grad=True)
    assert not method._class_maps(encoded, batch.labels, affinity).requires_grad


def test_blocks_that_attend_alike_are_all_kept():
    attention = torch.rand(1, 2, 7, 7).expand(3, -1, -1, -1)
    assert kept_blocks(attention).all()
    assert not torch.equal(kept_blocks(torch.rand(6, 2, 7, 7)), torch.ones(6, 2, dtype=torch.bool))


@pytest.mark.parametrize("size", [(48, 80), (160, 216)])
def test_seeds_and_logits_have_one_place_for_each_patch(method, size):
    method.eval().refining.fill_(True)
    image, labels = torch.rand(1, 3, *size), torch.zeros(1, len(CLASSES))
    labels[0, 2] = 1
    with torch.inference_mode():
        seeds, logits = seeds_of(method, image, labels), logits_of(method, image)
    assert seeds.shape == (1, 8, size[0] // 8, size[1] // 8)
    assert logits.shape == (1, 9, size[0] // 8, size[1] // 8)
    assert torch.isfinite(seeds).all()
    assert seeds[0, 2].max() > 0.99
    assert not seeds[:, [0, 1, 3]].any()
    assert not logits.requires_grad


def test_dropout_differs_between_steps_and_is_off_at_prediction(method):
    batch = batch_of()
    method.total_steps = 10
    values = []
    for progress in (0.1, 0.1, 0.2):
        method.progress = progress
        values.append(method.training_loss(batch)["seg"].item())
    assert values[0] == values[1] != values[2]
    method.eval()
    assert torch.equal(method.segmentation_logits(batch.image), method.segmentation_logits(batch.image))


def test_clip_is_frozen_and_not_in_the_checkpoint(method):
    parts = {name.split(".")[0] for name in method.state_dict()}
    assert parts == {"fusion", "decoder", "refining"}
    assert {name.split(".")[0] for name, _ in method.named_parameters()} == {"fusion", "decoder"}
    method.training_loss(batch_of())
    assert all(parameter.grad is None for parameter in method.clip.network.parameters())


def test_labels_and_affinities_are_in_full_precision_under_autocast(method):
    batch = batch_of()
    method.refine_from = 0
    with torch.autocast("cpu", torch.bfloat16):
        losses = method.training_loss(batch)
        maps = method.seed_maps(batch.image, batch.labels)
    assert all(loss.dtype == torch.float32 for loss in losses.values())
    assert maps.dtype == torch.float32


def test_seeds_without_labels_are_refused(method):
    with pytest.raises(ValueError, match="need the labels of an image"):
        method.seed_maps(torch.rand(1, 3, 48, 48))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"affinity_blocks": 8}, "affinity_blocks is 8; expected a whole number at least 1 and at most 4"),
        ({"refine_blocks": 0}, "refine_blocks is 0"),
        ({"pair_radius": 0}, "pair_radius is 0"),
        ({"texts": Texts({"bird": "bird"}, "mini", "mini")}, "lack the class aeroplane"),
    ],
)
def test_settings_that_do_not_fit_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        build(**arguments)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"width": 100}, "width is 100, which does not divide into 8 heads"),
        ({"dropout": 1.0}, "dropout is 1.0"),
    ],
)
def test_decoders_that_cannot_be_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        DecoderConfig(**arguments)
