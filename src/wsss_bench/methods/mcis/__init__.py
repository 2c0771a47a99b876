"""MCIS: image classification with co-attention between images that share a class.

Sun, Wang, Dai and Van Gool, "Mining Cross-Image Semantics for Weakly Supervised Semantic Segmentation", ECCV
2020, https://arxiv.org/abs/2007.01947; code https://github.com/GuoleiSun/MCIS_wsss.

In reading order:

- `vgg.py`, `features.py`: the encoders, and the feature maps that co-attention compares.
- `coattention.py`: co-attention and contrastive co-attention between two feature maps.
- `losses.py`: common and unshared labels of a pair, and the losses.
- `localization.py`: fusion of the class maps of one image into its seeds.
- `mcis.py`: the method `MCIS`.
- `group_coattention.py`, `group.py`: the method `MCISGroup`, an unpublished variant for groups of three
  images.
"""
