"""TCL: losses on captions, the constants of the paper, and inference."""

import pytest
import torch

from wsss_bench.methods.text_grounding.gated_decoder import GatedConvolution
from wsss_bench.methods.text_grounding.grounding import MaskInference
from wsss_bench.methods.text_grounding.tcl import TCL, LossWeights
from wsss_bench.types import CaptionBatch

CLASSES = ("bird", "cow", "car")


@pytest.fixture(scope="module")
def method():
    settings = MaskInference(templates="mini", pamr_dilations=(1, 2))
    return TCL(
        CLASSES, clip="package:mini/clip", statistics="clip", cosine_threshold=0.39, mask_inference=settings
    )


def batch_of(captions, size=32):
    image = torch.rand(len(captions), 3, size, size, generator=torch.Generator().manual_seed(0))
    valid = torch.ones(len(captions), size, size, dtype=torch.bool)
    return CaptionBatch([str(k) for k in range(len(captions))], image, captions, valid)


def test_constants_are_those_of_the_paper(method):
    assert LossWeights() == LossWeights(contrast=0.1, tv=1.0, area=0.4, area_prior=0.4)
    assert (
        sum(isinstance(module, GatedConvolution) for module in method.modules()) == 4
    )  # two in each of two layers
    assert method.decoder_only_steps == 30_000


def test_loss_weights_scale_their_terms(method):
    torch.manual_seed(0)
    batch = batch_of(["a cow on grass", "a bird", "a car on the road"])
    losses = method.training_loss(batch)
    assert set(losses) == {"image_text", "feature_text", "tv_features", "tv_masks", "area", "negative_area"}
    method.loss_weights = LossWeights(contrast=0.2, tv=3.0, area=0.8)
    try:
        changed = method.training_loss(batch)
    finally:
        method.loss_weights = LossWeights()
    factors = {
        "image_text": 2,
        "feature_text": 2,
        "tv_features": 3,
        "tv_masks": 3,
        "area": 2,
        "negative_area": 2,
    }
    for name, factor in factors.items():
        assert changed[name].item() == pytest.approx(factor * losses[name].item(), rel=1e-4), name


def test_images_without_a_caption_are_left_out(method):
    captions = ["a cow on grass", "a bird"]
    torch.manual_seed(0)
    whole = batch_of([*captions, "", "  "])
    losses = method.training_loss(whole)
    for name, loss in method.training_loss(CaptionBatch(*(field[:2] for field in whole))).items():
        assert loss.item() == pytest.approx(losses[name].item(), rel=1e-5), name
    empty = method.training_loss(batch_of(["", ""]))
    assert all(loss == 0 for loss in empty.values())
    method.zero_grad()
    sum(empty.values()).backward()
    assert all(parameter.grad is not None and not parameter.grad.any() for parameter in method.parameters())


def test_pixels_outside_the_hard_mask_are_zero(method, monkeypatch):
    seen = []
    clip = method.grounding.clip
    encode = clip.encode_image
    monkeypatch.setattr(clip, "encode_image", lambda image: seen.append(image) or encode(image))
    batch = batch_of(["a cow on grass", "a bird"])
    method.training_loss(batch)
    whole = method.grounding.normalize(batch.image)
    blank = (seen[0] == 0).all(dim=1)
    assert 0 < blank.float().mean() < 1
    torch.testing.assert_close(seen[0].movedim(1, -1)[~blank], whole.movedim(1, -1)[~blank])


def test_frozen_clip_is_in_no_checkpoint_and_both_branches_use_the_same_text(method):
    assert not any(
        "frozen" in name or "clip" in name or "text" in name.split(".")[0] for name in buffers(method)
    )
    image = torch.rand(1, 3, 32, 32)
    with torch.no_grad():
        expected = method.grounding.scores(
            method.grounding.normalize(image), method.class_text, method.class_text, method.mask_inference
        )
        assert torch.equal(method.seed_maps(image), expected)
        logits = method.segmentation_logits(image)
        background = logits[:, 0] / method.grounding.score_to_logit
        torch.testing.assert_close(background, torch.full_like(background, 0.4))


def buffers(method):
    return [name for name in method.state_dict() if name not in dict(method.named_parameters())]


def test_a_class_name_without_a_known_word_is_refused():
    with pytest.raises(ValueError, match="knows no word of the class names ' '"):
        TCL(["cow", " "], clip="package:mini/clip")
