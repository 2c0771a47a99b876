"""CLIP embeddings of sentences, images and image patches.

Radford et al., "Learning Transferable Visual Models From Natural Language Supervision", ICML 2021,
https://arxiv.org/abs/2103.00020; dense features after Zhou et al., "Extract Free Dense Labels from CLIP"
(MaskCLIP), ECCV 2022, https://arxiv.org/abs/2112.01071, in the form of TCL (Cha et al., CVPR 2023).

A thin layer over `transformers`. For dense features every token of the last block attends to itself only, and
residual connection and MLP are kept (MaskCLIP as published drops them). They are computed directly, not by
setting an attention mask on the shared block, so that later calls with ordinary attention are not affected.
"""

from __future__ import annotations

import json
import math
from collections.abc import Container, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import AutoTokenizer, CLIPModel
from transformers.utils import cached_file
from transformers.utils.logging import disable_progress_bar

from wsss_bench.nn.clip_blocks import block_with_attention, class_token_block, run_blocks, self_only_block
from wsss_bench.nn.image_memory import ImageMemory
from wsss_bench.nn.precision import at_least_float32
from wsss_bench.nn.weights import locate

disable_progress_bar()  # logs of stages, and errors of one line

Positions = Literal["bicubic", "bilinear", "bilinear_half"]
"""How position embeddings are resized to the patch grid: as `transformers` does, or bilinearly.

`bilinear_half` rounds them to float16 then, also at the size of the pretraining (CLIP-ES, WeCLIP).
"""


class BlockOutput(NamedTuple):
    """Output of one block of the image tower, of `n` patches and a class token in front."""

    tokens: Tensor
    """`(B, 1 + n, width)`, without a final norm."""
    attention: Tensor | None
    """`(B, 1 + n, 1 + n)` float32 attention weights, averaged over the heads; None where not asked for."""


class CLIP(nn.Module):
    """A CLIP model with its tokenizer and its image statistics.

    Args:
        name: Hub name (`openai/clip-vit-base-patch16`), a folder written by `save_pretrained`, or a shipped
            model (`package:mini/clip`). Weights are converted to float32.

    Attributes:
        name: As given.
        patch_size: Side of a patch in pixels.
        image_size: Side of the square images of the pretraining, in pixels.
        embed_dim: Width `D` of the joint embedding space.
        text_length: Longest sentence in tokens, start and end included.
        text_width: Width of the tokens of the text tower.
        width: Width of the tokens of the image tower.
        num_blocks: Number of blocks of the image tower.
    """

    image_mean: Tensor
    image_std: Tensor

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name
        self._memory: ImageMemory | None = None
        source = locate(name)
        self.model = CLIPModel.from_pretrained(source, dtype=torch.float32)
        self.model.eval()
        self.tokenizer = AutoTokenizer.from_pretrained(source)
        mean, std = _image_statistics(source)
        self.register_buffer("image_mean", torch.tensor(mean).view(3, 1, 1), persistent=False)
        self.register_buffer("image_std", torch.tensor(std).view(3, 1, 1), persistent=False)
        config: Any = self.model.config
        self.patch_size: int = config.vision_config.patch_size
        self.image_size: int = config.vision_config.image_size
        self.embed_dim: int = config.projection_dim
        self.text_length: int = config.text_config.max_position_embeddings
        self.text_width: int = config.text_config.hidden_size
        self.width: int = config.vision_config.hidden_size
        self.num_blocks: int = config.vision_config.num_hidden_layers

    def normalize(self, image: Tensor) -> Tensor:
        """(B, 3, H, W) RGB in [0, 1] -> the same with CLIP's mean and standard deviation."""
        return (image - self.image_mean) / self.image_std

    def encode_text(self, sentences: Sequence[str]) -> Tensor:
        """`N` sentences -> (N, D) unit vectors. Longer sentences are cut at the model's length."""
        return F.normalize(at_least_float32(self.embed_text(sentences)), dim=-1)

    def embed_text(self, sentences: Sequence[str]) -> Tensor:
        """As `encode_text`, vectors of any length."""
        tokens = self.tokenizer(
            list(sentences), padding=True, truncation=True, max_length=self.text_length, return_tensors="pt"
        ).to(self.image_mean.device)
        hidden = self.model.text_model(tokens.input_ids, attention_mask=tokens.attention_mask)
        return self.model.text_projection(hidden.pooler_output)

    def encode_image(self, image: Tensor) -> Tensor:
        """(B, 3, H, W) normalised image -> (B, D) unit vectors of the class token, ordinary attention.

        The last block computes the class token only: its patch tokens are not used.
        """
        *blocks, last = self.model.vision_model.encoder.layers
        tokens = run_blocks(blocks, self.embed_patches(image))
        return self.project(class_token_block(last, tokens))

    def dense(self, image: Tensor) -> Tensor:
        """(B, 3, H, W) normalised image -> (B, D, h, w) unit vectors, one per patch; h = H / patch_size.

        Tokens of the last block with self-only attention, then the final norm and the projection.
        """
        return self.dense_from_patches(self.before_last_block(image))

    def before_last_block(self, image: Tensor) -> Tensor:
        """(B, 3, H, W) normalised image -> (B, width, h, w) patch tokens, the input of the last block."""
        return self.input_of_last_block(image)[:, 1:].transpose(1, 2).unflatten(2, self.grid(image))

    def input_of_last_block(self, image: Tensor) -> Tensor:
        """(B, 3, H, W) normalised image -> (B, 1 + h * w, width), the class token first."""
        if self._memory is None:
            return self._input_of_last_block(image)
        return self._memory.recall(image, self._input_of_last_block)

    def _input_of_last_block(self, image: Tensor) -> Tensor:
        return run_blocks(self.model.vision_model.encoder.layers[:-1], self.embed_patches(image))

    @contextmanager
    def remembering(self) -> Iterator[None]:
        """While open, `input_of_last_block` of an image that was seen is not computed again."""
        self._memory = ImageMemory()
        try:
            yield
        finally:
            self._memory = None

    def dense_from_patches(self, patches: Tensor) -> Tensor:
        """(B, width, h, w) output of `before_last_block` -> (B, D, h, w), as `dense`."""
        last = self.model.vision_model.encoder.layers[-1]
        tokens = self.project(self_only_block(last, patches.flatten(2).transpose(1, 2)))  # (B, h * w, D)
        return tokens.transpose(1, 2).unflatten(2, patches.shape[2:])

    def block_outputs(
        self,
        image: Tensor,
        attention: Container[int] = (),
        positions: Positions = "bicubic",
        blocks: int | None = None,
    ) -> Iterator[BlockOutput]:
        """The outputs of the blocks of the image tower, one after the other, from one pass over an image.

        Args:
            image: `(B, 3, H, W)` normalised.
            attention: Numbers of the blocks, from 0, whose attention weights are wanted.
            positions: How position embeddings are resized.
            blocks: Number of blocks that are run; None for all.
        """
        tokens = self.embed_patches(image, positions)
        for number, block in enumerate(self.model.vision_model.encoder.layers[:blocks]):
            weights = None
            if number in attention:
                tokens, weights = block_with_attention(block, tokens)
            else:
                tokens = run_blocks([block], tokens)
            yield BlockOutput(tokens, weights)

    def grid(self, image: Tensor) -> tuple[int, int]:
        """Height and width of the patch grid of an image `(..., H, W)`."""
        return image.shape[-2] // self.patch_size, image.shape[-1] // self.patch_size

    def embed_patches(self, image: Tensor, positions: Positions = "bicubic") -> Tensor:
        """(B, 3, H, W) normalised image -> (B, 1 + h * w, width), the input of the first block.

        The class token comes first. Position embeddings are resized to the patch grid; but for
        `bilinear_half` they are unchanged at the pretraining size.

        Raises:
            ValueError: height or width is no multiple of the patch size.
        """
        height, width = image.shape[-2:]
        if height % self.patch_size or width % self.patch_size or not min(height, width):
            above = [max(1, -(-length // self.patch_size)) * self.patch_size for length in (height, width)]
            raise ValueError(
                f"image of {height}x{width} pixels does not divide into patches of {self.patch_size}; "
                f"resize or pad it to {above[0]}x{above[1]}."
            )
        vision = self.model.vision_model
        if positions == "bicubic":
            return vision.pre_layrnorm(vision.embeddings(image, interpolate_pos_encoding=True))
        embeddings = vision.embeddings
        table = resize_bilinearly(embeddings.position_embedding.weight, self.grid(image))
        if positions == "bilinear_half":
            table = table.half().float()
        patches = embeddings.patch_embedding(image).flatten(2).transpose(1, 2)
        first = embeddings.class_embedding.expand(len(image), 1, -1)
        return vision.pre_layrnorm(torch.cat([first, patches], dim=1) + table)

    def project(self, tokens: Tensor) -> Tensor:
        """(..., width) output of the last block -> (..., D) unit vectors in the joint embedding space.

        They are float32: in bfloat16 the length of a unit vector is 1 to three digits only.
        """
        return F.normalize(at_least_float32(self.embed_tokens(tokens)), dim=-1)

    def embed_tokens(self, tokens: Tensor) -> Tensor:
        """As `project`, vectors of any length."""
        return self.model.visual_projection(self.model.vision_model.post_layernorm(tokens))


def resize_bilinearly(table: Tensor, grid: tuple[int, int]) -> Tensor:
    """`(1 + s * s, width)` position embeddings, the class token first -> `(1 + h * w, width)`."""
    side = math.isqrt(len(table) - 1)
    patches = table[1:].T.unflatten(1, (side, side))[None]
    resized = F.interpolate(patches, grid, mode="bilinear", align_corners=False)
    return torch.cat([table[:1], resized[0].flatten(1).T])


def _image_statistics(source: str) -> tuple[list[float], list[float]]:
    """Mean and standard deviation of `preprocessor_config.json`, per RGB channel, for images in [0, 1]."""
    path = cached_file(source, "preprocessor_config.json")
    settings = json.loads(Path(str(path)).read_text())
    return settings["image_mean"], settings["image_std"]
