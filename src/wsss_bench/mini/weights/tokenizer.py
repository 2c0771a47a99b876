"""Word tokenizer of the tiny CLIP: the words of the generated captions, lower case, punctuation separate."""

from __future__ import annotations

from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from wsss_bench.mini.world.captions import vocabulary

PAD, UNKNOWN, START, END = "<|pad|>", "<|unknown|>", "<|startoftext|>", "<|endoftext|>"
MAX_LENGTH = 32  # tokens, including start and end


def make_tokenizer() -> PreTrainedTokenizerFast:
    """A fast tokenizer of `transformers`, which `AutoTokenizer` can load after `save_pretrained`."""
    # The end token must not have id 2: CLIPTextModel then assumes an old checkpoint and pools another token.
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
