"""Features for co-attention: a timm encoder followed by three convolutions.

The affinity of co-attention is an unscaled dot product, so the number of channels and the sign of the
features determine the temperature of its softmax. MCIS appends three 3x3 convolutions with ReLU, its "extra
convolutions", to VGG-16. Here they follow every encoder, so that features of a ResNet or a ViT have the same
width and sign as those of the published VGG-16.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

from torch import Tensor, nn

from wsss_bench.methods.mcis.vgg import VGGStride8
from wsss_bench.nn.normalize import ImageNetNormalize
from wsss_bench.nn.resnet import ResNetStages
from wsss_bench.nn.timm_models import create_timm, family_of


class PairFeatures(nn.Module):
    """Encoder, and an adapter of three convolutions.

    Args:
        backbone: timm name, or recipe file, of a VGG (stride 8), a ResNet (BatchNorm with running statistics)
            or a ViT.
        weights: `imagenet`, a checkpoint path, or None.
        width: Number of output channels C.
        output_stride: For a ResNet: stride of the features.
        dilated: For a ResNet: replace removed strides by dilation. Without dilation the receptive field is
            smaller.
        frozen_stages: For a ResNet: number of stages without gradient; 1 freezes the stem.
    """

    def __init__(
        self,
        backbone: str = "vgg16.tv_in1k",
        weights: str | None = "imagenet",
        width: int = 512,
        output_stride: int = 16,
        dilated: bool = True,
        frozen_stages: int = 0,
    ) -> None:
        super().__init__()
        self.normalize = ImageNetNormalize()
        family = family_of(backbone)
        if family not in _ENCODERS:
            raise ValueError(
                f"{backbone!r} is of timm's family {family!r}; MCIS supports the encoders "
                f"{', '.join(_ENCODERS)}: choose e.g. vgg16.tv_in1k, resnet50.tv_in1k or "
                "vit_small_patch16_224"
            )
        if frozen_stages and family != "resnet":
            raise ValueError(f"frozen_stages is for a ResNet only, and {backbone!r} is not one; set it to 0")
        self.encoder = _ENCODERS[family](backbone, weights, output_stride, dilated, frozen_stages)
        channels: list[int] = [self.encoder.channels, width, width, width]
        convolutions = [
            layer
            for before, after in pairwise(channels)
            for layer in (nn.Conv2d(before, after, 3, padding=1), nn.ReLU())
        ]
        self.adapter = nn.Sequential(*convolutions)
        self.adapter.apply(he_fan_out)

    def forward(self, image: Tensor) -> Tensor:
        """`(B, 3, H, W)` in [0, 1] -> F `(B, width, h, w)` >= 0."""
        return self.adapter(self.encoder(self.normalize(image)))


def he_fan_out(module: nn.Module) -> None:
    """Initialise a convolution as VGG does: normal with variance 2 / (k * k * output channels), bias 0."""
    if isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        if module.bias is not None:
            nn.init.zeros_(module.bias)


class _ResNet(nn.Module):
    """`(B, 3, H, W)`, normalised -> `(B, channels, h, w)` features of the last stage of a ResNet."""

    def __init__(
        self, backbone: str, weights: str | None, output_stride: int, dilated: bool, frozen_stages: int
    ) -> None:
        super().__init__()
        # running statistics: batches are small, and batch statistics would mix the two images of a pair
        self.stages = ResNetStages(
            backbone, weights, output_stride, frozen_stages, freeze_bn=True, dilated=dilated
        )
        self.channels: int = self.stages.channels

    def forward(self, image: Tensor) -> Tensor:
        return self.stages(image)[-1]


class _ViT(nn.Module):
    """`(B, 3, H, W)`, normalised -> `(B, channels, H // patch, W // patch)` patch tokens of a ViT."""

    def __init__(self, backbone: str, weights: str | None, *_: object) -> None:
        super().__init__()
        net: Any = create_timm(backbone, weights, dynamic_img_size=True)
        if isinstance(net.norm, nn.Identity):
            raise ValueError(
                f"{backbone!r} normalises only the pooled token; choose a ViT that normalises every token, "
                "e.g. vit_small_patch16_224 or deit_small_patch16_224"
            )
        self.net = net
        self.channels: int = net.embed_dim
        self.patch_size: int = net.patch_embed.patch_size[0]
        self.prefix: int = net.num_prefix_tokens

    def forward(self, image: Tensor) -> Tensor:
        patch = self.patch_size
        height, width = image.shape[-2:]
        if height % patch or width % patch:
            raise ValueError(
                f"an image of {height}x{width} pixels cannot be divided into patches of {patch}; "
                "set data.transform.crop_size, its products with self_scales, and model.init_args.side to "
                "multiples of the patch size"
            )
        tokens = self.net.forward_features(image)[:, self.prefix :]  # after the final LayerNorm
        return tokens.transpose(1, 2).unflatten(2, (height // patch, width // patch))


_ENCODERS: dict[str, Callable[..., Any]] = {
    "vgg": lambda backbone, weights, *_: VGGStride8(backbone, weights),
    "resnet": _ResNet,
    "vision_transformer": _ViT,
    "deit": _ViT,
}
