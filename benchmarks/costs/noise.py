"""A source of random pictures, labels, masks and captions, and CLIP models without their weights.

What a step costs does not depend on the values, so that costs are measured without data and without hub.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from PIL import Image
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from torch import Tensor
from torch.nn import functional as F
from transformers import CLIPConfig, CLIPModel, PreTrainedTokenizerFast

from wsss_bench import vocabulary
from wsss_bench.data.sources.base import Source
from wsss_bench.methods.text_grounding.nouns import plural
from wsss_bench.nn import clip
from wsss_bench.nn.weights import locate
from wsss_bench.shipped import PACKAGE

START, END = 49406, 49407
"""Token ids of OpenAI's CLIP."""
PATCHES = {"openai/clip-vit-base-patch16": 16, "openai/clip-vit-base-patch32": 32}


class Noise(Source):
    """Smooth random pictures, each with two classes.

    Args:
        classes: Name of a vocabulary.
        size: Height and width of all pictures.
        images: Pictures of a split.
    """

    def __init__(self, classes: str = "voc", size: tuple[int, int] = (375, 500), images: int = 64) -> None:
        self.class_names = vocabulary.load(classes)
        self.size, self.images = size, images

    def ids(self, split: str) -> list[str]:
        return [f"{split}{number}" for number in range(self.images)]

    def image(self, image_id: str) -> np.ndarray:
        # decoded each time, as from a disk
        return np.array(Image.open(io.BytesIO(_jpeg(self.size))).convert("RGB"))

    def labels(self, image_id: str) -> np.ndarray:
        labels = np.zeros(len(self.class_names), np.float32)
        labels[list(self._present(image_id))] = 1
        return labels

    def mask(self, image_id: str) -> np.ndarray:
        """Background with a rectangle of each class and an undecided column."""
        (height, width), mask = self.size, np.zeros(self.size, np.uint8)
        for slot, label in enumerate(self._present(image_id)):
            mask[height // 4 : height // 2, (1 + 4 * slot) * width // 8 : (3 + 4 * slot) * width // 8] = (
                label + 1
            )
        mask[:, width // 2] = 255
        return mask

    def captions(self, image_id: str) -> tuple[str, ...]:
        first, second = (self.class_names[label] for label in self._present(image_id))
        return (f"a small {first} in front of a large {second} on the grass beside the road in the morning",)

    def _present(self, image_id: str) -> tuple[int, int]:
        number = int(image_id.lstrip("abcdefghijklmnopqrstuvwxyz_"))
        return number % 4, 4 + number % 4  # each class in many pictures, so that pairs share one


@cache
def _jpeg(size: tuple[int, int]) -> bytes:
    coarse = np.random.default_rng(0).integers(0, 255, (12, 16, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(coarse).resize(size[::-1], Image.Resampling.BICUBIC).save(file, "JPEG", quality=95)
    return file.getvalue()


@cache
def _tokenizer() -> PreTrainedTokenizerFast:
    """One token for each word of the package's YAML files."""
    texts = [path.read_text() for path in PACKAGE.rglob("*.yaml")]
    found = {word for text in texts for word in re.findall(r"\w+|[^\w\s]+", text.lower())}
    words = sorted(found | {plural(word) for word in found})
    start, end = "<|startoftext|>", "<|endoftext|>"
    known = {word: number for number, word in enumerate(words)} | {start: START, end: END}
    tokenizer = Tokenizer(models.WordLevel(known, unk_token=end))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{start} $A {end}", special_tokens=[(start, START), (end, END)]
    )
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token=end, bos_token=start, eos_token=end)


@contextmanager
def clip_without_weights() -> Iterator[None]:
    """While methods are built: CLIP by its hub name gets random weights, a token for each word, and random
    embeddings of class texts, of which there may be thousands."""
    loaded = clip.CLIPModel.from_pretrained, clip.AutoTokenizer.from_pretrained, clip._image_statistics

    def build(name: str, **options: object) -> CLIPModel:
        if name not in PATCHES:
            return loaded[0](name, **options)
        text = {"bos_token_id": START, "eos_token_id": END, "pad_token_id": END}
        vision = {"patch_size": PATCHES[name]}
        return CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=512))

    def tokenizer(name: str) -> Any:
        return _tokenizer() if name in PATCHES else loaded[1](name)

    def statistics(name: str) -> Any:
        return loaded[2](locate("package:mini/clip") if name in PATCHES else name)

    def embed(self: clip.CLIP, sentences: Sequence[str]) -> Tensor:
        generator = torch.Generator().manual_seed(0)
        return F.normalize(torch.randn(len(sentences), self.embed_dim, generator=generator), dim=-1)

    with (
        patch.object(clip.CLIPModel, "from_pretrained", build),
        patch.object(clip.AutoTokenizer, "from_pretrained", tokenizer),
        patch.object(clip, "_image_statistics", statistics),
        patch.object(clip.CLIP, "embed_text", embed),
    ):
        yield
