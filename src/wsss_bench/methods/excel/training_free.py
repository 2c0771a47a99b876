"""The training-free part of ExCEL: seeds from a frozen CLIP with calibrated attention and enriched texts.

Departures: seeds are score maps on the grid of patches, which a refiner of the suite refines by the colours;
the authors' PAR is used in training only.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from wsss_bench.methods.base import Method
from wsss_bench.methods.excel.calibrated_clip import Reading, Tokens, read
from wsss_bench.methods.excel.class_maps import class_maps
from wsss_bench.methods.excel.pseudo_label import mean_attention, refine_by_attention
from wsss_bench.methods.excel.text_enrichment import ClassTexts, TextConfig
from wsss_bench.methods.optim import OptimConfig
from wsss_bench.nn.clip import CLIP
from wsss_bench.nn.frozen import Frozen
from wsss_bench.nn.normalize import ImageNetNormalize
from wsss_bench.ranges import check_range


class ExCELStatic(Method):
    """Text semantic enrichment and static visual calibration of a frozen CLIP. Nothing is trained.

    Args:
        class_names: Foreground classes, in label order.
        clip: Hub name, folder, or `package:mini/clip`. Images get ImageNet's statistics, as published.
        text: The texts.
        calibrated_blocks: Number of calibrated blocks, the last ones of the image tower; 0: none.
        attention_blocks: Number of blocks along whose attention maps are spread, the last ones.
        box_threshold: Share of the maximum of a class map whose regions spread, within their boxes.

    Raises:
        FileNotFoundError, ValueError: texts as in `ClassTexts`, or a CLIP with too few blocks.
    """

    supervision = "image"
    batch_type = None

    def __init__(
        self,
        class_names: Sequence[str],
        clip: str = "openai/clip-vit-base-patch16",
        text: TextConfig = TextConfig(),
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
                f"{clip} has {blocks} blocks: calibrated_blocks is 0 to {blocks - 1} and attention_blocks 1 to "
                f"{blocks}, got {calibrated_blocks} and {attention_blocks}"
            )
        check_range("box_threshold", box_threshold, 0, below=1)
        self.class_texts = ClassTexts(self.clip, self.class_names, text)
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
        return self.refine(maps, mean_attention(reading.attention))

    @property
    def clip(self) -> CLIP:
        return self.frozen.network

    def read(self, image: Tensor, tokens: Tokens = "clean") -> Reading:
        """One pass of CLIP over images `(B, 3, H, W)` in [0, 1]."""
        normalized = self.normalize(image)
        return read(self.clip, normalized, self.calibrated_blocks, self.attention_blocks, tokens)

    def maps(self, calibrated: Tensor, image: Tensor) -> Tensor:
        """Calibrated tokens `(B, 1 + n, width)` of images -> class maps `(B, C, h, w)` in [0, 1]."""
        projected = self.clip.embed_tokens(calibrated)
        return class_maps(projected, self._texts(), len(self.class_names), self.clip.grid(image))

    def refine(self, maps: Tensor, attention: Tensor) -> Tensor:
        """Class maps `(B, C, h, w)`, spread along attention `(B, n, n)`."""
        return refine_by_attention(maps, attention, self.box_threshold)

    def _texts(self) -> Tensor:
        """`(T, D)` text embeddings, classes first, in full precision; encoded once per device."""
        if self._embeddings is None or self._embeddings.device != self.device:
            with torch.autocast(self.device.type, enabled=False):
                self._embeddings = self.class_texts.encode(self.clip)
        return self._embeddings
