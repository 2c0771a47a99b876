"""The training-free part of ExCEL: seeds from a frozen CLIP with calibrated attention and enriched texts.

CLIP computes in float32 in every precision of the trainer, as published: its maps spread in boxes, which
rounding to bfloat16 moves.

Departures: seeds are score maps on the grid of patches, which a refiner of the suite refines by the colours;
the authors' PAR is used in training only.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from wsss_bench.methods.base import Method
from wsss_bench.methods.excel.calibrated_clip import Reading, Tokens, read
from wsss_bench.methods.excel.class_maps import class_maps
from wsss_bench.methods.excel.text_enrichment import Enrichment, enriched, enrichment_sentences
from wsss_bench.methods.optim import OptimConfig
from wsss_bench.nn.attention_affinity import spread_along
from wsss_bench.nn.clip import CLIP
from wsss_bench.nn.competing_texts import Texts, embed_competing_texts
from wsss_bench.nn.frozen import Frozen
from wsss_bench.nn.normalize import ImageNetNormalize
from wsss_bench.nn.precision import in_float32
from wsss_bench.ranges import check_range
from wsss_bench.types import Batch


class ExCELStatic(Method):
    """Text semantic enrichment and static visual calibration of a frozen CLIP. Nothing is trained.

    Args:
        class_names: Foreground classes, in label order.
        clip: Hub name, folder, or `package:mini/clip`. Images get ImageNet's statistics, as published.
        texts: Texts of classes and backgrounds.
        enrichment: What the texts of the classes are enriched with.
        calibrated_blocks: Number of calibrated blocks, the last ones of the image tower; 0: none.
        attention_blocks: Number of blocks along whose attention maps are spread, the last ones.
        box_threshold: Share of the maximum of a class map whose regions spread, within their boxes.

    Raises:
        FileNotFoundError, ValueError: a number out of range, a CLIP with too few blocks, or texts that do
            not fit the classes or CLIP.
    """

    supervision = "image"
    batch_type: ClassVar[type[Batch] | None] = None

    class_texts: Tensor
    background_texts: Tensor

    def __init__(
        self,
        class_names: Sequence[str],
        clip: str = "openai/clip-vit-base-patch16",
        texts: Texts = Texts(),
        enrichment: Enrichment = Enrichment(),
        calibrated_blocks: int = 5,
        attention_blocks: int = 6,
        box_threshold: float = 0.79,
        optim: OptimConfig = OptimConfig(),
    ) -> None:
        super().__init__(class_names, optim)
        self.frozen = Frozen(CLIP(clip))
        blocks = self.clip.num_blocks
        if not 0 <= calibrated_blocks < blocks or not 1 <= attention_blocks <= blocks:
            raise ValueError(
                f"{clip} has {blocks} blocks: calibrated_blocks is 0 to {blocks - 1} and attention_blocks "
                f"1 to {blocks}, got {calibrated_blocks} and {attention_blocks}"
            )
        check_range("box_threshold", box_threshold, 0, below=1)
        plain = embed_competing_texts(self.clip, self.class_names, texts)
        self.register_buffer("class_texts", plain.classes, persistent=False)
        self.register_buffer("background_texts", plain.backgrounds, persistent=False)
        self.enrichment = enrichment
        self.sentences = enrichment_sentences(self.clip, self.class_names, enrichment)
        self.normalize = ImageNetNormalize()
        self.calibrated_blocks = calibrated_blocks
        self.attention_blocks = attention_blocks
        self.box_threshold = box_threshold
        self._embeddings: Tensor | None = None

    def seed_maps(
        self, image: Tensor, labels: Tensor | None = None, references: Sequence[Any] = ()
    ) -> Tensor:
        reading = self.read(image)
        maps = self.maps(reading.calibrated, image)
        return self.refine(maps, reading.attention.mean(dim=0))

    @property
    def clip(self) -> CLIP:
        return self.frozen.network

    def read(self, image: Tensor, tokens: Tokens = "clean") -> Reading:
        """One pass of CLIP over images `(B, 3, H, W)` in [0, 1]."""
        normalized = self.normalize(image)
        return read(self.clip, normalized, self.calibrated_blocks, self.attention_blocks, tokens)

    @in_float32
    def maps(self, calibrated: Tensor, image: Tensor) -> Tensor:
        """Calibrated tokens `(B, 1 + n, width)` of images -> class maps `(B, C, h, w)` in [0, 1]."""
        projected = self.clip.embed_tokens(calibrated)
        return class_maps(projected, self._texts(), len(self.class_names), self.clip.grid(image))

    def refine(self, maps: Tensor, attention: Tensor) -> Tensor:
        """Class maps `(B, C, h, w)`, spread along attention `(B, n, n)`."""
        return spread_along(attention, maps, self.box_threshold)

    def _texts(self) -> Tensor:
        """`(T, D)` text embeddings, classes first; enriched once, on the device that computes."""
        if self._embeddings is None or self._embeddings.device != self.device:
            classes = enriched(self.clip, self.class_texts, self.sentences, self.enrichment)
            self._embeddings = torch.cat([classes, self.background_texts])
        return self._embeddings
