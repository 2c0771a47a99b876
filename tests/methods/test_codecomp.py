"""CoDe against arrays of the official code, and what the paper's sections ask of it."""

import json

import numpy as np
import pytest
import torch
from golden_clip import golden, tensors, words, write_golden_clip

from wsss_bench.methods.codecomp import CoDe, Sample

IDS = {"dog": [1929], "balloon": [13634], "grass": [5922], "skies": [7244], "air": [1922], "ball": [1069]} | {
    "a": [320], "photo": [1125], "of": [539], "large": [3638], "blurry": [21977], "rendering": [21339], "good": [886],
    "the": [518], ".": [269], "potted": [48581], "plant": [3912],
}  # fmt: skip
TERMS = {
    "kg": "knowledge", "hlf_noun": "feature_noun", "hli_noun": "image_noun", "hcl": "highlight", "tv_img": "tv_features",
    "tv_mask": "tv_masks", "area": "area", "neg_area": "negative_area", "tseg": "words",
}  # fmt: skip
CLASSES = ("aeroplane", "bird", "boat", "bus", "car", "cow", "sheep", "train")
MINI = {
    "clip": "package:mini/clip", "statistics": "clip", "nouns": "mini", "context": "a photo of a", "context_length": 4,
    "noun_templates": "mini_sentences", "even_cosine": 0.39,
}  # fmt: skip


def spell(sentence):
    """A sentence in the words of the golden tokenizer."""
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
        "noun_prompt.context": "clip_text_encoder__prompt_learner__ctx", "text_segmenter.weight": "text_mask_w",
        "text_segmenter.bias": "text_mask_b", "image_noun_scale": "tcli_loss__logit_scale",
        "feature_noun_scale": "tclf_loss__logit_scale", "grounding.segmenter.weight": "masker__sim2mask__w",
        "grounding.segmenter.bias": "masker__sim2mask__b",
        "grounding.segmenter.projection.weight": f"{masker}__decoder__image_proj__proj",
    }  # fmt: skip
    for name, _ in method.named_parameters():
        if name not in names:
            names[name] = (
                name.replace("grounding.segmenter.decoder.layers.", f"{masker}.decoder.decoder.net.")
                .replace(".0.norm", ".conv.norm").replace(".0.conv.", ".conv.conv.").replace(".0.gate", ".conv.gate.gate")
                .replace("grounding.segmenter.norm", f"{masker}.decoder.image_proj.ln")
                .replace("grounding.segmenter.block.", f"{masker}.backbone.transformer.resblocks.2.")
                .replace("self_attn", "attn").replace("layer_norm", "ln_").replace("fc1", "c_fc").replace("fc2", "c_proj")
                .replace("v_proj.", "in_proj_").replace("text_segmenter.blocks", text).replace(".", "__")
            )  # fmt: skip
    return names


def golden_samples():
    arrays = golden("codecomp_forward")
    tokens = golden("tiny_clip")["text_tokens"]
    captions = [words(*(int(t) for t in row if t not in (0, 49406, 49407))) for row in tokens]
    drawn = list(zip(*json.loads(str(arrays["nouns_noun_major"])), strict=True))
    others = [["ball"], ["air"]]
    templates = np.array(arrays["templates"]).reshape(2, 2).T  # noun-major
    samples = []
    for row in range(2):
        sentences = [template.format(noun) for template, noun in zip(templates[row], drawn[row], strict=True)]
        spelled = [list(map(spell, part)) for part in ([*drawn[row], *others[row]], drawn[row], sentences)]
        samples.append(Sample(row, captions[row], *spelled, torch.Generator()))
    return samples


def test_losses_and_gradients_are_the_official_ones(official):
    arrays = tensors("codecomp_forward")
    own = arrays["uniform"][range(4), range(4)]  # the noise of each pair's own mask
    uniform = own.unflatten(0, (2, 2)).transpose(0, 1)  # noun-major -> (B, N, h, w)
    official.zero_grad()
    losses = official._losses(arrays["image"], golden_samples(), uniform)
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
        if (f"gradnorm__{theirs}" in arrays and "in_proj" not in theirs) or "text_decoder" in theirs:
            norm = arrays[f"gradnorm__{theirs}"].view(())
            torch.testing.assert_close(
                gradient.norm(), norm, rtol=1e-3, atol=1e-6, msg=lambda m, n=theirs: f"{n}: {m}"
            )
            compared += 1
    assert compared > 50
