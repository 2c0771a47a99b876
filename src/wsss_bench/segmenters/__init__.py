"""Segmentation networks trained on pseudo masks: the second stage of multi-stage WSSS.

In reading order:

- `base.py`: what all segmenters share: dilated ResNet, frozen BatchNorm, learning rates of DeepLab.
- `aspp.py`, `deeplabv2.py`: DeepLabV2 with ASPP and multi-scale inputs (MSC). Chen et al., "DeepLab: Semantic
  Image Segmentation with Deep Convolutional Nets, Atrous Convolution, and Fully Connected CRFs", TPAMI 2018,
  https://arxiv.org/abs/1606.00915.
- `largefov.py`: DeepLab-LargeFOV. Chen et al., "Semantic Image Segmentation with Deep Convolutional Nets and
  Fully Connected CRFs", ICLR 2015, https://arxiv.org/abs/1412.7062.

`from wsss_bench.segmenters import DeepLabV2` imports one; this package alone imports none of them.
"""

from typing import TYPE_CHECKING

from wsss_bench.short_names import lazy_classes

if TYPE_CHECKING:
    from wsss_bench.segmenters.base import Segmenter as Segmenter
    from wsss_bench.segmenters.deeplabv2 import DeepLabV2 as DeepLabV2
    from wsss_bench.segmenters.largefov import DeepLabLargeFOV as DeepLabLargeFOV

__getattr__, __dir__, __all__ = lazy_classes(__name__)
