"""DALNet: one test for each mistake that a re-implementation can easily make, and one for every option."""

from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from wsss_bench.methods.optim import OptimConfig, build_optimizer
from wsss_bench.methods.single_stage import dalnet_losses, dalnet_texts
from wsss_bench.methods.single_stage.dalnet import (
    DALNet,
    LossWeights,
    MixedCAMConfig,
    ProjectionConfig,
    StartSteps,
)
from wsss_bench.methods.single_stage.dalnet_losses import CCLConfig, GIAConfig, LEAConfig
from wsss_bench.methods.single_stage.dalnet_texts import TextConfig
from wsss_bench.methods.single_stage.network import DecoderConfig
from wsss_bench.methods.single_stage.object_mask import MaskConfig
from wsss_bench.nn.clip import CLIP
from wsss_bench.types import IMAGENET_MEAN, ImageBatch
from wsss_bench.vocabulary import load

CLASSES = load("mini")
TEXT = TextConfig(model="package:mini/clip", templates="mini", fg_set="mini", bg_set="mini")
AT_ONCE = StartSteps(lea=0, ccl=0, seg=0)


@pytest.fixture(scope="module", autouse=True)
def one_clip():
    """Load the text encoder once for all tests."""
    clip = CLIP("package:mini/clip")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dalnet_texts, "CLIP", lambda name: clip)
        yield clip


def build(seed=0, **options):
    torch.manual_seed(seed)
    options = {
        "optim": OptimConfig("adamw", 1e-3),
        "backbone": "package:mini2/vit.json",
        "weights": "package:mini2/vit.safetensors",
        "decoder": DecoderConfig(width=8),
        "text": TEXT,
        "cam": MixedCAMConfig(scales=(1.0, 0.5)),
        "start": AT_ONCE,
        **options,
    }
    return DALNet(CLASSES, **options)


def batch(size=48, labels=((0,), (1, 4)), valid=None):
    image = torch.rand(len(labels), 3, size, size, generator=torch.Generator().manual_seed(1))
    hot = torch.zeros(len(labels), len(CLASSES))
    for row, present in zip(hot, labels, strict=True):
        row[list(present)] = 1
    valid = torch.ones(len(labels), size, size, dtype=torch.bool) if valid is None else valid
    return ImageBatch([f"image{i}" for i in range(len(labels))], image, hot, valid)


def losses(method, data=None, step=None):
    if step is None:
        return method.training_loss(data or batch())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(DALNet, "global_step", step)
        return method.training_loss(data or batch())


def cams(method, data):
    tokens = method.network.encode(data.image)
    return method.network.cams(method.class_maps, data.image, tokens, method.cam)


def train(method, data, steps):
    optimizer = build_optimizer(method.parameter_groups(), method.optim)
    for _ in range(steps):
        optimizer.zero_grad()
        sum(losses(method, data).values()).backward()
        optimizer.step()


def test_gia_has_a_gradient_for_every_image_at_initialisation():
    method = build()
    for labels in ((0,), (1, 4), (7,)):
        method.zero_grad()
        losses(method, batch(labels=(labels,)))["gia"].backward()
        gradient = method.global_projection.weight.grad
        assert torch.isfinite(gradient).all()
        assert gradient.any()


@pytest.mark.slow
def test_text_embeddings_are_constant_unit_vectors_in_label_order(one_clip):
    method = build()
    for texts in (method.text_foreground, method.text_background):
        torch.testing.assert_close(texts.norm(dim=1), torch.ones(len(texts)), atol=1e-5, rtol=0)
    bus = one_clip.encode_text(["a photo of a bus"])[0]
    torch.testing.assert_close(method.text_foreground[CLASSES.index("bus")], bus, atol=1e-5, rtol=0)
    before = method.text_foreground.clone(), method.text_background.clone()
    train(method, batch(size=16), 10)
    assert torch.equal(method.text_foreground, before[0])
    assert torch.equal(method.text_background, before[1])
    assert not [name for name, _ in method.named_parameters() if "text" in name or "clip" in name]


def test_embeddings_averaged_over_templates_are_unit_vectors(one_clip):
    method = build(text=replace(TEXT, templates="subset_7"))
    torch.testing.assert_close(method.text_foreground.norm(dim=1), torch.ones(8), atol=1e-5, rtol=0)


def test_the_mask_depends_on_the_auxiliary_classifier_only():
    method, data = build(), batch()
    before = method.object_mask(data, cams(method, data), 0)
    torch.nn.init.normal_(method.network.classifier.weight)
    after = method.object_mask(data, cams(method, data), 0)
    assert all(map(torch.equal, before, after))
    torch.nn.init.normal_(method.network.aux_classifier.weight)
    changed = method.object_mask(data, cams(method, data), 0)
    assert not all(map(torch.equal, before, changed))


def test_the_mask_may_switch_to_the_main_cam():
    method, data = build(mask=MaskConfig(main_cam_after=10)), batch()
    found = cams(method, data)
    early, late = (method.object_mask(data, found, step) for step in (9, 10))
    swapped = method.object_mask(data, type(found)(found.auxiliary, found.main), 9)
    assert not all(map(torch.equal, early, late))
    assert all(map(torch.equal, late, swapped))


def test_lea_and_ccl_give_no_gradient_to_the_auxiliary_classifier():
    method = build()
    found = losses(method)
    (found["lea"] + found["ccl"]).backward()
    assert method.network.aux_classifier.weight.grad is None
    assert method.local_projection.weight.grad.any()


def test_padded_patches_are_neither_object_nor_background():
    valid = torch.ones(2, 48, 48, dtype=torch.bool)
    valid[0, :, 20:] = False  # patches of 8 pixels: two columns have no padded pixel
    method, data = build(), batch(valid=valid)
    mask = method.object_mask(data, cams(method, data), 0)
    inside = (mask.objects.any(dim=1) | mask.background)[0].unflatten(0, (6, 6))
    assert inside[:, :2].any()
    assert not inside[:, 2:].any()


@pytest.mark.parametrize("padding", ["corner", "all"])
def test_padding_keeps_everything_finite(padding):
    valid = torch.zeros(2, 48, 48, dtype=torch.bool)
    if padding == "corner":
        valid[:, :8, :8] = True
    method = build()
    found = losses(method, batch(valid=valid))
    sum(found.values()).backward()
    assert all(torch.isfinite(value) for value in found.values())
    assert all(torch.isfinite(p.grad).all() for p in method.parameters() if p.grad is not None)
    if padding == "all":
        assert found["lea"].item() == found["ccl"].item() == found["seg"].item() == 0


def test_images_without_any_class_keep_everything_finite():
    for step in (0, 10):
        found = losses(build(start=StartSteps(5, 5, 5)), batch(labels=((), ())), step)
        assert all(torch.isfinite(value) for value in found.values())


def test_a_loss_is_zero_before_its_start_step():
    method = build(start=StartSteps(lea=3, ccl=5, seg=7))
    for step, counting in ((2, ""), (3, "lea"), (5, "lea ccl"), (7, "lea ccl seg")):
        found = losses(method, step=step)
        assert {name for name in ("lea", "ccl", "seg") if found[name].item()} == set(counting.split())
    method.zero_grad()
    sum(losses(method, step=0).values()).backward()
    # a zero gradient, not None: data-parallel training needs a gradient for every parameter
    assert not method.network.decoder.conv8.weight.grad.any()


def test_heads_have_ten_times_the_encoder_learning_rate_and_the_decoder_its_own():
    method = build()
    encoder, heads, decoder = method.parameter_groups()
    network = method.network
    new = (network.classifier, network.aux_classifier, method.global_projection, method.local_projection)

    def listed(*modules):
        return {id(p) for module in modules for p in module.parameters()}

    groups = [{id(p) for p in group["params"]} for group in (encoder, heads, decoder)]
    assert groups == [listed(network.encoder), listed(*new), listed(network.decoder)]
    assert (heads["lr_scale"], decoder["lr_scale"]) == (10.0, 10.0)
    assert build(decoder=DecoderConfig(width=8, lr_scale=3.0)).parameter_groups()[2]["lr_scale"] == 3.0


def test_images_are_normalised_with_imagenet_statistics():
    assert build().network.normalize.mean.flatten().tolist() == pytest.approx(IMAGENET_MEAN)


@pytest.mark.slow
def test_permuted_class_texts_raise_the_alignment_losses():
    method, data = build(loss=LossWeights(gia=1, lea=1, ccl=1, ptc=0)), batch(size=32)
    train(method, data, 12)
    learned = {name: losses(method, data)[name].item() for name in ("gia", "lea", "ccl")}
    method.text_foreground = method.text_foreground.roll(1, dims=0)
    for name, value in learned.items():
        assert losses(method, data)[name].item() > value, name


def test_zero_loss_weights_train_the_base_bit_for_bit():
    off = LossWeights(gia=0, lea=0, ccl=0)
    base = build(loss=off)
    other = build(loss=off, text=replace(TEXT, bg_mode="class_related", center=True), ccl=CCLConfig(tau=1.0))
    assert set(losses(base)) == {"cls", "aux", "ptc", "seg"}
    for method in (base, other):
        assert not any(p.requires_grad for p in method.global_projection.parameters())
        assert not any(p.requires_grad for p in method.local_projection.parameters())
        train(method, batch(size=16), 2)
    for (name, one), two in zip(
        base.network.state_dict().items(), other.network.state_dict().values(), strict=True
    ):
        assert torch.equal(one, two), name


def test_loss_weights_scale_their_losses():
    one = losses(build(loss=LossWeights(1, 1, 1, 1, 1, 1, 1)))
    weights = LossWeights(cls=2, aux=3, gia=4, lea=5, ccl=6, ptc=7, seg=8)
    for name, value in losses(build(loss=weights)).items():
        assert value.item() == pytest.approx(getattr(weights, name) * one[name].item(), rel=1e-5), name


OPTIONS = {
    "similarity": ({"similarity": "sigmoid"}, {"gia", "lea"}),
    "bg_reduce": ({"gia": GIAConfig(bg_reduce="sum")}, {"gia"}),
    "bg_threshold": ({"gia": GIAConfig(bg_threshold=0.0)}, {"gia"}),
    "bg_repel": ({"lea": LEAConfig(bg_repel=False)}, {"lea"}),
    "bg_attract": ({"lea": LEAConfig(bg_attract=True)}, {"lea"}),
    "tau": ({"ccl": CCLConfig(tau=0.5)}, {"ccl"}),
    "class_negatives": ({"ccl": CCLConfig(class_negatives=True)}, {"ccl"}),
    "bg_patches": ({"ccl": CCLConfig(bg_patches=3)}, {"ccl"}),
    "mask high": ({"mask": MaskConfig(high=0.26)}, {"lea", "ccl"}),
    "mask low": ({"mask": MaskConfig(low=0.6)}, {"lea", "ccl"}),
    "class_agnostic": ({"mask": MaskConfig(class_agnostic=True)}, {"lea", "ccl"}),
    "min_patches": ({"mask": MaskConfig(min_patches=9)}, {"lea", "ccl"}),
    "main_cam_after": ({"mask": MaskConfig(main_cam_after=0)}, {"lea", "ccl"}),
    "cam high": ({"cam": MixedCAMConfig((1.0, 0.5), high=0.4)}, {"lea", "ccl", "ptc", "seg"}),
    "cam low": ({"cam": MixedCAMConfig((1.0, 0.5), low=0.5)}, {"lea", "ccl", "ptc", "seg"}),
    "cam scales": ({"cam": MixedCAMConfig((1.0,))}, {"lea", "ccl", "ptc", "seg"}),
    "aux_cam_until": ({"cam": MixedCAMConfig((1.0, 0.5), aux_cam_until=1)}, {"seg"}),
    "text_mix": ({"cam": MixedCAMConfig((1.0, 0.5), text_mix=0.5)}, {"seg"}),
    "bg_mode": ({"text": replace(TEXT, bg_mode="class_related")}, {"gia", "ccl"}),
    "center": ({"text": replace(TEXT, center=True)}, {"gia", "lea", "ccl"}),
    "templates": ({"text": replace(TEXT, templates="identity")}, {"gia", "lea", "ccl"}),
    "shared": ({"proj": ProjectionConfig(shared=True)}, {"lea", "ccl"}),
    "mlp": ({"proj": ProjectionConfig(kind="mlp")}, {"gia", "lea", "ccl"}),
    "dilation": ({"decoder": DecoderConfig(width=8, dilation=1)}, {"seg"}),
    "aux_layer": ({"aux_layer": 1}, {"aux", "lea", "ccl", "ptc"}),
}


@pytest.fixture(scope="module")
def default():
    return {name: value.item() for name, value in losses(build()).items()}


@pytest.mark.slow
@pytest.mark.parametrize("name", OPTIONS)
def test_every_option_changes_its_losses_and_no_other(name, default):
    options, expected = OPTIONS[name]
    found = losses(build(**options))
    assert all(torch.isfinite(value) for value in found.values())
    assert {key for key, value in found.items() if value.item() != default[key]} == expected


def test_gather_takes_background_prototypes_of_all_ranks(monkeypatch):
    calls = []
    gather_rows = dalnet_losses.gather_rows
    monkeypatch.setattr(dalnet_losses, "gather_rows", lambda rows: calls.append(rows) or gather_rows(rows))
    losses(build(ccl=CCLConfig(gather=False)))
    assert not calls
    losses(build())
    assert len(calls) == 2


def test_a_shared_projection_is_listed_once_and_trained_if_one_loss_uses_it():
    method = build(proj=ProjectionConfig(shared=True), loss=LossWeights(gia=0))
    listed = [id(p) for group in method.parameter_groups() for p in group["params"]]
    assert len(listed) == len(set(listed))
    assert all(p.requires_grad for p in method.global_projection.parameters())


def test_seeds_are_class_maps_without_their_minimum_mixed_with_text_similarity():
    image = torch.rand(1, 3, 48, 48)
    method = build()
    tokens = method.network.encode(image)
    maps = F.relu(method.network.classifier(tokens.patches))
    torch.testing.assert_close(method.seed_maps(image), maps - maps.amin(dim=(2, 3), keepdim=True))
    mixed = build(cam=MixedCAMConfig(text_mix=1.0)).seed_maps(image)
    similar = torch.einsum("behw,ce->bchw", method._patch_embeddings(tokens), method.text_foreground).relu()
    similar = similar - similar.amin(dim=(2, 3), keepdim=True)
    torch.testing.assert_close(mixed, similar / (similar.amax(dim=(2, 3), keepdim=True) + 1e-5))


def test_a_background_text_that_names_a_present_class_is_left_out(monkeypatch):
    monkeypatch.setattr(dalnet_texts, "background_texts", lambda name: ["sky", "bird"])
    method = build()
    bird = torch.eye(len(CLASSES))[[CLASSES.index("bird"), CLASSES.index("car")]]
    assert method.active_backgrounds(bird).tolist() == [[True, False], [True, True]]


def test_projections_have_the_width_of_the_text_encoder(one_clip):
    method = build()
    assert method.global_projection.out_features == one_clip.embed_dim
    assert method.global_projection.in_features == method.network.encoder.channels != one_clip.embed_dim


def test_a_crop_size_that_is_no_multiple_of_the_patch_size_names_the_key():
    with pytest.raises(ValueError, match=r"20x20 pixels .* data\.transform\.crop_size"):
        losses(build(), batch(size=20))
