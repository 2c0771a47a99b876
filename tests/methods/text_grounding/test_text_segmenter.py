"""CoDe's text segmenter, pseudo labels and prompts against arrays of the official code, and corner cases."""

import json

import pytest
import torch
from golden_clip import golden, tensors, words, write_golden_clip

from wsss_bench.methods.text_grounding.losses import text_segmentation_loss
from wsss_bench.methods.text_grounding.region_word_prompts import (
    RegionPrompt,
    WordPrompt,
    blend,
    keep_special_tokens,
)
from wsss_bench.methods.text_grounding.text_segmenter import (
    IGNORED_TOKEN,
    TextSegmenter,
    noun_logits,
    text_masks,
    token_pseudo_labels,
)
from wsss_bench.nn.clip import CLIP
from wsss_bench.nn.clip_text import embed_tokens, sentence_embedding, text_hidden_states, tokenize

IDS = {
    "dog": [1929], "ball": [1069], "grass": [5922], "balloon": [13634], "air": [1922], "skies": [7244],
    "cat": [2368], "skatepark": [13740, 1452], "skateboarders": [13740, 7837, 1923],
    "skateboards": [13740, 7963],
}  # fmt: skip


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return CLIP(str(write_golden_clip(tmp_path_factory.mktemp("clip")))).requires_grad_(False)


def test_text_masks_and_their_loss_are_the_official_ones():
    arrays = tensors("text_masks")
    tokens = torch.nn.functional.normalize(arrays["dense_LBC"].transpose(0, 1), dim=-1).split(3)
    nouns = arrays["noun_emb"].split(3)
    # the golden arrays have different tokens for each noun of a caption; here the nouns share the tokens
    parts = [
        noun_logits(token, noun[None], arrays["w"].float(), arrays["b"].float())
        for token, noun in zip(tokens, nouns, strict=True)
    ]
    logits = torch.cat([parts[0], parts[1][:, 1:]], dim=1)
    torch.testing.assert_close(logits, arrays["logits_BKL"], rtol=1e-4, atol=1e-5)
    masks = text_masks(logits)
    torch.testing.assert_close(masks.flatten(0, 1), arrays["probs"], rtol=1e-4, atol=1e-5)
    assert masks.sum(dim=0).max() < 1  # nouns compete with each other and with class "none"
    loss = text_segmentation_loss(logits, arrays["pseudo_label"].long(), none_weight=0.5)
    torch.testing.assert_close(loss, arrays["tseg_loss"].view(()), rtol=1e-5, atol=1e-6)
    assert arrays["class_weight"].tolist() == [0.5, 1, 1]


def test_a_batch_without_labelled_tokens_has_zero_loss():
    logits = torch.randn(2, 3, 5, requires_grad=True)
    loss = text_segmentation_loss(logits, torch.full((2, 5), IGNORED_TOKEN))
    loss.backward()
    assert loss == 0
    assert not logits.grad.any()


def test_highlighted_words_are_the_official_ones():
    arrays = tensors("text_masks")
    mask = keep_special_tokens(arrays["mask"], arrays["eos_idx"])
    torch.testing.assert_close(mask, arrays["padded"])
    prompt = WordPrompt(12, 6)
    prompt.words.data.copy_(arrays["bg_text"][:, 0])
    highlighted = prompt(arrays["tokens_LBC"].transpose(0, 1), arrays["mask"], arrays["eos_idx"])
    torch.testing.assert_close(highlighted.transpose(0, 1), arrays["highlighted"])


@pytest.mark.parametrize("row", range(4))
def test_token_pseudo_labels_are_the_official_ones(row):
    arrays = golden("noun_pseudo_labels")
    nouns, drawn = (
        [IDS[noun] for noun in json.loads(str(arrays[key][row]))] for key in ("all_nouns", "selected")
    )
    labels = token_pseudo_labels(arrays["tokens"][row].tolist(), nouns, drawn)
    assert labels.tolist() == arrays["pseudo"][row].astype(int).tolist()


def test_pieces_of_a_noun_are_labelled_together_and_a_noun_that_was_cut_off_has_no_label():
    caption = [1, 7, 8, 9, 2]
    assert token_pseudo_labels(caption, [[7, 8]], [[7, 8]]).tolist() == [-1, 1, 1, -1, -1]
    assert (
        token_pseudo_labels(caption, [[9, 10]], [[9, 10]]).tolist() == [IGNORED_TOKEN] * 5
    )  # its second piece is beyond the context
    assert token_pseudo_labels(caption, [[]], [[]]).tolist() == [IGNORED_TOKEN] * 5  # a word without tokens


def test_attention_is_over_the_whole_caption(clip):
    segmenter = TextSegmenter(clip)
    states = torch.randn(1, 77, 32, generator=torch.Generator().manual_seed(0))
    changed = states.clone()
    changed[0, -1] += torch.arange(32.0)
    nouns = torch.nn.functional.normalize(torch.ones(2, 1, 32), dim=-1)
    with torch.no_grad():
        before, after = segmenter(states, nouns), segmenter(changed, nouns)
        assert (before[..., 0] - after[..., 0]).abs().max() > 1e-6
        segmenter.train()
        assert torch.equal(segmenter(states, nouns), before)  # the text side has no noise
    assert isinstance(segmenter.projection, torch.nn.Identity)


def test_word_prompt_keeps_or_replaces_all_words(clip):
    tokens = tokenize(clip, [words(320, 2442, 1929, 537, 320)])
    embedded = embed_tokens(clip, tokens.ids)
    prompt = WordPrompt(77, 32)
    torch.nn.init.normal_(prompt.words)
    kept = prompt(embedded, torch.ones(1, 77), tokens.eos)
    assert torch.equal(
        sentence_embedding(clip, kept, tokens.eos, tokens.longest),
        sentence_embedding(clip, embedded, tokens.eos, tokens.longest),
    )
    replaced = prompt(embedded, torch.zeros(1, 77), tokens.eos)[0]
    end = int(tokens.eos)
    assert torch.equal(replaced[1:end], prompt.words[1:end])
    assert torch.equal(replaced[0], embedded[0, 0])
    assert torch.equal(replaced[end:], embedded[0, end:])
    # positions are added after highlighting: the input of the first block is the prompt plus positions
    seen = []
    first = clip.model.text_model.encoder.layers[0]
    handle = first.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    text_hidden_states(clip, replaced[None])
    handle.remove()
    positions = clip.model.text_model.embeddings.position_embedding.weight
    torch.testing.assert_close(seen[0][0, 1:end], prompt.words[1:end] + positions[1:end])


def test_region_prompt_fills_the_pixels_outside_a_hard_mask():
    prompt = RegionPrompt(16)
    torch.nn.init.normal_(prompt.picture)
    mask = (torch.rand(2, 1, 4, 4, generator=torch.Generator().manual_seed(0)) > 0.5).float()
    image = torch.randn(2, 3, 16, 16)
    shown = prompt(image, mask)
    large = mask.repeat_interleave(4, 2).repeat_interleave(4, 3)  # nearest: still zeros and ones
    assert torch.equal(shown, torch.where(large == 1, image, prompt.picture))
    shown.sum().backward()
    inside = (large == 1).all(dim=0).expand(3, -1, -1)
    assert inside.any()
    assert not prompt.picture.grad[0][inside].any()
    assert prompt(torch.randn(1, 3, 24, 24), torch.zeros(1, 1, 6, 6)).shape == (1, 3, 24, 24)
    assert torch.equal(blend(image, torch.ones(1), prompt.picture), image)
