"""CLIMS: class activation maps trained with a frozen CLIP.

Xie et al., "CLIMS: Cross Language Image Matching for Weakly Supervised Semantic Segmentation", CVPR 2022,
https://arxiv.org/abs/2203.02668; code https://github.com/CVI-SZU/CLIMS.

In reading order:

- `prompts.py`, `prompts.yaml`: the text prompts of the classes and of the co-occurring background.
- `frozen_clip.py`: a faster image tower of CLIP for fixed weights.
- `text_matcher.py`: object and background regions of an image, and their CLIP similarities to the prompts.
- `losses.py`: the terms OTM, BTM, CBS and REG.
- `improved.py`: the method `CLIMS`, the authors' improved version.
- `camera_ready.py`: the method `CLIMSCameraReady`, the version of the paper's tables.
"""
