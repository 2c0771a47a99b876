"""The image segmenter of CoDe against arrays of the official code, and its output before training."""

import pytest
import torch
from golden_clip import tensors, write_golden_clip
from torch.nn import functional as F

from wsss_bench.methods.text_grounding.gated_decoder import GatedDecoder
from wsss_bench.methods.text_grounding.image_segmenter import ImageSegmenter, hard_masks, unit_pixels
from wsss_bench.methods.text_grounding.losses import total_variation
from wsss_bench.nn.clip import CLIP


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return CLIP(str(write_golden_clip(tmp_path_factory.mktemp("clip")))).requires_grad_(False)


@pytest.mark.parametrize(("name", "double"), [("decoder_single", False), ("decoder_double", True)])
def test_gated_decoder_is_the_official_one(name, double):
    arrays = tensors(name)
    decoder = GatedDecoder(32, double)
    torch.testing.assert_close(decoder(arrays["x"]), arrays["y_gate0"], rtol=1e-5, atol=1e-6)
    assert torch.equal(decoder(arrays["x"]), F.interpolate(arrays["x"], scale_factor=4, mode="nearest"))
    official = {}
    for ours, parameter in decoder.named_parameters():
        _, layer, conv, part = ours.split(".", 3)
        kind = {"gate": "gate__gate"}.get(part, part.replace(".", "__"))
        official[ours] = f"net__{layer}__conv{'' if conv == '0' else 2}__{kind}"
        with torch.no_grad():
            parameter.copy_(arrays[f"w__{official[ours]}"])
    out = decoder(arrays["x"])
    torch.testing.assert_close(out, arrays["y"], rtol=1e-4, atol=1e-5)
    out.square().mean().backward()
    for ours, theirs in official.items():
        if ours.endswith("gate"):
            torch.testing.assert_close(
                decoder.get_parameter(ours).grad, arrays[f"grad__{theirs}"], rtol=1e-4, atol=1e-5
            )


def test_decoder_has_the_width_of_the_image_tower_not_of_the_embedding_space():
    with torch.device("meta"):
        assert sum(p.numel() for p in GatedDecoder(768, double=False).parameters()) == 10_621_442


@pytest.mark.parametrize("temperature", [1.0, 0.5])
def test_hard_masks_are_the_official_gumbel_sigmoid(temperature):
    arrays = tensors("gumbel")
    key = f"tau{temperature}".replace(".", "p")
    logits = arrays["logits"].requires_grad_()
    hard = hard_masks(logits, arrays[f"uniform_{key}"], temperature)
    assert set(hard.unique().tolist()) == {0.0, 1.0}
    torch.testing.assert_close(hard, arrays[f"hard_{key}"], rtol=1e-4, atol=1e-5)
    hard.sum().backward()
    torch.testing.assert_close(logits.grad, arrays[f"grad_logits_of_hardsum_{key}"], rtol=1e-4, atol=1e-5)
    soft = arrays[f"soft_{key}"]
    torch.testing.assert_close(logits.grad, soft * (1 - soft) / temperature, rtol=1e-4, atol=1e-5)
    assert (
        logits.grad[hard == 0] != 0
    ).float().mean() > 0.9  # straight-through gradient; zero for a saturated sample


def test_mask_logits_are_the_official_ones(clip):
    arrays = tensors("sim2mask")
    segmenter = ImageSegmenter(clip, double=False, cosine_threshold=0.25)
    assert segmenter.weight == arrays["w"]
    assert segmenter.bias == arrays["b"]
    logits = segmenter.weight * arrays["sim"] + segmenter.bias
    torch.testing.assert_close(logits.sigmoid(), arrays["soft"], rtol=1e-5, atol=1e-6)
    torch.testing.assert_close((logits.sigmoid() > 0.5).float(), arrays["hard_deterministic"])
    torch.testing.assert_close(hard_masks(logits, arrays["uniform"]), arrays["hard_stochastic"])


def test_before_training_it_equals_upsampled_dense_clip_bit_for_bit(clip):
    segmenter = ImageSegmenter(clip, double=True, cosine_threshold=0.25)
    image = torch.rand(2, 3, 32, 48, generator=torch.Generator().manual_seed(0))
    patches = clip.before_last_block(image)  # the input of the last block, not its output
    with torch.no_grad():
        pixels = unit_pixels(segmenter(patches))
        expected = F.interpolate(clip.dense(image), scale_factor=4, mode="nearest")
    assert torch.equal(pixels, expected)
    assert (pixels - F.interpolate(clip.dense(image), scale_factor=4, mode="bilinear")).abs().max() > 0.01


def test_training_changes_the_copied_weights_only(clip):
    before = {name: value.clone() for name, value in clip.state_dict().items()}
    segmenter = ImageSegmenter(clip, double=False, cosine_threshold=0.25)
    assert all(parameter.requires_grad for parameter in segmenter.parameters())
    optimizer = torch.optim.SGD(segmenter.parameters(), lr=1.0)
    segmenter(clip.before_last_block(torch.rand(1, 3, 32, 32)))[:, 0].sum().backward()
    optimizer.step()
    assert all(torch.equal(value, before[name]) for name, value in clip.state_dict().items())
    assert not torch.equal(segmenter.projection.weight, clip.model.visual_projection.weight)


def test_cosines_are_computed_in_float32_under_autocast(clip):
    """Times 10 and into a sigmoid: the .004 that bfloat16 rounds cosines by would decide masks."""
    segmenter = ImageSegmenter(clip, False, 0.25)
    pixels = unit_pixels(torch.randn(1, 32, 4, 4, generator=torch.Generator().manual_seed(0)))
    text = F.normalize(torch.randn(3, 32, generator=torch.Generator().manual_seed(1)), dim=1)
    with torch.autocast("cpu", torch.bfloat16):
        logits = segmenter.mask_logits(pixels, text)
    assert torch.equal(logits, segmenter.mask_logits(pixels, text))


@pytest.mark.parametrize("double", [True, False])
def test_total_variation_in_bfloat16_has_the_gradient_of_float32(clip, double):
    """Neighbours of one patch differ only by what small gates add: less than bfloat16 tells apart."""
    gradients = []
    for half in (False, True):
        torch.manual_seed(0)
        segmenter = ImageSegmenter(clip, double, cosine_threshold=0.25)
        gates = [parameter for name, parameter in segmenter.named_parameters() if name.endswith("gate")]
        with torch.no_grad():
            for gate in gates:
                gate.fill_(1e-3)
        patches = torch.randn(2, clip.model.vision_model.config.hidden_size, 5, 7)
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            features = segmenter(patches)
        assert features.dtype == torch.float32
        total_variation(features).mean().backward()
        gradients.append(torch.stack([gate.grad for gate in gates]))
    torch.testing.assert_close(gradients[1], gradients[0], rtol=0.03, atol=0)
