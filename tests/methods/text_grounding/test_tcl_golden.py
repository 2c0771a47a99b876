"""TCL against arrays of the official code: losses, gradients, optimiser steps, inference, learning rate."""

from copy import deepcopy

import pytest
import torch
import yaml
from golden_clip import golden, sentence, words, write_golden_clip
from golden_clip import tensors as tensors_of
from paths import CONFIGS, GOLDEN
from torch.nn import functional as F

from wsss_bench.methods.optim import OptimConfig, build_optimizer, build_schedule
from wsss_bench.methods.text_grounding import tcl
from wsss_bench.methods.text_grounding.grounding import MaskInference
from wsss_bench.methods.text_grounding.image_segmenter import hard_masks, unit_pixels
from wsss_bench.methods.text_grounding.info_nce import INITIAL_LOG_SCALE, info_nce, info_nce_of_cosines
from wsss_bench.methods.text_grounding.losses import area_loss, masked_pool, total_variation
from wsss_bench.methods.text_grounding.tcl import TCL
from wsss_bench.nn.class_prompts import prompt_ensemble
from wsss_bench.nn.clip_text import embed_tokens, sentence_embedding, tokenize
from wsss_bench.nn.pamr import DILATIONS

TERMS = {
    "area": "area", "neg_area": "negative_area", "tclf": "feature_text", "tv_img": "tv_features",
    "tv_mask": "tv_masks", "tcli": "image_text",
}  # fmt: skip
CLASSES = (words(320, 1929), words(5922), words(736, 1125))
TEMPLATES = (f"{words(320, 1125, 539, 320)} {{}} {words(269)}", "{}", f"{words(320, 1929)} {{}}")
TCL_ARRAYS = GOLDEN / "tcl"
SAMPLED = 37  # of a large tensor, every 37th element is stored


def tensors(name):
    return tensors_of(name, TCL_ARRAYS)


@pytest.fixture(scope="module")
def official(tmp_path_factory):
    """The model of the golden arrays."""
    folder = write_golden_clip(tmp_path_factory.mktemp("clip"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tcl, "prompt_templates", lambda name: TEMPLATES)
        method = TCL(CLASSES, clip=str(folder))
    weights = tensors("weights")
    with torch.no_grad():
        for ours, theirs in official_names(method).items():
            method.get_parameter(ours).copy_(in_our_layout(ours, weights[f"w__{theirs}"]))
    return method


def official_names(method):
    """Our parameter names -> the official ones, with `__` for dots."""
    encoder = "masker__image_encoder"
    names = {
        "feature_text_scale": "tclf_loss__logit_scale", "image_text_scale": "tcli_loss__logit_scale",
        "grounding.segmenter.weight": "masker__sim2mask__w",
        "grounding.segmenter.bias": "masker__sim2mask__b",
        "grounding.segmenter.projection.weight": f"{encoder}__decoder__image_proj__proj",
    }  # fmt: skip
    for name, _ in method.named_parameters():
        if name.startswith("grounding.segmenter.decoder"):
            layer, convolution, *part = name.split(".")[4:]
            kind = "gate__gate" if part == ["gate"] else "__".join(part)
            names[name] = f"{encoder}__decoder__decoder__net__{layer}__conv{'2' * int(convolution)}__{kind}"
        elif name not in names:
            names[name] = (
                name.replace("grounding.segmenter.norm", f"{encoder}.decoder.image_proj.ln")
                .replace("grounding.segmenter.block.", f"{encoder}.backbone.transformer.resblocks.2.")
                .replace("self_attn", "attn").replace("layer_norm", "ln_").replace("fc1", "c_fc")
                .replace("fc2", "c_proj").replace("v_proj.", "in_proj_").replace(".", "__")
            )  # fmt: skip
    return names


def in_our_layout(name, theirs):
    if "v_proj" in name:  # theirs has query and key first
        return theirs[2 * len(theirs) // 3 :]
    return theirs.T if name.endswith("projection.weight") else theirs


def in_their_layout(name, ours):
    """Query and key, which we do not have, are NaN."""
    if "v_proj" in name:
        return torch.cat([torch.full_like(ours, torch.nan).repeat(2, *[1] * (ours.ndim - 1)), ours])
    return ours.T if name.endswith("projection.weight") else ours


def assert_equal_where_ours_is(found, expected, tolerance, name):
    found = found.flatten()[:: 1 if found.numel() == expected.numel() else SAMPLED]
    expected = expected.flatten()
    ours = ~found.isnan()
    assert ours.any()
    message = f"{name}: {(found - expected)[ours].abs().max()} > {tolerance}"
    torch.testing.assert_close(found[ours], expected[ours], rtol=0, atol=tolerance, msg=message)


def golden_losses(method, arrays):
    captions = [sentence(row) for row in arrays["text_tokens"]]
    return method._losses(arrays["image"], captions, arrays["uniform"])


def test_losses_are_the_official_ones_and_not_those_of_unit_features(official):
    arrays = tensors("forward")
    with torch.no_grad():
        losses = golden_losses(official, arrays)
    assert set(losses) == set(TERMS.values())
    for theirs, ours in TERMS.items():
        torch.testing.assert_close(
            losses[ours],
            arrays[f"loss__{theirs}_loss"],
            rtol=1e-5,
            atol=1e-6,
            msg=lambda m, n=ours: f"{n}: {m}",
        )
    torch.testing.assert_close(sum(losses.values()), arrays["total_loss"], rtol=1e-5, atol=1e-6)
    assert (losses["tv_features"] - arrays["wrong__tv_img_loss"]).abs() > 0.5
    assert (losses["feature_text"] - arrays["wrong__tclf_loss"]).abs() > 1e-4


def test_features_masks_and_pooling_are_the_official_ones(official):
    arrays = tensors("forward")
    grounding, clip = official.grounding, official.grounding.clip
    tokens = tokenize(clip, [sentence(row) for row in arrays["text_tokens"]])
    assert torch.equal(
        tokens.eos,
        arrays["text_tokens"].argmax(dim=1),  # EOS has the highest id
    )
    with torch.no_grad():
        patches = clip.before_last_block(arrays["image"]).flatten(2).permute(2, 0, 1)
        torch.testing.assert_close(patches, arrays["image_feat_LBC"][1:], rtol=1e-4, atol=1e-5)
        text = sentence_embedding(clip, embed_tokens(clip, tokens.ids), tokens.eos, tokens.longest)
        torch.testing.assert_close(text, F.normalize(arrays["text_emb"], dim=1), rtol=1e-5, atol=1e-6)
        features = grounding.pixel_features(arrays["image"])
        torch.testing.assert_close(features[..., ::2, ::2], arrays["image_emb"], rtol=1e-5, atol=1e-5)
        assert features.norm(dim=1).min() > 3
        logits = grounding.segmenter.mask_logits(unit_pixels(features), text)
        masks = logits.sigmoid()
        torch.testing.assert_close(masks, arrays["masks_soft_all"], rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(masked_pool(features, masks), arrays["masked_pool"], rtol=1e-5, atol=1e-5)
        hard = hard_masks(logits[range(3), range(3)], arrays["uniform"])
        assert torch.equal(hard, arrays["masks_pos"][:, 0])
        enlarged = F.interpolate(hard[:, None], scale_factor=2, mode="nearest")
        masked = clip.encode_image(arrays["image"] * enlarged)
        expected = F.normalize(arrays["masked_img_emb"], dim=1)
        torch.testing.assert_close(masked, expected, rtol=1e-5, atol=1e-6)


def test_gradients_are_the_official_ones(official):
    forward, arrays = tensors("forward"), tensors("forward_gradients")
    names = official_names(official)
    assert set(names.values()) == {
        str(name) for name in golden("forward_gradients", TCL_ARRAYS)["trainable_names"]
    }
    official.zero_grad()
    sum(golden_losses(official, forward).values()).backward()
    for ours, theirs in names.items():
        gradient = official.get_parameter(ours).grad
        stored = f"grad__{theirs}" if f"grad__{theirs}" in arrays else f"gradsample__{theirs}"
        expected = arrays[stored]
        limit = 1e-4 * expected.abs().max().item()
        assert_equal_where_ours_is(in_their_layout(ours, gradient), expected, limit, theirs)
        torch.testing.assert_close(gradient.norm(), arrays[f"gradnorm__{theirs}"], rtol=1e-4, atol=1e-8)


@pytest.mark.parametrize("term", TERMS)
def test_gradients_of_one_term_are_the_official_ones(official, term):
    forward, arrays = tensors("forward"), tensors("forward_gradients")
    official.zero_grad()
    golden_losses(official, forward)[TERMS[term]].backward()
    names, compared = official_names(official), 0
    for ours, theirs in names.items():
        if (key := f"grad_of_{term}_loss__{theirs}") in arrays:
            gradient, expected = official.get_parameter(ours).grad, arrays[key]
            limit = 1e-4 * expected.abs().max().item()
            assert_equal_where_ours_is(in_their_layout(ours, gradient), expected, limit, key)
            compared += 1
    assert compared == (1 if term == "tv_img" else 3)  # tv_img does not depend on the mask's scale and bias


def test_gradient_of_pooling_is_the_official_one_before_normalisation(official, monkeypatch):
    forward, arrays = tensors("forward"), tensors("forward_gradients")
    features = official.grounding.pixel_features(forward["image"]).detach().requires_grad_()
    monkeypatch.setattr(official.grounding, "pixel_features", lambda image: features)
    golden_losses(official, forward)["feature_text"].backward()
    expected = arrays["grad_of_tclf_loss__image_emb"]
    limit = 1e-4 * expected.abs().max().item()
    torch.testing.assert_close(features.grad[..., ::4, ::4], expected, rtol=0, atol=limit)


def test_the_first_stage_trains_the_official_parameters(official):
    arrays, forward = golden("forward_decoder_only", TCL_ARRAYS), tensors("forward")
    official.zero_grad()
    losses = golden_losses(official, forward)
    sum(losses.values()).backward()
    official.grounding.drop_block_gradients()
    gradients = {
        theirs: official.get_parameter(ours).grad for ours, theirs in official_names(official).items()
    }
    trained = {theirs: gradient for theirs, gradient in gradients.items() if gradient is not None}
    assert set(trained) == {str(name) for name in arrays["trainable_names"]}
    for theirs, gradient in trained.items():
        assert gradient.norm().item() == pytest.approx(
            float(arrays[f"gradnorm__{theirs}"]), rel=1e-4, abs=1e-8
        )
    for theirs, ours in TERMS.items():
        assert losses[ours].item() == pytest.approx(float(arrays[f"loss__{theirs}_loss"]), rel=1e-5, abs=1e-6)


def test_six_optimiser_steps_are_the_official_ones(official):
    arrays = tensors("train_steps")
    method = deepcopy(official)
    settings = OptimConfig(
        name="adamw", lr=arrays["base_lr"].item(), weight_decay=arrays["weight_decay"].item(), eps=1e-6,
        decay="cosine", final_ratio=(arrays["min_lr"] / arrays["base_lr"]).item(),
        warmup_steps=int(arrays["warmup_steps"]), warmup_ratio=1e-4,
    )  # fmt: skip
    optimizer = build_optimizer(method.parameter_groups(), settings)
    schedule = build_schedule(optimizer, settings, int(arrays["total_steps"]))
    for step, (image, rows) in enumerate(zip(arrays["images"], arrays["text_tokens"], strict=True)):
        captions = [sentence(row) for row in rows]
        losses = method._losses(image, captions, arrays["uniform"][step])
        for theirs, ours in TERMS.items():
            expected = arrays[f"loss__{theirs}_loss"][step].item()
            assert losses[ours].item() == pytest.approx(expected, abs=1e-5), (step, ours)
        method.zero_grad()
        sum(losses.values()).backward()
        if step < int(arrays["ust_steps"]):
            method.grounding.drop_block_gradients()
        norm = torch.nn.utils.clip_grad_norm_(method.parameters(), arrays["clip_grad"].item())
        assert norm.item() == pytest.approx(arrays["grad_norm"][step].item(), rel=1e-4)
        assert optimizer.param_groups[0]["lr"] == pytest.approx(arrays["lr"][step].item(), rel=1e-6)
        optimizer.step()
        schedule.step()
    for ours, theirs in official_names(method).items():
        parameter = in_their_layout(ours, method.get_parameter(ours).detach())
        assert_equal_where_ours_is(parameter, arrays[f"end__{theirs}"], 1e-5, theirs)


def test_class_texts_are_the_mean_of_raw_sentence_embeddings(official):
    arrays = tensors("inference")
    torch.testing.assert_close(official.class_text, arrays["text_emb"], rtol=1e-5, atol=1e-6)
    wrong = arrays["wrong__text_emb_unit_first"]
    assert (official.class_text - wrong).abs().max() > 4e-3
    with torch.no_grad():
        unit_first = prompt_ensemble(official.grounding.clip, CLASSES, TEMPLATES)
    torch.testing.assert_close(unit_first, wrong, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("image", ["odd", "even"])
@pytest.mark.parametrize("dilations", [(), DILATIONS])
@pytest.mark.parametrize("kp_weight", [0.0, 0.3])
def test_inference_is_the_official_one(official, image, dilations, kp_weight):
    arrays = tensors("inference")
    left, right, top, bottom = padding = arrays[f"{image}__padsize_lrtb"].tolist()
    settings = MaskInference(kp_weight=kp_weight, pamr_dilations=dilations)
    padded = F.pad(arrays[f"{image}__image"], padding)
    height, width = padded.shape[2:]
    with torch.no_grad():
        text = official.class_text
        scores = official.grounding.scores(padded, text, text, settings)
    scores = F.interpolate(scores, (height, width), mode="bilinear", align_corners=False)
    scores = scores[..., top : height - bottom, left : width - right]
    kind = f"pamr{int(bool(dilations))}_kp{'0p3' if kp_weight else '0p0'}"
    if (name := f"{image}__mask_{kind}") in arrays:
        torch.testing.assert_close(scores, arrays[name], rtol=0, atol=1e-5)
    if kp_weight:
        background = 0.4 if dilations else 0.5
        logits = official.grounding.segmentation_logits(scores, background)
        name = f"{image}__label_{kind}_bg{str(background).replace('.', 'p')}"
        expected = torch.from_numpy(golden("inference", TCL_ARRAYS)[name])
        assert torch.equal(logits.argmax(dim=1), expected.long())


def test_similarity_map_is_the_official_one(official):
    arrays = tensors("inference")
    padded = F.pad(arrays["odd__image"], arrays["odd__padsize_lrtb"].tolist())
    with torch.no_grad():
        pixels = unit_pixels(official.grounding.pixel_features(padded))
    cosines = torch.einsum("bdhw,cd->bchw", pixels, official.class_text)
    torch.testing.assert_close(cosines, arrays["odd__low_simmap"], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("maps", ["tv_features", "tv_masks"])
def test_variation_of_maps_of_any_length_is_the_official_one(maps):
    arrays = tensors("terms")
    found = arrays[maps].requires_grad_()
    loss = total_variation(found).mean()
    torch.testing.assert_close(loss, arrays[f"{maps}_loss"], rtol=1e-5, atol=1e-6)
    loss.backward()
    torch.testing.assert_close(found.grad, arrays[f"{maps}_grad"], rtol=1e-5, atol=1e-6)


def test_pooling_under_an_empty_mask_is_the_official_one():
    arrays = tensors("terms")
    features, masks = arrays["pool_features"].requires_grad_(), arrays["pool_masks"].requires_grad_()
    assert not masks[1, 2].any()
    pooled = masked_pool(features, masks)
    torch.testing.assert_close(pooled, arrays["pool_out"], rtol=1e-5, atol=1e-6)
    (pooled * arrays["pool_weight"]).sum().backward()
    for found, name in ((features, "features"), (masks, "masks")):
        expected = arrays[f"pool_grad_{name}"]
        limit = 1e-4 * expected.abs().max().item()
        torch.testing.assert_close(found.grad, expected, rtol=0, atol=limit)


@pytest.mark.parametrize("clamped", ["", "_clamped"])
@pytest.mark.parametrize("kind", ["infonce", "extended"])
def test_contrast_and_its_clamped_scale_are_the_official_ones(kind, clamped):
    arrays = tensors("terms")
    image, text = arrays[f"{kind}_image"].requires_grad_(), arrays[f"{kind}_text"].requires_grad_()
    # the stored scale is the second one, 6, for both
    scale = torch.tensor(6.0 if clamped else INITIAL_LOG_SCALE, requires_grad=True)
    if kind == "infonce":
        losses = info_nce(image, text, scale)
    else:
        cosines = torch.einsum("bqd,qd->bq", F.normalize(image, dim=-1), F.normalize(text, dim=-1))
        losses = info_nce_of_cosines(cosines, scale)
    losses.mean().backward()
    torch.testing.assert_close(losses.mean(), arrays[f"{kind}_loss{clamped}"], rtol=1e-5, atol=1e-6)
    expected = arrays[f"{kind}_grad_logit_scale{clamped}"]
    torch.testing.assert_close(scale.grad, expected, rtol=1e-4, atol=1e-7)
    if not clamped:
        for found, name in ((image, "image"), (text, "text")):
            expected = arrays[f"{kind}_grad_{name}"]
            limit = 1e-4 * expected.abs().max().item()
            torch.testing.assert_close(found.grad, expected, rtol=0, atol=limit)


@pytest.mark.parametrize("prior", [0.4, 0.0])
def test_area_is_the_official_one(prior):
    arrays = tensors("terms")
    areas = arrays["tv_masks"].mean(dim=(2, 3)).flatten()
    loss = area_loss(areas, torch.ones_like(areas), prior)
    expected = arrays[f"area_prior{str(prior).replace('.', 'p')}"]
    torch.testing.assert_close(loss, expected, rtol=1e-5, atol=1e-6)


def test_learning_rate_is_the_official_one():
    config = yaml.safe_load((CONFIGS / "methods" / "tcl.yaml").read_text())
    arrays = tensors("lr_schedule")
    settings = OptimConfig(**config["model"]["init_args"]["optim"])
    images = int(arrays["batch_size"] * arrays["world_size"])
    assert config["data"]["global_batch_size"] == images == 1024
    assert settings.lr == pytest.approx(arrays["base_lr_scaled"].item())
    assert settings.lr * settings.final_ratio == pytest.approx(arrays["min_lr_scaled"].item(), rel=1e-5)
    assert rates(settings, config["trainer"]["max_steps"], arrays["step"]) == pytest.approx(
        arrays["lr"].tolist(), rel=1e-3
    )
    short = OptimConfig(
        **{**config["model"]["init_args"]["optim"], "warmup_steps": int(arrays["short_warmup"])}
    )
    assert rates(short, int(arrays["short_total"]), range(51)) == pytest.approx(
        arrays["short_lr"].tolist(), rel=1e-3
    )


def rates(settings, total, steps):
    optimizer = build_optimizer([{"params": [torch.nn.Parameter(torch.ones(2))]}], settings)
    schedule = build_schedule(optimizer, settings, total)
    return [settings.lr * schedule.lr_lambdas[0](int(step)) for step in steps]
