"""Pretraining of the tiny CLIP on the mini web's captions.

A `transformers.CLIPModel` of 0.6 M parameters, trained with the caption loss on the class token and the noun
loss on the patch tokens in their dense reading (self-only last block). One cosine planned for the given
length; the length is chosen so that dense zero-shot segmentation lands at 38-45 mIoU on mini val, about where
real CLIP is on VOC, and not higher.
"""

from __future__ import annotations

import json
import math
import sys
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import CLIPConfig, CLIPModel, PreTrainedTokenizerFast

from wsss_bench.mini.weights.losses import caption_loss, caption_targets, noun_loss
from wsss_bench.mini.weights.schedule import make_optimizer
from wsss_bench.mini.weights.tokenizer import MAX_LENGTH, make_tokenizer
from wsss_bench.mini.weights.web import NOUNS, Web, mentioned_nouns
from wsss_bench.mini.world.grammar import IMAGE_SIZE
from wsss_bench.nn.clip import self_only_block

PIXEL_MEAN, PIXEL_STD = 115 / 255, 60 / 255  # all channels
TEXT_LENGTH = 20  # tokens; every caption is shorter
SCALE_CAP = 50.0
UNKNOWN_SHARE = 0.1  # of the words that are no nouns: a prompt's unknown words must do no harm


@dataclass(frozen=True)
class ClipRecipe:
    """Settings of the run; `steps` is the length of the one cosine."""

    steps: int = 500
    batch: int = 64
    lr: float = 1.5e-3
    weight_decay: float = 0.05
    warmup: int = 80
    web_images: int = 24_000  # images of the mini web
    kept_patches: float = 0.5  # share of the patch tokens seen in a training step


def make_clip(tokenizer: PreTrainedTokenizerFast) -> CLIPModel:
    """The tiny CLIP with random weights."""
    special = {
        "pad_token_id": tokenizer.pad_token_id,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
    }
    config = CLIPConfig(
        text_config={
            "vocab_size": len(tokenizer),
            "hidden_size": 96,
            "intermediate_size": 192,
            "num_hidden_layers": 1,
            "num_attention_heads": 4,
            "max_position_embeddings": MAX_LENGTH,
            "projection_dim": 64,
            **special,
        },
        vision_config={
            "image_size": IMAGE_SIZE,
            "patch_size": 8,
            "hidden_size": 96,
            "intermediate_size": 384,
            "num_hidden_layers": 4,
            "num_attention_heads": 4,
            "projection_dim": 64,
        },
        projection_dim=64,
        logit_scale_init_value=math.log(14.3),
    )
    return CLIPModel(config)


def train_clip(web: Web, recipe: ClipRecipe, seed: int) -> tuple[CLIPModel, PreTrainedTokenizerFast]:
    """Train on the mini web; progress goes to standard error."""
    torch.manual_seed(seed)
    rng = torch.Generator().manual_seed(seed)
    tokenizer = make_tokenizer()
    model = make_clip(tokenizer).train()
    optimizer, schedule = make_optimizer(model, recipe.lr, recipe.weight_decay, recipe.steps, recipe.warmup)
    encoded = tokenizer(web.caption, padding=True, return_tensors="pt")
    prompts = tokenizer([f"a photo of a {noun}" for noun in NOUNS], padding=True, return_tensors="pt")
    filler = _filler_ids(tokenizer)
    mentioned = torch.from_numpy(mentioned_nouns(web.caption))
    truth = torch.from_numpy(web.truth)
    order = torch.empty(0, dtype=torch.long)
    for step in range(recipe.steps):
        if len(order) < recipe.batch:
            order = torch.randperm(len(web.caption), generator=rng)
        index, order = order[: recipe.batch], order[recipe.batch :]
        image = augment(torch.from_numpy(web.image[index.numpy()]), rng)
        ids = encoded.input_ids[index]
        hidden = filler[ids] & (torch.rand(ids.shape, generator=rng) < UNKNOWN_SHARE)
        ids = ids.masked_fill(hidden, tokenizer.unk_token_id)

        class_token, patches = encode(model, image, recipe.kept_patches, rng)
        texts = _encode_text(model, torch.cat([_pad(ids, TEXT_LENGTH), _pad(prompts.input_ids, TEXT_LENGTH)]))
        captions, nouns = texts[: len(ids)], texts[len(ids) :]
        scale = model.logit_scale.exp().clamp(max=SCALE_CAP)
        positive, ignored = caption_targets(mentioned[index], truth[index])
        by_caption = caption_loss(class_token, captions, scale, positive, ignored)
        by_noun = noun_loss(patches, nouns, scale, truth[index])
        optimizer.zero_grad()
        (by_caption + by_noun).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if step % 50 == 0 or step == recipe.steps - 1:
            print(
                f"clip {step + 1}/{recipe.steps}: caption {by_caption.item():.3f} noun {by_noun.item():.3f} "
                f"scale {scale.item():.1f}", file=sys.stderr, flush=True,
            )  # fmt: skip
    return model.eval(), tokenizer


def encode(model: CLIPModel, image: Tensor, kept: float, rng: torch.Generator) -> tuple[Tensor, Tensor]:
    """Both readings of the last block from one pass over a random part of the patches.

    Args:
        model: The CLIP in training.
        image: (B, 3, 96, 96), normalised.
        kept: Share of the patch tokens that the pass sees.
        rng: Draws which patches.

    Returns:
        (B, D) class token with ordinary and (B, N, D) patches with self-only attention, unit length.
    """
    vision = model.vision_model
    tokens = vision.pre_layrnorm(vision.embeddings(image))
    batch, count, width = tokens.shape
    number = max(1, round(kept * (count - 1)))
    chosen = torch.rand(batch, count - 1, generator=rng).argsort(1)[:, :number] + 1
    patches = tokens.gather(1, chosen[..., None].expand(-1, -1, width))
    tokens = torch.cat([tokens[:, :1], patches], 1)
    *blocks, last = vision.encoder.layers
    for block in blocks:
        tokens = block(tokens, None)
    class_token, local = last(tokens, None)[:, 0], self_only_block(last, tokens[:, 1:])
    both = torch.cat([class_token[:, None], local], 1)
    both = F.normalize(model.visual_projection(vision.post_layernorm(both)), dim=-1)
    return both[:, 0], both[:, 1:]


def augment(image: Tensor, rng: torch.Generator) -> Tensor:
    """(B, 96, 96, 3) uint8 -> (B, 3, 96, 96) normalised: flip, colour per image; shift, gain per batch."""
    pixels = (image.permute(0, 3, 1, 2).float() / 255 - PIXEL_MEAN) / PIXEL_STD
    flipped = torch.rand(len(pixels), 1, 1, 1, generator=rng) < 0.5
    pixels = torch.where(flipped, pixels.flip(3), pixels)
    down, right = torch.randint(-7, 8, (2,), generator=rng).tolist()
    gain = 0.85 + 0.3 * torch.rand((), generator=rng)
    colour = 0.08 * torch.randn(len(pixels), 3, 1, 1, generator=rng)
    return pixels.roll((down, right), (2, 3)) * gain + colour


def save_clip(model: CLIPModel, tokenizer: PreTrainedTokenizerFast, folder: Path) -> None:
    """Write a folder that `from_pretrained` loads; weights in half precision."""
    model.half().save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    preprocessor = {
        "image_processor_type": "CLIPImageProcessor",
        "do_resize": True,
        "size": {"shortest_edge": IMAGE_SIZE},
        "do_center_crop": True,
        "crop_size": {"height": IMAGE_SIZE, "width": IMAGE_SIZE},
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": [PIXEL_MEAN] * 3,
        "image_std": [PIXEL_STD] * 3,
    }
    (folder / "preprocessor_config.json").write_text(json.dumps(preprocessor, indent=2) + "\n")


def _encode_text(model: CLIPModel, ids: Tensor) -> Tensor:
    # causal attention never looks past the end token, so padding needs no mask
    return F.normalize(model.text_projection(model.text_model(ids).pooler_output), dim=-1)


def _pad(ids: Tensor, length: int) -> Tensor:
    return F.pad(ids, (0, length - ids.shape[1]))


def _filler_ids(tokenizer: PreTrainedTokenizerFast) -> Tensor:
    """(vocabulary,) bool, words that name nothing."""
    words = list(tokenizer.convert_ids_to_tokens(list(range(len(tokenizer)))))
    special = set(tokenizer.all_special_tokens)
    names = mentioned_nouns(words).any(1)
    return torch.from_numpy(~names) & torch.tensor([word not in special for word in words])
