"""What DALNet and ToCo share: the network, the losses that need nothing else, seeds and segmentation.

Ru et al., ToCo, CVPR 2023, https://arxiv.org/abs/2303.01267, https://github.com/rulixiang/ToCo. A method adds
its own losses, loss weights and start steps.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from torch import Tensor, nn

from wsss_bench.losses.classification import multilabel_soft_margin
from wsss_bench.losses.segmentation import balanced_cross_entropy
from wsss_bench.methods.base import Method
from wsss_bench.methods.optim import OptimConfig
from wsss_bench.methods.single_stage.network import CAMConfig, CAMs, DecoderConfig, SingleStageNetwork
from wsss_bench.methods.single_stage.patch_token_contrast import affinity_mask, patch_token_contrast
from wsss_bench.methods.single_stage.pseudo_labels import subtract_minimum
from wsss_bench.methods.single_stage.vit import Tokens
from wsss_bench.types import ImageBatch


class SingleStageMethod(Method):
    """A ViT with two classifiers, and a decoder trained online on pseudo labels from their CAMs.

    Args:
        class_names: Foreground classes `C`, in label order.
        optim: Optimiser; its learning rate is the encoder's.
        backbone: timm ViT name, or a recipe file.
        weights: `imagenet`, a checkpoint path, or None for random weights.
        aux_layer: Index of the block that feeds the auxiliary classifier; -3 is the tenth of twelve.
        decoder: The decoder.
        head_lr_scale: Learning rate of classifiers and projections over that of the encoder.
        cam: CAMs and pseudo labels.
    """

    batch_type = ImageBatch
    idle_at_first: ClassVar[tuple[str, ...]] = ("network.decoder.",)

    def __init__(
        self,
        class_names: Sequence[str],
        optim: OptimConfig,
        backbone: str,
        weights: str | None,
        aux_layer: int,
        decoder: DecoderConfig,
        head_lr_scale: float,
        cam: CAMConfig,
    ) -> None:
        super().__init__(class_names, optim)
        self.network = SingleStageNetwork(len(self.class_names), backbone, weights, aux_layer, decoder)
        self.head_lr_scale = head_lr_scale
        self.cam = cam

    # Hooks that a method may override.

    def class_maps(self, tokens: Tokens) -> tuple[Tensor, Tensor]:
        """Main and auxiliary class maps `(B, C, h, w)`, the source of CAMs and seeds."""
        return self.network.class_maps(tokens)

    def projections(self) -> list[nn.Module]:
        """Trained projections of the method, outside the network; they use the learning rate of the heads."""
        return []

    # The same for all single-stage methods.

    def cams(self, batch: ImageBatch, tokens: Tokens) -> CAMs:
        """Normalised multi-scale CAMs of the batch, without gradient."""
        return self.network.cams(self.class_maps, batch.image, tokens, self.cam)

    def shared_losses(
        self, batch: ImageBatch, tokens: Tokens, cams: CAMs, seg_start: int
    ) -> dict[str, Tensor]:
        """Unweighted scalar losses.

        - `cls`, `aux`: classification by the main and the auxiliary head.
        - `ptc`: patch token contrast under pseudo labels from the auxiliary CAM.
        - `seg`: the decoder against its online pseudo labels; before step `seg_start` it is 0, with zero
          gradient.
        """
        network = self.network
        main, auxiliary = network.class_logits(tokens)
        affinity = affinity_mask(network.patch_labels(batch, cams.auxiliary, self.cam))
        target = network.pseudo_label(batch, cams, self.cam, self.global_step, seg_start)
        return {
            "cls": multilabel_soft_margin(main, batch.labels),
            "aux": multilabel_soft_margin(auxiliary, batch.labels),
            "ptc": patch_token_contrast(tokens.patches, affinity),
            "seg": balanced_cross_entropy(network.segment(tokens, batch.image.shape[-2:]), target),
        }

    def class_logits(self, image: Tensor) -> Tensor:
        return self.network.class_logits(self.network.encode(image))[0]  # (B, C)

    def seed_maps(
        self, image: Tensor, labels: Tensor | None = None, references: Sequence[Any] = ()
    ) -> Tensor:
        return subtract_minimum(self.class_maps(self.network.encode(image))[0].relu())  # (B, C, h, w)

    def segmentation_logits(self, image: Tensor) -> Tensor:
        return self.network.segment(self.network.encode(image))  # (B, 1 + C, h, w)

    def parameter_groups(self) -> list[dict[str, Any]]:
        return self.network.parameter_groups(self.head_lr_scale, *self.projections())
