"""The tiny CLIP's word tokenizer: every word of the mini web's captions, lower case, punctuation apart."""

from __future__ import annotations

from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from wsss_bench.mini.world.captions import vocabulary

PAD, UNKNOWN, START, END = "<|pad|>", "<|unknown|>", "<|startoftext|>", "<|endoftext|>"
MAX_LENGTH = 32  # tokens, start and end included


def make_tokenizer() -> PreTrainedTokenizerFast:
    """A fast tokenizer of `transformers`; `save_pretrained` writes what `AutoTokenizer` reads."""
    # the end token must not have id 2, which CLIPTextModel takes for a sign of an old checkpoint
    words = [PAD, UNKNOWN, START, END, *vocabulary()]
    ids = {word: number for number, word in enumerate(words)}
    tokenizer = Tokenizer(models.WordLevel(ids, unk_token=UNKNOWN))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{START} $A {END}", special_tokens=[(START, ids[START]), (END, ids[END])]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        model_max_length=MAX_LENGTH,
        pad_token=PAD,
        unk_token=UNKNOWN,
        bos_token=START,
        eos_token=END,
    )
