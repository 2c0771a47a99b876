"""WeCLIP against the arrays of the authors' code: maps, labels, losses, gradients, schedule and read-outs."""

import golden_weclip
import numpy as np
import pytest
import torch
from golden_clip import write_generated_clip
from golden_weclip import golden, golden_batch, golden_method
from torch.nn import functional as F
from torch.testing import assert_close

from wsss_bench.inference_config import InferenceConfig
from wsss_bench.losses.pair_affinity import label_pairs, pair_affinity_loss, patch_labels
from wsss_bench.losses.segmentation import balanced_cross_entropy
from wsss_bench.methods.optim import OptimConfig, build_optimizer, build_schedule, poly_warmup
from wsss_bench.methods.weclip import token_affinity
from wsss_bench.nn.attention_affinity import min_max, spread, transition
from wsss_bench.nn.attention_refinement import kept_blocks, refined_attention
from wsss_bench.nn.grad_cam import grad_cam
from wsss_bench.nn.normalize import ImageNetNormalize
from wsss_bench.nn.online_labels import pseudo_labels, with_background
from wsss_bench.published_probabilities import published_probabilities
from wsss_bench.published_readout import PublishedReadout
from wsss_bench.types import InferenceSample

PHASES = {"static": None, "rfm": 0}
"""Phases of the training, and their `refine_from`."""
SCALES = {
    "scales": (1.0, 0.75),
    "resize": "bilinear_factor",
    "mirror": "mean",
    "fuse": "mean",
    "fuse_at": "grid",
}
"""The published read-out at two scales."""
SAME_LABELS = 1e-3
"""Share of pixels whose label may differ."""


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return write_generated_clip(tmp_path_factory.mktemp("clip"))


@pytest.fixture(scope="module")
def method(clip):
    """For VOC, with pairs of at most two patches, as the arrays were made."""
    return golden_method(clip, pair_radius=2)


@pytest.fixture(scope="module")
def steps(method):
    """The step of each phase: losses, gradients by name, class maps and pseudo labels."""
    return {phase: step(method, phase) for phase in PHASES}


def batch_of(arrays):
    return golden_batch([arrays[f"gt_labels_{image}"] - 1 for image in "ab"], 20)


def step(method, phase):
    method.refine_from = PHASES[phase]
    arrays = golden(f"training_step_{phase}")
    batch = batch_of(arrays)
    with pytest.MonkeyPatch.context() as patch:
        seen = []

        def golden_labels(image, maps, labels, valid, refine, most_labels):
            # near-ties of single pixels move gradients by more than rounding, so that they start from theirs
            seen.extend([maps, pseudo_labels(image, maps, labels, valid, refine, most_labels)])
            return torch.from_numpy(arrays["pseudo_label"]).long()

        patch.setattr("wsss_bench.methods.weclip.pseudo_labels", golden_labels)
        method.train().zero_grad()
        losses = method.training_loss(batch)
    sum(losses.values()).backward()
    gradients = {name: parameter.grad.clone() for name, parameter in method.named_parameters()}
    return losses, gradients, *seen


def test_tokens_logits_and_affinity_are_the_published_ones(method):
    arrays = golden("training_step_static")
    with torch.no_grad():
        encoded = method._encode(batch_of(arrays).image, 0)
        fused = method.fusion(encoded.patch_tokens)
        logits = method.decoder(fused, encoded.grid)
    close = {"rtol": 1e-4, "atol": 1e-5}
    np.testing.assert_allclose(fused.mT.unflatten(2, (7, 7)), arrays["fuse_out"], **close)
    np.testing.assert_allclose(logits, arrays["seg_logits"], **close)
    np.testing.assert_allclose(token_affinity(fused), arrays["attn_pred"], **close)


def test_attention_of_the_blocks_is_the_published_one(method):
    image = batch_of(golden("training_step_static")).image[:1]
    with torch.no_grad():
        attention = torch.cat(method._encode(image, 12).attention)
    expected = golden("affinity_static")["attention_first_11_a"]  # every seventh query
    np.testing.assert_allclose(attention[:, ::7], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "prefix", "texts", "refine_blocks"),
    [
        ("affinity_static", "", "voc", None),
        ("affinity_rfm", "", "voc", 6),
        ("affinity_coco", "static_", "coco", None),
        ("affinity_coco", "rfm_", "coco", 10),
    ],
)
def test_class_maps_are_the_published_ones(clip, name, prefix, texts, refine_blocks):
    arrays = golden(name)
    box_threshold = {"voc": 0.4, "coco": 0.7}[texts]
    method = golden_method(clip, texts, box_threshold=box_threshold)
    keys = [arrays[f"keys_{image}"] for image in "ab"]
    batch = golden_batch(keys, len(method.class_names))
    with torch.no_grad():
        encoded = method._encode(batch.image, refine_blocks or 8)
        affinity = token_affinity(method.fusion(encoded.patch_tokens))
        embedded = method.class_texts, method.background_texts
        cam = grad_cam(method.clip.network, encoded.tokens, encoded.grid, *embedded, batch.labels)
        blocks = torch.stack([*encoded.attention, cam.attention[:, 1:, 1:]])
        attention = refined_attention(blocks, affinity) if refine_blocks else blocks.mean(dim=0)
        maps = spread(transition(attention), cam.maps, box_threshold)
        whole = method._class_maps(encoded, batch.labels, affinity if refine_blocks else None)
    close = {"rtol": 1e-4, "atol": 1e-5}
    for row, own in enumerate(keys):
        np.testing.assert_allclose(maps[row, own], arrays[f"{prefix}refined_{'ab'[row]}"], **close)
    assert_close(whole, min_max(maps))
    if f"{prefix}trans_in_a" in arrays:
        np.testing.assert_allclose(attention[0], arrays[f"{prefix}trans_in_a"], **close)
    if "trans_out_a" in arrays:
        squared = torch.linalg.matrix_power(transition(attention), 2)
        np.testing.assert_allclose(squared[0], arrays["trans_out_a"], **close)
    if refine_blocks:
        kept = kept_blocks(blocks)
        for row, image in enumerate("ab"):
            np.testing.assert_array_equal(kept[:, row], arrays[f"kept_{image}"])
        difference = affinity[0].sum() - blocks[:, 0].sum(dim=(1, 2))
        np.testing.assert_allclose(difference, arrays["difference_a"], rtol=1e-4)
        last = arrays[f"attention_last_{refine_blocks}_a"]
        np.testing.assert_allclose(blocks[:, 0, ::7], last, **close)
    else:
        assert "attention_block_11_a" not in arrays or np.allclose(
            cam.attention[0, 1:, 1:], arrays["attention_block_11_a"], **close
        )
    if texts == "coco":
        labels = pseudo_labels(batch.image, whole, batch.labels, batch.valid, method.par)
        assert (labels.numpy() != arrays[f"{prefix}pseudo_label"]).mean() <= SAME_LABELS


@pytest.mark.parametrize("phase", PHASES)
def test_scores_and_labels_are_the_published_ones(method, steps, phase):
    arrays, golden_step = golden(f"pseudo_label_{phase}"), golden(f"training_step_{phase}")
    batch = batch_of(golden_step)
    *_, maps, labels = steps[phase]
    own = maps[:1, batch.labels[0].bool()]
    scores = with_background(F.interpolate(own, (112, 112), mode="bilinear", align_corners=False))
    refined = method.par(batch.image[:1], scores)
    # every fourth pixel of both
    np.testing.assert_allclose(scores[0, :, ::4, ::4], arrays["scores_a"], rtol=0, atol=2e-3)
    np.testing.assert_allclose(refined[0, :, ::4, ::4], arrays["par_out_a"], rtol=0, atol=2e-3)
    assert (labels[0].numpy() != arrays["label_a"]).mean() <= SAME_LABELS
    assert (labels.numpy() != golden_step["pseudo_label"]).mean() <= SAME_LABELS


@pytest.mark.parametrize("phase", PHASES)
def test_pairs_and_losses_are_the_published_ones(steps, phase):
    arrays = golden(f"training_step_{phase}")
    losses = steps[phase][0]
    labels = patch_labels(torch.from_numpy(arrays["pseudo_label"]).long(), (7, 7))
    pairs = label_pairs(labels, 2)
    np.testing.assert_array_equal(pairs, arrays["aff_label"])
    assert [1 + (pairs == kind).sum() for kind in (1, 0)] == [arrays["pos_count"], arrays["neg_count"]]
    np.testing.assert_allclose(losses["seg"].detach(), arrays["seg_loss"], rtol=1e-4)
    np.testing.assert_allclose(losses["affinity"].detach(), 0.1 * arrays["aff_loss"], rtol=1e-4)
    np.testing.assert_allclose(sum(losses.values()).detach(), arrays["loss"], rtol=1e-4)


@pytest.mark.parametrize("phase", PHASES)
def test_gradients_are_the_published_ones(steps, phase):
    arrays = golden(f"training_step_{phase}")
    gradients = steps[phase][1]
    assert len(gradients) == len(arrays["gradient_names"]) == 84
    for name, norm in zip(arrays["gradient_names"], arrays["gradient_norms"], strict=True):
        ours = gradients[golden_weclip.our_name(str(name))]
        np.testing.assert_allclose(ours.norm(), norm, rtol=1e-3, err_msg=name)
        if f"grad/{name}" in arrays:
            expected = arrays[f"grad/{name}"].reshape(ours.shape)
            np.testing.assert_allclose(ours, expected, rtol=1e-3, atol=1e-3 * np.abs(expected).max())


@pytest.mark.parametrize("phase", PHASES)
def test_a_step_of_the_optimiser_is_the_published_one(steps, phase):
    arrays = golden(f"training_step_{phase}")
    weight = torch.nn.Parameter(torch.from_numpy(arrays["linear_pred_before"]).flatten(1))
    weight.grad = steps[phase][1]["decoder.classifier.weight"].clone()
    rate = 2e-3 * poly_warmup(100, 30_000, 1.0, 50)
    np.testing.assert_allclose(rate, arrays["lr_step_100"], rtol=1e-6)
    build_optimizer([{"params": [weight]}], OptimConfig(name="adamw", lr=rate, weight_decay=1e-2)).step()
    expected = arrays["linear_pred_after_step_100"].reshape(weight.shape)
    np.testing.assert_allclose(weight.detach(), expected, rtol=1e-4, atol=1e-5)


def test_the_default_schedule_is_the_published_one(method):
    arrays = golden("schedule")
    for data, total in (("voc", 30_000), ("coco", 80_000)):
        optimizer = build_optimizer(method.parameter_groups(), method.optim)
        factor = build_schedule(optimizer, method.optim, total).lr_lambdas[0]
        rates = [method.optim.lr * factor(int(at)) for at in arrays[f"steps_{data}"]]
        np.testing.assert_allclose(rates, arrays[f"lr_decoder_{data}"], rtol=1e-5)


def test_images_have_the_published_statistics():
    arrays = golden("augmentation")
    row = torch.from_numpy(arrays["rescaled_1_37"]).T[:, None].float() / 255  # first row of the scaled image
    np.testing.assert_allclose(
        ImageNetNormalize()(row)[:, 0].T, arrays["normalised_first_row"], rtol=1e-4, atol=1e-5
    )


def test_the_losses_alone_are_the_published_ones():
    arrays = golden("losses")
    label = torch.from_numpy(arrays["label"]).long()
    logits = torch.from_numpy(arrays["seg_logits"]).requires_grad_()
    enlarged = F.interpolate(logits, label.shape[1:], mode="bilinear", align_corners=False)
    loss = balanced_cross_entropy(enlarged, label)
    loss.backward()
    np.testing.assert_allclose(loss.detach(), arrays["seg_loss"], rtol=1e-4)
    np.testing.assert_allclose(logits.grad, arrays["seg_grad"], rtol=1e-3, atol=1e-6)
    affinity = torch.from_numpy(arrays["affinity"])
    pairs = label_pairs(patch_labels(label, (4, 3)), 1)
    np.testing.assert_allclose(pair_affinity_loss(affinity, pairs), arrays["aff_loss"], rtol=1e-4)


@pytest.mark.parametrize(
    ("readout", "logits", "labels"),
    [
        ({}, "segs", "pred"),
        (SCALES, "msc_segs", "msc_pred"),
    ],
)
def test_the_published_readout_is_that_of_the_test_script(method, readout, logits, labels):
    arrays = golden("inference_odd")
    sample = InferenceSample("odd", arrays["image_uint8"], None)
    settings = PublishedReadout(long_side=int(arrays["resize_long"]), remainder="drop", **readout)
    found = published_probabilities(method.eval(), [sample], settings, InferenceConfig(pad_to=16))[0]
    enlarged = F.interpolate(torch.from_numpy(arrays[logits]), found.shape[1:], mode="bilinear")
    np.testing.assert_allclose(found, enlarged[0].softmax(dim=0), rtol=1e-4, atol=1e-5)
    assert (found.argmax(dim=0).numpy() != arrays[labels]).mean() <= SAME_LABELS


def test_seeds_and_labels_at_test_are_the_published_ones(method):
    """A published label has PAR; the test script shows CLIP the whole image, cut to whole patches."""
    arrays = golden("inference_odd")
    image = torch.from_numpy(arrays["image_uint8"]).permute(2, 0, 1)[None].float() / 255
    small = F.interpolate(image, (112, 77), mode="bilinear")
    labels = torch.zeros(1, 20)
    labels[0, [0, 14]] = 1
    method.eval().refining.fill_(True)
    maps = method.seed_maps(small[..., :64], labels)
    method.refining.fill_(False)
    # their PAR sees the small image, enlarged
    seen = F.interpolate(small, image.shape[2:], mode="bilinear", align_corners=True)
    valid = torch.ones(1, *image.shape[2:], dtype=torch.bool)
    found = pseudo_labels(seen, maps, labels, valid, method.par)
    assert (found[0].numpy() != arrays["cam_label"]).mean() <= SAME_LABELS
