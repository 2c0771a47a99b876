"""Pretraining of the tiny CLIP on the web images and their captions.

A `transformers.CLIPModel` of 0.6 M parameters. The caption loss trains the class token, the noun loss the
patch tokens of the dense read-out, that is with self-only attention in the last block (each token attends to
itself alone). The number of steps is chosen so that dense zero-shot segmentation reaches 38 to 45 mIoU on
mini val, about as real CLIP does on VOC, and not more.
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
from wsss_bench.mini.weights.web_images import NOUNS, WebImages, mentioned_nouns
from wsss_bench.mini.world.scenes import IMAGE_SIZE
from wsss_bench.nn.clip_blocks import self_only_block

PIXEL_MEAN, PIXEL_STD = 115 / 255, 60 / 255  # of all channels
TEXT_LENGTH = 20  # tokens; every caption is shorter
MAX_SCALE = 50.0  # largest factor of the cosine in the losses
# Share of the words other than nouns that are replaced by the unknown token in training, so that unknown
# words in a prompt change its embedding little.
UNKNOWN_SHARE = 0.1


@dataclass(frozen=True)
class ClipRecipe:
    """Settings of the pretraining run; the learning rate falls along one cosine over `steps`."""

    steps: int = 500
    batch: int = 64
    lr: float = 1.5e-3
    weight_decay: float = 0.05
    warmup: int = 80
    web_images: int = 24_000  # number of training images
    kept_patches: float = 0.5  # share of the patch tokens in a training step; the others are dropped


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


def train_clip(
    web: WebImages, recipe: ClipRecipe, random_seed: int
) -> tuple[CLIPModel, PreTrainedTokenizerFast]:
    """Train on the web images; progress is printed to standard error."""
    torch.manual_seed(random_seed)
    rng = torch.Generator().manual_seed(random_seed)
    tokenizer = make_tokenizer()
    model = make_clip(tokenizer).train()
    optimizer, schedule = make_optimizer(model, recipe.lr, recipe.weight_decay, recipe.steps, recipe.warmup)
    encoded = tokenizer(web.captions, padding=True, return_tensors="pt")
    prompts = tokenizer([f"a photo of a {noun}" for noun in NOUNS], padding=True, return_tensors="pt")
    replaceable = _other_words(tokenizer)
    mentioned = torch.from_numpy(mentioned_nouns(web.captions))
    presence = torch.from_numpy(web.presence)
    order = torch.empty(0, dtype=torch.long)
    for step in range(recipe.steps):
        if len(order) < recipe.batch:
            order = torch.randperm(len(web.captions), generator=rng)
        batch, order = order[: recipe.batch], order[recipe.batch :]
        images = augment(torch.from_numpy(web.images[batch.numpy()]), rng)
        ids = encoded.input_ids[batch]
        unknown = replaceable[ids] & (torch.rand(ids.shape, generator=rng) < UNKNOWN_SHARE)
        ids = ids.masked_fill(unknown, tokenizer.unk_token_id)

        class_token, patches = encode_images(model, images, recipe.kept_patches, rng)
        texts = _encode_text(model, torch.cat([_pad(ids, TEXT_LENGTH), _pad(prompts.input_ids, TEXT_LENGTH)]))
        captions, nouns = texts[: len(ids)], texts[len(ids) :]
        scale = model.logit_scale.exp().clamp(max=MAX_SCALE)
        positive, ignored = caption_targets(mentioned[batch], presence[batch])
        of_captions = caption_loss(class_token, captions, scale, positive, ignored)
        of_nouns = noun_loss(patches, nouns, scale, presence[batch])
        optimizer.zero_grad()
        (of_captions + of_nouns).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if step % 50 == 0 or step == recipe.steps - 1:
            print(
                f"clip {step + 1}/{recipe.steps}: caption {of_captions.item():.3f} "
                f"noun {of_nouns.item():.3f} scale {scale.item():.1f}", file=sys.stderr, flush=True,
            )  # fmt: skip
    return model.eval(), tokenizer


def encode_images(
    model: CLIPModel, images: Tensor, kept: float, rng: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Class token and patch tokens from one forward pass over a random part of the patches.

    Args:
        model: The CLIP in training.
        images: (B, 3, 96, 96), normalised.
        kept: Share of the patch tokens that are kept.
        rng: Decides which patches are kept.

    Returns:
        Class token (B, D), with ordinary attention in the last block, and patch tokens (B, N, D), with
        self-only attention there. Both are projected to the embedding space and of unit length.
    """
    vision = model.vision_model
    tokens = vision.pre_layrnorm(vision.embeddings(images))
    batch, count, width = tokens.shape
    kept_count = max(1, round(kept * (count - 1)))
    chosen = torch.rand(batch, count - 1, generator=rng).argsort(1)[:, :kept_count] + 1
    patches = tokens.gather(1, chosen[..., None].expand(-1, -1, width))
    tokens = torch.cat([tokens[:, :1], patches], 1)
    *blocks, last = vision.encoder.layers
    for block in blocks:
        tokens = block(tokens, None)
    class_token, patches = last(tokens, None)[:, 0], self_only_block(last, tokens[:, 1:])
    tokens = torch.cat([class_token[:, None], patches], 1)
    embedded = F.normalize(model.visual_projection(vision.post_layernorm(tokens)), dim=-1)
    return embedded[:, 0], embedded[:, 1:]


def augment(images: Tensor, rng: torch.Generator) -> Tensor:
    """Normalise; random flip and colour per image, random shift (wrapped around) and gain per batch.

    Args:
        images: (B, 96, 96, 3) uint8.
        rng: Source of the random numbers.

    Returns:
        (B, 3, 96, 96) float32.
    """
    pixels = (images.permute(0, 3, 1, 2).float() / 255 - PIXEL_MEAN) / PIXEL_STD
    flipped = torch.rand(len(pixels), 1, 1, 1, generator=rng) < 0.5
    pixels = torch.where(flipped, pixels.flip(3), pixels)
    down, right = torch.randint(-7, 8, (2,), generator=rng).tolist()
    gain = 0.85 + 0.3 * torch.rand((), generator=rng)
    colour = 0.08 * torch.randn(len(pixels), 3, 1, 1, generator=rng)
    return pixels.roll((down, right), (2, 3)) * gain + colour


def save_clip(model: CLIPModel, tokenizer: PreTrainedTokenizerFast, folder: Path) -> None:
    """Write a folder for `from_pretrained`, with the weights in half precision."""
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
    """(B, L) token ids -> (B, D) embeddings of unit length."""
    # Causal attention: the end token does not attend to the padding after it, so no mask is needed.
    return F.normalize(model.text_projection(model.text_model(ids).pooler_output), dim=-1)


def _pad(ids: Tensor, length: int) -> Tensor:
    return F.pad(ids, (0, length - ids.shape[1]))


def _other_words(tokenizer: PreTrainedTokenizerFast) -> Tensor:
    """(V,) bool over the vocabulary: words that name no noun of `NOUNS`, special tokens excluded."""
    words = list(tokenizer.convert_ids_to_tokens(list(range(len(tokenizer)))))
    special = set(tokenizer.all_special_tokens)
    is_noun = mentioned_nouns(words).any(1)
    return torch.from_numpy(~is_noun) & torch.tensor([word not in special for word in words])
