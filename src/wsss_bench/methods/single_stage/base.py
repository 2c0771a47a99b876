"""What the single-stage methods share: the network, the losses that need no more than it, and both products.

Ru et al., ToCo, CVPR 2023, https://arxiv.org/abs/2303.01267, https://github.com/rulixiang/ToCo; the network and its blocks are
in `nn/single_stage.py`. A method adds its own terms, weights and start steps.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from wsss_bench.losses.segmentation import balanced_cross_entropy
from wsss_bench.methods.base import Method
from wsss_bench.methods.optim import OptimConfig
from wsss_bench.methods.single_stage.network import CAMConfig, CAMs, DecoderConfig, SingleStageNetwork
from wsss_bench.methods.single_stage.patch_contrast import pair_labels, patch_token_contrast
from wsss_bench.methods.single_stage.pseudo_labels import above_minimum
from wsss_bench.methods.single_stage.vit import Tokens
from wsss_bench.types import ImageBatch


class SingleStageMethod(Method):
    """A ViT with two classifiers and a decoder that learns online from their CAMs.

    Args:
        class_names: Foreground classes `C`, in label order.
        optim: Optimiser; its learning rate is the encoder's.
        backbone: timm ViT name, or a recipe file.
        weights: `imagenet`, a checkpoint path, or None for random weights.
        aux_layer: Block that feeds the auxiliary classifier; -3 is the tenth of twelve.
        decoder: The decoder.
        head_lr_scale: Learning rate of everything else that is new over that of the encoder.
        cam: CAMs and pseudo labels.
    """

    batch_type = ImageBatch

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

    # What a method may add to.

    def class_maps(self, tokens: Tokens) -> tuple[Tensor, Tensor]:
        """Main and auxiliary class maps `(B, C, h, w)`, from which CAMs and seeds are made."""
        return self.network.class_maps(tokens)

    def own_heads(self) -> list[nn.Module]:
        """Modules beside the network that are trained, at the learning rate of the heads."""
        return []

    # What is the same for all.

    def cams(self, batch: ImageBatch, tokens: Tokens) -> CAMs:
        """Normalised multi-scale CAMs of the batch, without gradient."""
        return self.network.cams(self.class_maps, batch.image, tokens, self.cam)

    def shared_losses(
        self, batch: ImageBatch, tokens: Tokens, cams: CAMs, seg_start: int
    ) -> dict[str, Tensor]:
        """Scalars, not weighted: classification by both heads (`cls`, `aux`), patch token contrast by the auxiliary CAM
        (`ptc`), and the decoder on its online pseudo label (`seg`), which is 0 on the graph before step `seg_start`."""
        network = self.network
        main, auxiliary = network.class_logits(tokens)
        pairs = pair_labels(network.patch_labels(batch, cams.auxiliary, self.cam))
        target = network.pseudo_label(batch, cams, self.cam, self.global_step, seg_start)
        return {
            "cls": F.multilabel_soft_margin_loss(main, batch.labels),
            "aux": F.multilabel_soft_margin_loss(auxiliary, batch.labels),
            "ptc": patch_token_contrast(tokens.patches, pairs),
            "seg": balanced_cross_entropy(network.segment(tokens, batch.image.shape[-2:]), target),
        }

    def class_logits(self, image: Tensor) -> Tensor:
        return self.network.class_logits(self.network.encode(image))[0]  # (B, C)

    def seed_maps(
        self, image: Tensor, labels: Tensor | None = None, references: Sequence[Any] = ()
    ) -> Tensor:
        return above_minimum(self.class_maps(self.network.encode(image))[0].relu())  # (B, C, h, w)

    def segmentation_logits(self, image: Tensor) -> Tensor:
        return self.network.segment(self.network.encode(image))  # (B, 1 + C, h, w)

    def parameter_groups(self) -> list[dict[str, Any]]:
        return self.network.parameter_groups(self.head_lr_scale, *self.own_heads())
