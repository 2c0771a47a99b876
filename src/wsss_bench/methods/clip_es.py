"""CLIP-ES: seeds from a frozen CLIP, without any training.

Lin et al., "CLIP is Also an Efficient Segmenter: A Text-Driven Approach for Weakly Supervised Semantic
Segmentation", CVPR 2023, https://arxiv.org/abs/2212.09506, https://github.com/linyq2117/CLIP-ES.

The probability of a labelled class, in a softmax over the labelled classes of the image and generic
backgrounds, is differentiated at the first norm of the last block (GradCAM). The attention of the last blocks
spreads the map inside boxes around its strong regions (class-aware attention affinity).

Departures: float32 in every precision of the trainer, where the authors compute in half precision on a GPU,
so that gradients of images with a probability close to 1 are not lost; an image without labels has empty
seeds. Seeds are divided by their maximum once more at full size, which raises scores by 0.1 % on average.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from wsss_bench.methods.base import Method
from wsss_bench.nn.attention_affinity import spread_along
from wsss_bench.nn.clip import CLIP, Positions
from wsss_bench.nn.competing_texts import Texts, embed_competing_texts
from wsss_bench.nn.frozen import Frozen
from wsss_bench.nn.grad_cam import Target, grad_cam
from wsss_bench.nn.precision import in_float32
from wsss_bench.ranges import check_range


class CLIPES(Method):
    """GradCAM of CLIP, spread along its attention.

    Args:
        class_names: Foreground classes, in label order.
        clip: Hub name, folder, or `package:mini/clip`.
        texts: Texts of classes and backgrounds.
        target: What is differentiated: `probability` (softmax over classes and backgrounds) or `logit`.
        affinity_blocks: Number of last blocks whose attention is averaged; 0 leaves the affinity out.
        box_threshold: Share of the maximum of a map whose regions have a box; what lies outside of the boxes
            does not spread. null: no boxes.
        positions: How position embeddings are resized.

    Raises:
        ValueError: a number out of range, or texts that do not fit the classes or CLIP.
    """

    supervision = "image"
    batch_type = None
    gradients_at_inference = True

    class_texts: Tensor
    background_texts: Tensor

    def __init__(
        self,
        class_names: Sequence[str],
        clip: str = "openai/clip-vit-base-patch16",
        texts: Texts = Texts(),
        target: Target = "probability",
        affinity_blocks: int = 8,
        box_threshold: float | None = 0.4,
        positions: Positions = "bilinear_half",
    ) -> None:
        super().__init__(class_names)
        check_range("model.init_args.box_threshold", box_threshold, 0, 1)
        self._clip = Frozen(CLIP(clip))
        check_range("model.init_args.affinity_blocks", affinity_blocks, 0, self._clip.network.num_blocks)
        embedded = embed_competing_texts(self._clip.network, self.class_names, texts)
        self.register_buffer("class_texts", embedded.classes, persistent=False)
        self.register_buffer("background_texts", embedded.backgrounds, persistent=False)
        self.target: Target = target
        self.affinity_blocks = affinity_blocks
        self.box_threshold = box_threshold
        self.positions: Positions = positions

    @in_float32
    def seed_maps(
        self, image: Tensor, labels: Tensor | None = None, references: Sequence[Any] = ()
    ) -> Tensor:
        if labels is None:
            raise ValueError("CLIP-ES needs the labels of an image: classes compete among them")
        clip = self._clip.network
        last = clip.num_blocks - 1
        averaged = range(clip.num_blocks - self.affinity_blocks, last)
        attention: Tensor | int = 0
        tokens = image
        for output in clip.block_outputs(clip.normalize(image), averaged, self.positions, blocks=last):
            tokens = output.tokens
            if output.attention is not None:
                attention = attention + output.attention
        texts = self.class_texts, self.background_texts
        cam = grad_cam(clip, tokens, clip.grid(image), *texts, labels, self.target)
        if not self.affinity_blocks:
            return cam.maps
        mean = (attention + cam.attention) / self.affinity_blocks
        return spread_along(mean[:, 1:, 1:], cam.maps, self.box_threshold)
