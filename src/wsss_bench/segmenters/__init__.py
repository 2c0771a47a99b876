"""Segmentation networks trained on pseudo masks: the second stage of multi-stage WSSS.

In reading order:

- `base.py`: what all segmenters share: dilated ResNet, frozen BatchNorm, learning rates of DeepLab.
- `aspp.py`, `deeplabv2.py`: DeepLabV2 with ASPP and multi-scale inputs (MSC). Chen et al., "DeepLab: Semantic
  Image Segmentation with Deep Convolutional Nets, Atrous Convolution, and Fully Connected CRFs", TPAMI 2018,
  https://arxiv.org/abs/1606.00915.
- `largefov.py`: DeepLab-LargeFOV. Chen et al., "Semantic Image Segmentation with Deep Convolutional Nets and
  Fully Connected CRFs", ICLR 2015, https://arxiv.org/abs/1412.7062.
"""
