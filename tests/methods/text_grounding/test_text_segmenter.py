"""CoDe's text segmenter, word labels and highlighting against arrays of the official code, and the mistakes to avoid."""

import json

import pytest
import torch
from golden_clip import golden, tensors, words, write_golden_clip

from wsss_bench.methods.text_grounding.highlight import RegionPrompt, WordPrompt, blend, keep_frame
from wsss_bench.methods.text_grounding.text_segmenter import (
    NO_TARGET,
    TextSegmenter,
    noun_logits,
    word_labels,
    word_masks,
)
from wsss_bench.methods.text_grounding.word_segmentation import word_segmentation
from wsss_bench.nn.clip import CLIP
from wsss_bench.nn.clip_text import embed_words, sentence_embedding, text_states, tokenize

IDS = {
    "dog": [1929], "ball": [1069], "grass": [5922], "balloon": [13634], "air": [1922], "skies": [7244], "cat": [2368],
    "skatepark": [13740, 1452], "skateboarders": [13740, 7837, 1923], "skateboards": [13740, 7963],
}  # fmt: skip


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return CLIP(str(write_golden_clip(tmp_path_factory.mktemp("clip")))).requires_grad_(False)


def test_word_masks_and_their_loss_are_the_official_ones():
    arrays = tensors("text_masks")
    tokens = torch.nn.functional.normalize(arrays["dense_LBC"].transpose(0, 1), dim=-1).split(3)
    nouns = arrays["noun_emb"].split(3)
    # the official function was given other tokens for each noun of a caption; here they share them
    parts = [
        noun_logits(token, noun[None], arrays["w"].float(), arrays["b"].float())
        for token, noun in zip(tokens, nouns, strict=True)
    ]
    logits = torch.cat([parts[0], parts[1][:, 1:]], dim=1)
    torch.testing.assert_close(logits, arrays["logits_BKL"], rtol=1e-4, atol=1e-5)
    masks = word_masks(logits)
    torch.testing.assert_close(masks.flatten(0, 1), arrays["probs"], rtol=1e-4, atol=1e-5)
    assert masks.sum(dim=0).max() < 1  # nouns compete with each other and with none
    loss = word_segmentation(logits, arrays["pseudo_label"].long(), none_weight=0.5)
    torch.testing.assert_close(loss, arrays["tseg_loss"].view(()), rtol=1e-5, atol=1e-6)
    assert arrays["class_weight"].tolist() == [0.5, 1, 1]


def test_a_batch_without_any_word_label_has_no_loss():
    logits = torch.randn(2, 3, 5, requires_grad=True)
    loss = word_segmentation(logits, torch.full((2, 5), NO_TARGET))
    loss.backward()
    assert loss == 0
    assert not logits.grad.any()


def test_highlighted_words_are_the_official_ones():
    arrays = tensors("text_masks")
    mask = keep_frame(arrays["mask"], arrays["eos_idx"])
    torch.testing.assert_close(mask, arrays["padded"])
    prompt = WordPrompt(12, 6)
    prompt.words.data.copy_(arrays["bg_text"][:, 0])
    highlighted = prompt(arrays["tokens_LBC"].transpose(0, 1), arrays["mask"], arrays["eos_idx"])
    torch.testing.assert_close(highlighted.transpose(0, 1), arrays["highlighted"])


@pytest.mark.parametrize("row", range(4))
def test_word_labels_are_the_official_ones(row):
    arrays = golden("noun_pseudo_labels")
    nouns, drawn = (
        [IDS[noun] for noun in json.loads(str(arrays[key][row]))] for key in ("all_nouns", "selected")
    )
    labels = word_labels(arrays["tokens"][row].tolist(), nouns, drawn)
    assert labels.tolist() == arrays["pseudo"][row].astype(int).tolist()


def test_pieces_of_a_noun_are_labelled_together_and_a_noun_that_was_cut_off_has_no_label():
    caption = [1, 7, 8, 9, 2]
    assert word_labels(caption, [[7, 8]], [[7, 8]]).tolist() == [-1, 1, 1, -1, -1]
    assert (
        word_labels(caption, [[9, 10]], [[9, 10]]).tolist() == [NO_TARGET] * 5
    )  # its second piece is beyond the context
    assert word_labels(caption, [[]], [[]]).tolist() == [NO_TARGET] * 5  # a word without tokens


def test_every_token_sees_the_whole_caption(clip):
    segmenter = TextSegmenter(clip)
    states = torch.randn(1, 77, 32, generator=torch.Generator().manual_seed(0))
    changed = states.clone()
    changed[0, -1] += torch.arange(32.0)
    nouns = torch.nn.functional.normalize(torch.ones(2, 1, 32), dim=-1)
    with torch.no_grad():
        before, after = segmenter(states, nouns), segmenter(changed, nouns)
        assert (before[..., 0] - after[..., 0]).abs().max() > 1e-6
        segmenter.train()
        assert torch.equal(segmenter(states, nouns), before)  # no noise on the side of the text
    assert isinstance(segmenter.projection, torch.nn.Identity)


def test_word_prompt_leaves_or_replaces_whole_captions(clip):
    tokens = tokenize(clip, [words(320, 2442, 1929, 537, 320)])
    embedded = embed_words(clip, tokens.ids)
    prompt = WordPrompt(77, 32)
    torch.nn.init.normal_(prompt.words)
    kept = prompt(embedded, torch.ones(1, 77), tokens.end)
    assert torch.equal(
        sentence_embedding(clip, kept, tokens.end), sentence_embedding(clip, embedded, tokens.end)
    )
    replaced = prompt(embedded, torch.zeros(1, 77), tokens.end)[0]
    end = int(tokens.end)
    assert torch.equal(replaced[1:end], prompt.words[1:end])
    assert torch.equal(replaced[0], embedded[0, 0])
    assert torch.equal(replaced[end:], embedded[0, end:])
    # positions come after highlighting: what the first block is given is the prompt plus positions
    seen = []
    first = clip.model.text_model.encoder.layers[0]
    handle = first.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    text_states(clip, replaced[None])
    handle.remove()
    positions = clip.model.text_model.embeddings.position_embedding.weight
    torch.testing.assert_close(seen[0][0, 1:end], prompt.words[1:end] + positions[1:end])


def test_region_prompt_fills_what_a_hard_mask_leaves_out():
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
