"""CoDe against arrays of the official code, and its behaviour on the mini world."""

import dataclasses
import json
import math
import re
from runpy import run_path

import numpy as np
import paths
import pytest
import torch
import yaml
from golden_clip import golden, sentence, tensors, words, write_golden_clip
from lightning.pytorch import Callback, Trainer
from torch.utils.data import DataLoader

from wsss_bench.inference import maps_of
from wsss_bench.inference_config import InferenceConfig
from wsss_bench.methods.optim import OptimConfig, build_optimizer, build_schedule
from wsss_bench.methods.text_grounding import codecomp
from wsss_bench.methods.text_grounding.codecomp import CoDe
from wsss_bench.methods.text_grounding.grounding import MaskInference
from wsss_bench.methods.text_grounding.image_segmenter import hard_masks, unit_pixels
from wsss_bench.methods.text_grounding.noun_sampling import NounSample
from wsss_bench.mini.world.captions import describe
from wsss_bench.nn.class_prompts import prompt_ensemble
from wsss_bench.nn.clip import CLIP
from wsss_bench.nn.clip_text import tokenize
from wsss_bench.placement import Stretched, resize
from wsss_bench.types import CaptionBatch
from wsss_bench.vocabulary import templates as prompt_templates

ROOT = paths.ROOT
CONFIGS = ROOT / "configs" / "methods"
EXPERIMENTS = ROOT / "experiments"
word_counts = run_path(str(ROOT / "benchmarks" / "text_masks.py"))["word_counts"]
IDS = {"dog": [1929], "balloon": [13634], "grass": [5922], "skies": [7244], "air": [1922], "ball": [1069]} | {
    "a": [320], "photo": [1125], "of": [539], "large": [3638], "blurry": [21977], "rendering": [21339],
    "good": [886], "the": [518], ".": [269], "potted": [48581], "plant": [3912],
}  # fmt: skip
TERMS = {
    "kg": "kg", "hlf_noun": "feature_noun", "hli_noun": "image_noun", "hcl": "hcl", "tv_img": "tv_features",
    "tv_mask": "tv_masks", "area": "area", "neg_area": "negative_area", "tseg": "text_seg",
}  # fmt: skip
CLASSES = ("aeroplane", "bird", "boat", "bus", "car", "cow", "sheep", "train")
MINI = {
    "clip": "package:mini/clip", "statistics": "clip", "nouns": "mini", "context": "a photo of a",
    "context_length": 4, "noun_templates": "mini_sentences", "cosine_threshold": 0.39,
}  # fmt: skip


def spell(sentence):
    """A sentence in the vocabulary of the golden tokenizer."""
    return words(*(token for word in sentence.replace(".", " .").split() for token in IDS[word]))


@pytest.fixture(scope="module")
def official(tmp_path_factory):
    """The model of the golden forward pass."""
    arrays = tensors("codecomp_forward")
    method = CoDe(
        [spell(name) for name in ("dog", "grass", "potted plant")],
        clip=str(write_golden_clip(tmp_path_factory.mktemp("clip"))),
        noun_templates="identity",
    )
    with torch.no_grad():
        for name, theirs in official_names(method).items():
            if f"w__{theirs}" in arrays:
                method.get_parameter(name).copy_(arrays[f"w__{theirs}"].view_as(method.get_parameter(name)))
    return method


def official_names(method):
    """Our parameter names -> the official ones, with `__` for dots."""
    masker, text = "masker__image_encoder", "text_decoder__transformer__resblocks"
    names = {
        "region_prompt.picture": "learnable_image_bg", "word_prompt.words": "bg_text",
        "highlight_scale": "hcl_loss__logit_scale",
        "noun_prompt.context": "clip_text_encoder__prompt_learner__ctx",
        "text_segmenter.weight": "text_mask_w", "text_segmenter.bias": "text_mask_b",
        "image_noun_scale": "tcli_loss__logit_scale",
        "feature_noun_scale": "tclf_loss__logit_scale", "grounding.segmenter.weight": "masker__sim2mask__w",
        "grounding.segmenter.bias": "masker__sim2mask__b",
        "grounding.segmenter.projection.weight": f"{masker}__decoder__image_proj__proj",
    }  # fmt: skip
    for name, _ in method.named_parameters():
        if name not in names:
            names[name] = (
                name.replace("grounding.segmenter.decoder.layers.", f"{masker}.decoder.decoder.net.")
                .replace(".0.conv.", ".conv.conv.").replace(".0.norm", ".conv.norm")
                .replace(".0.gate", ".conv.gate.gate")
                .replace("grounding.segmenter.norm", f"{masker}.decoder.image_proj.ln")
                .replace("grounding.segmenter.block.", f"{masker}.backbone.transformer.resblocks.2.")
                .replace("self_attn", "attn").replace("layer_norm", "ln_").replace("fc1", "c_fc")
                .replace("fc2", "c_proj")
                .replace("v_proj.", "in_proj_").replace("text_segmenter.blocks", text).replace(".", "__")
            )  # fmt: skip
    return names


def golden_samples():
    arrays = golden("codecomp_forward")
    tokens = golden("tiny_clip")["text_tokens"]
    captions = [sentence(row) for row in tokens]
    drawn = list(zip(*json.loads(str(arrays["nouns_noun_major"])), strict=True))
    others = [["ball"], ["air"]]
    templates = np.array(arrays["templates"]).reshape(2, 2).T  # noun-major
    samples = []
    for row in range(2):
        sentences = [template.format(noun) for template, noun in zip(templates[row], drawn[row], strict=True)]
        spelled = [list(map(spell, part)) for part in ([*drawn[row], *others[row]], drawn[row], sentences)]
        samples.append(NounSample(row, captions[row], *spelled, torch.Generator()))
    return samples


def golden_noise():
    """Uniform noise of each pair's own mask, noun-major, as `(B, N, h, w)`."""
    return tensors("codecomp_forward")["uniform"].unflatten(0, (2, 2)).transpose(0, 1)


def test_losses_and_gradients_are_the_official_ones(official):
    arrays = tensors("codecomp_forward")
    official.zero_grad()
    losses = official._losses(arrays["image"], golden_samples(), golden_noise())
    assert set(losses) == set(TERMS.values())
    for theirs, ours in TERMS.items():
        torch.testing.assert_close(
            losses[ours],
            arrays[f"loss__{theirs}_loss"].view(()),
            rtol=1e-4,
            atol=1e-5,
            msg=lambda m, n=theirs: f"{n}: {m}",
        )
    total = sum(losses.values())
    torch.testing.assert_close(total, arrays["total_loss"].view(()), rtol=1e-4, atol=1e-5)
    total.backward()
    compared = 0
    for ours, theirs in official_names(official).items():
        gradient = official.get_parameter(ours).grad
        if f"grad__{theirs}" in arrays:
            expected = arrays[f"grad__{theirs}"].view_as(gradient)
            torch.testing.assert_close(gradient, expected, rtol=1e-3, atol=1e-5)
            compared += 1
        # theirs of the block has query and key too, without gradient
        norm = arrays[f"gradnorm__{theirs}"].view(())
        torch.testing.assert_close(
            gradient.norm(), norm, rtol=1e-3, atol=1e-6, msg=lambda m, n=theirs: f"{n}: {m}"
        )
        compared += 1
    assert compared == 59 + 7


def test_nouns_masks_and_word_labels_of_a_step_are_the_official_ones(official):
    arrays = tensors("codecomp_forward")
    samples, grounding = golden_samples(), official.grounding
    with torch.no_grad():
        nouns = official.noun_prompt(grounding.clip, [s.drawn[k] for k in range(2) for s in samples])
        torch.testing.assert_close(nouns, arrays["noun_embs"], rtol=1e-4, atol=1e-5)
        pixels = unit_pixels(grounding.pixel_features(arrays["image"]))
        torch.testing.assert_close(pixels[..., ::2, ::2], arrays["feature_map"], rtol=1e-4, atol=1e-5)
        logits = grounding.segmenter.mask_logits(pixels, nouns).repeat(2, 1, 1, 1)  # (P, P, h, w)
    torch.testing.assert_close(logits.sigmoid(), arrays["masks_soft_all"], rtol=1e-4, atol=1e-5)
    own = hard_masks(logits[range(4), range(4)], arrays["uniform"])
    assert torch.equal(own, arrays["masks_pos"][:, 0])
    labels = official._token_labels(samples, tokenize(grounding.clip, [sample.caption for sample in samples]))
    assert torch.equal(labels, torch.from_numpy(golden("codecomp_forward")["pseudo_label"]))


def test_the_same_parameters_are_trained_in_each_stage(official):
    arrays = golden("codecomp_forward_decoder_only")
    every = {name.replace(".", "__") for name in golden("codecomp_forward")["trainable_names"]}
    assert set(official_names(official).values()) == every
    forward = tensors("codecomp_forward")
    official.zero_grad()
    losses = official._losses(forward["image"], golden_samples(), golden_noise())
    sum(losses.values()).backward()
    for theirs, ours in TERMS.items():
        assert losses[ours].item() == pytest.approx(float(arrays[f"loss__{theirs}_loss"]), rel=1e-4, abs=1e-5)
    official.grounding.drop_block_gradients()
    gradients = {
        theirs: official.get_parameter(ours).grad for ours, theirs in official_names(official).items()
    }
    trained = {theirs: gradient for theirs, gradient in gradients.items() if gradient is not None}
    assert set(trained) == {name.replace(".", "__") for name in arrays["trainable_names"]}
    for theirs, gradient in trained.items():
        assert gradient.norm().item() == pytest.approx(
            float(arrays[f"gradnorm__{theirs}"]), rel=1e-3, abs=1e-6
        )
    groups = official.parameter_groups()
    assert all(parameter.ndim == 1 for parameter in groups[1]["params"])
    shapes = json.loads(str(golden("lr_schedule")["wd_groups"]))
    assert [decay for _, decay in shapes] == [0.05, groups[1]["weight_decay"]]
    assert {len(shape) for shape in shapes[0][0]} == {0, 2}  # scalars decay, vectors do not
    assert {len(shape) for shape in shapes[1][0]} == {1}


def test_there_are_three_temperatures(official):
    assert (
        len(
            {
                id(official.get_parameter(f"{name}_scale"))
                for name in ("feature_noun", "image_noun", "highlight")
            }
        )
        == 3
    )


@pytest.mark.parametrize("dilations", [(), (1, 2, 4, 8, 12, 24)])
@pytest.mark.parametrize("kp_weight", [0.0, 0.3])
def test_inference_is_the_official_one(official, dilations, kp_weight):
    arrays = tensors("inference")
    settings = MaskInference(kp_weight=kp_weight, pamr_dilations=dilations)
    with torch.no_grad():
        text = official._class_text()
        torch.testing.assert_close(text, arrays["text_emb"], rtol=1e-4, atol=1e-5)
        scores = maps_of(
            lambda image: official.grounding.scores(image, text, arrays["kp_text_emb"], settings),
            Stretched(),
            arrays["image"],
            InferenceConfig(pad_to=8),
        )
    expected = arrays[f"mask_pamr{int(bool(dilations))}_kp{'0p3' if kp_weight else '0p0'}"]
    torch.testing.assert_close(scores, expected, rtol=1e-4, atol=1e-5)


def test_inner_features_and_kp_text_are_the_official_ones(official):
    arrays = tensors("inference")
    assert prompt_templates("custom") == tuple(golden("inference")["kp_templates"])
    padded = torch.nn.functional.pad(arrays["image"], arrays["padsize_lrtb"].tolist())
    clip = official.grounding.clip
    with torch.no_grad():
        patches = clip.before_last_block(padded)
        theirs = arrays["feat_to_masker_LBC"][1:].permute(1, 2, 0).unflatten(2, (4, 6))
        torch.testing.assert_close(patches, theirs, rtol=1e-4, atol=1e-5)
        pixels = unit_pixels(official.grounding.segmenter(patches))
        cosines = torch.einsum("bdhw,cd->bchw", pixels, arrays["text_emb"])
        torch.testing.assert_close(cosines, arrays["simmap"], rtol=1e-4, atol=1e-5)
        dense = torch.nn.functional.normalize(
            clip.model.visual_projection(
                clip.model.vision_model.post_layernorm(arrays["clip_dense_768_like"].movedim(1, -1))
            ),
            dim=-1,
        )
        torch.testing.assert_close(
            clip.dense_from_patches(patches), dense.movedim(-1, 1), rtol=1e-4, atol=1e-5
        )
        # itap of a dog., a bad photo of a dog., ..., a photo of dogs.
        templates = [
            (529, 2728, 539, 320), (320, 2103, 1125, 539, 320), (320, 31832), (320, 1125, 539, 518, 3638),
            (320,), (794, 539, 518), (320, 1125, 539, 518, 2442), (320, 1125, 539, 1346),
        ]  # fmt: skip
        ends = [(269,)] * 4 + [(530, 320, 1455, 1063, 269)] + [(269,)] * 3
        sentences = [words(*start, 1929, *end) for start, end in zip(templates, ends, strict=True)]
        sentences.append(words(320, 1125, 539, 3255, 269))
        found = prompt_ensemble(clip, ["dog"], sentences)
    torch.testing.assert_close(found[0], arrays["kp_text_emb"][0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("background", [True, False])
def test_windows_and_background_are_the_official_ones(official, background):
    arrays = tensors("slide_inference")
    kind = "bg" if background else "nobg"
    config = InferenceConfig(window=int(arrays["crop"]), window_stride=int(arrays["stride"]), pad_to=8)
    settings = MaskInference()
    assert (settings.background, settings.kp_weight) == (arrays["bg_thresh"], arrays["kp_w"])

    def forward(image):
        scores = official.grounding.scores(image, arrays["text_emb"], arrays["kp_text_emb"], settings)
        logits = (
            official.grounding.segmentation_logits(scores, settings.background)
            / official.grounding.score_to_logit
        )
        return logits if background else logits[:, 1:]

    with torch.no_grad():
        first = maps_of(forward, Stretched(), arrays["image"][..., :32], InferenceConfig(pad_to=8))
        scores = resize(maps_of(forward, Stretched(), arrays["image"], config), arrays["ori_hw"].tolist())
    torch.testing.assert_close(first, arrays[f"{kind}_first_window"], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(scores, arrays[f"{kind}_slide_logits"], rtol=1e-4, atol=1e-5)
    assert torch.equal(scores.argmax(dim=1)[0], arrays[f"{kind}_pred"])


def test_learning_rate_is_the_official_one():
    config = yaml.safe_load((CONFIGS / "codecomp.yaml").read_text())
    arrays = tensors("lr_schedule")
    optim = OptimConfig(**config["model"]["init_args"]["optim"])
    assert optim.lr == pytest.approx(arrays["base_lr_scaled"].item())  # 5e-6 for 64 images, not 3.2e-4
    assert config["data"]["global_batch_size"] == 64
    schedule = build_schedule(
        build_optimizer([{"params": [torch.nn.Parameter(torch.ones(2))]}], optim), optim, 50_000
    )
    rates = [optim.lr * schedule.lr_lambdas[0](int(step)) for step in arrays["step"]]
    assert rates == pytest.approx(arrays["lr"].tolist(), rel=1e-3)
    assert optim.lr * optim.final_ratio == pytest.approx(arrays["min_lr_scaled"].item())


@pytest.fixture(scope="module")
def mini():
    return CoDe(CLASSES, mask_inference=MaskInference(templates="mini", pamr_dilations=(1, 2, 4)), **MINI)


def captions_of(count, seed=0):
    rng = np.random.default_rng(seed)
    sentences = []
    while len(sentences) < count:
        sentences.append(describe(rng.integers(8, size=2), str(rng.choice(["sky", "grass", "road"])), rng))
    return sentences


def batch_of(captions, size=32, seed=0):
    image = torch.rand(len(captions), 3, size, size, generator=torch.Generator().manual_seed(seed))
    return CaptionBatch(
        [f"{seed}-{k}" for k in range(len(captions))],
        image,
        captions,
        torch.ones(len(captions), size, size).bool(),
    )


def test_before_training_masks_are_those_of_dense_clip_bit_for_bit(mini):
    image = torch.rand(2, 3, 96, 96, generator=torch.Generator().manual_seed(0))
    plain = dataclasses.replace(mini.mask_inference, kp_weight=0.0, pamr_dilations=())
    clip = CLIP("package:mini/clip")
    with torch.no_grad():
        text = mini._class_text()
        scores = mini.grounding.scores(mini.grounding.normalize(image), text, mini.kp_text, plain)
        dense = torch.nn.functional.interpolate(
            clip.dense(clip.normalize(image)), scale_factor=4, mode="nearest"
        )
        cosines = torch.einsum("bdhw,cd->bchw", dense, text)
        expected = torch.sigmoid(10 * cosines - torch.tensor(3.9))
    assert torch.equal(scores, expected)
    with torch.no_grad():
        logits = mini.grounding.segmentation_logits(scores, plain.background)
    level = torch.full_like(expected[:, :1], plain.background)
    assert torch.equal(logits.argmax(dim=1), torch.cat([level, expected], dim=1).argmax(dim=1))
    assert 0 < (logits.argmax(dim=1) == 0).float().mean() < 1


def test_evaluation_has_no_noise_and_does_not_depend_on_the_mode(mini):
    image = torch.rand(1, 3, 96, 96)
    with torch.no_grad():
        first = mini.eval().segmentation_logits(image)
        assert torch.equal(mini.train().segmentation_logits(image), first)


def test_class_text_is_updated_with_the_noun_prompt(mini):
    with torch.no_grad():
        before = mini._class_text()
        assert mini._class_text() is before  # encoded once
        state = {name: value.clone() for name, value in mini.state_dict().items()}
        mini.noun_prompt.context.add_(1)
        assert not torch.allclose(mini._class_text(), before)
        mini.load_state_dict(state)
        assert torch.equal(mini._class_text(), before)


def test_images_are_normalised_as_imagenet_unless_told_otherwise(official, mini):
    grey = torch.full((1, 3, 8, 8), 0.5)
    expected = (0.5 - torch.tensor([0.485, 0.456, 0.406])) / torch.tensor([0.229, 0.224, 0.225])
    torch.testing.assert_close(official.grounding.normalize(grey)[0, :, 0, 0], expected)
    assert torch.equal(mini.grounding.normalize(grey), mini.grounding.clip.normalize(grey))


def test_pairs_are_noun_major(mini, monkeypatch):
    seen = []
    forward = mini.noun_prompt.forward
    monkeypatch.setattr(
        mini.noun_prompt, "forward", lambda clip, nouns: seen.append(nouns) or forward(clip, nouns)
    )
    captions = ["a cow and a car", "a bird on sand", "a bus near the sea"]
    losses = mini.training_loss(batch_of(captions))
    assert losses["feature_noun"] >= mini.loss_weights.contrast * math.log(
        2
    )  # every image occurs once per noun
    nouns = [{"cow", "car"}, {"bird", "sand"}, {"bus", "sea"}]
    assert [{seen[0][b], seen[0][3 + b]} for b in range(3)] == nouns


def test_captions_with_too_few_nouns_are_left_out_and_a_batch_of_them_has_zero_losses(mini):
    usable = ["a cow on grass", "a car and a bus"]
    whole = batch_of([*usable, "a bird", "", "   "])
    part = CaptionBatch(*(field[:2] for field in whole))
    torch.manual_seed(3)
    mini.zero_grad()
    losses = mini.training_loss(whole)
    for name, loss in mini.training_loss(part).items():
        assert loss.item() == pytest.approx(losses[name].item(), rel=1e-5), name
    empty = mini.training_loss(batch_of(["a bird", "", "nothing"]))
    assert all(loss == 0 for loss in empty.values())
    sum(empty.values()).backward()
    assert all(
        parameter.grad is not None for parameter in mini.parameters()
    )  # so that ranks can reduce the gradients
    assert not any(parameter.grad.any() for parameter in mini.parameters())
    single = mini.training_loss(batch_of(["a cow on grass"]))  # one image: pairs have no other image
    assert all(torch.isfinite(loss) for loss in single.values())


def test_captions_that_never_have_enough_nouns_stop_the_training(mini, monkeypatch):
    monkeypatch.setattr(codecomp, "MAX_UNUSABLE_CAPTIONS", 4)
    monkeypatch.setattr(mini, "_shown", 0)
    monkeypatch.setattr(mini, "_used", 0)
    mini._samples(batch_of(["a bird", "", "nothing"]))
    with pytest.raises(
        ValueError,
        match=r"none of 6 captions has 2 nouns, the last one is 'a dog'; set model\.init_args\.nouns",
    ):
        mini._samples(batch_of(["a bird", "", "a dog"]))
    mini._shown = 0
    mini._samples(batch_of(["a cow and a car", "", "nothing"]))
    mini._samples(batch_of(["a bird", "", "nothing"]))  # one of six is enough


def test_random_choices_depend_on_the_image_and_the_epoch_only(mini):
    captions = [
        "a cow and a car on the road",
        "a bird and a bus on sand",
        "two boats and a train near the sea",
    ]
    batch = batch_of(captions)
    torch.manual_seed(5)
    together = mini._samples(batch)
    alone = mini._samples(CaptionBatch(*(field[1:2] for field in batch)))
    assert together[1].drawn == alone[0].drawn
    assert together[1].sentences == alone[0].sentences
    assert torch.equal(*(torch.rand(4, generator=sample.generator) for sample in (together[1], alone[0])))
    drawn = []
    for epoch in range(12):
        torch.manual_seed(epoch)
        drawn.append(tuple(mini._samples(batch)[0].drawn))
    assert len(set(drawn)) > 3


@pytest.mark.parametrize("name", ["", "  ", "zebra"])
def test_a_class_name_without_a_known_word_is_refused(name):
    with pytest.raises(ValueError, match=rf"knows no word of the class names '{name}'"):
        CoDe(["cow", name], **MINI)


def test_main_branch_uses_the_noun_prompt_with_plain_names_and_kp_uses_templates(mini, monkeypatch):
    seen = []
    scores = mini.grounding.scores
    monkeypatch.setattr(mini.grounding, "scores", lambda *inputs: seen.append(inputs) or scores(*inputs))
    clip = mini.grounding.clip
    with torch.no_grad():
        mini.seed_maps(torch.rand(1, 3, 48, 48))
        prompted = mini.noun_prompt(clip, CLASSES)
        known = prompt_ensemble(clip, CLASSES, prompt_templates("mini"))
    assert torch.equal(seen[0][1], prompted)
    assert torch.equal(seen[0][2], known)


def test_only_hard_masks_reach_the_highlighted_images(mini, monkeypatch):
    masks = []
    forward = mini.region_prompt.forward
    monkeypatch.setattr(
        mini.region_prompt, "forward", lambda image, mask: masks.append(mask) or forward(image, mask)
    )
    losses = mini.training_loss(batch_of(["a cow and a car", "a bird on sand"]))
    assert masks[0].shape[:2] == (4, 1)
    assert set(masks[0].unique().tolist()) == {0.0, 1.0}
    gradient = torch.autograd.grad(losses["hcl"], masks[0])[0]  # straight through
    assert gradient.any()


def test_the_background_is_at_two_fifths_with_pamr_and_at_one_half_without():
    def settings_of(content):
        return content.get("model", {}).get("init_args", {}).get("mask_inference", {})

    contents = [yaml.safe_load(file.read_text()) for file in EXPERIMENTS.rglob("*.yaml")]
    variants = [variant for content in contents for variant in content.get("variants", {}).values()]
    settings = [settings_of(variant.get("override", {})) for variant in variants]
    assert sum(values.get("pamr_dilations") == [] for values in settings) >= 3
    settings += [
        settings_of(yaml.safe_load(file.read_text()))
        for name in ("codecomp", "tcl")
        for file in CONFIGS.glob(f"{name}*.yaml")
    ]
    for values in settings:
        level = values.get("background", MaskInference().background)
        assert level == (0.5 if values.get("pamr_dilations") == [] else 0.4)


@pytest.mark.slow
def test_training_segments_the_words_of_nouns_and_does_not_change_clip(tmp_path, capsys):
    torch.manual_seed(0)
    method = CoDe(
        CLASSES, OptimConfig(name="adamw", lr=2e-3, weight_decay=0.05), **MINI, decoder_only_steps=3,
        mask_inference=MaskInference(templates="mini", pamr_dilations=()),
    )  # fmt: skip
    frozen = {name: value.clone() for name, value in method.grounding.clip.state_dict().items()}
    blocks = [checksum(method)]
    steps = 100

    class Watch(Callback):
        def on_train_batch_end(self, trainer, module, *_):
            blocks.append(checksum(module))

    batches = [batch_of(captions_of(12, seed), size=16, seed=seed) for seed in range(steps)]
    trainer = Trainer(
        accelerator="cpu", max_steps=steps, logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, gradient_clip_val=5.0,
        callbacks=[Watch()], default_root_dir=tmp_path,
    )  # fmt: skip
    trainer.fit(method, DataLoader(batches, batch_size=None))
    assert blocks[0] == blocks[3] != blocks[4]  # the block moves from the step of index decoder_only_steps on
    assert all(torch.equal(value, frozen[name]) for name, value in method.grounding.clip.state_dict().items())
    assert not any("frozen" in name or "clip" in name for name in method.state_dict())
    left_out, shown = map(
        int, re.search(r"(\d+) of (\d+) captions have fewer than 2", capsys.readouterr().out).groups()
    )
    assert shown == 12 * steps
    assert left_out == sum(len(method._extract_nouns(c)) < 2 for batch in batches for c in batch.caption) > 0
    unseen = captions_of(50, seed=1000)
    counts = word_counts(method, [str(k) for k in range(50)], unseen)
    assert counts.drawn > 50
    assert counts.drawn_found / counts.drawn > 0.95


def checksum(method):
    return sum(
        parameter.double().abs().sum().item() for parameter in method.grounding.segmenter.block.parameters()
    )
