"""ExCEL: calibrated attention and enriched texts of a frozen CLIP, without and with training.

Yang et al., "Exploring CLIP's Dense Knowledge for Weakly Supervised Semantic Segmentation", CVPR 2025,
https://arxiv.org/abs/2503.20826, https://github.com/zwyang6/ExCEL.

The files, in the order in which an image passes through them:

1. `training_free.py`: `ExCELStatic`, seeds without training; `excel.py`: `ExCEL`, with adapter and decoder.
2. `calibrated_clip.py`: one pass of CLIP's image tower: calibrated tokens, tokens of all blocks, attention.
3. `text_enrichment.py`: class embeddings, enriched by the sentences that `attributes.py` reads.
4. `class_maps.py`: calibrated tokens and texts -> class maps.
5. `feature_affinity.py`: features of the adapter -> affinity, and the bias of learnable calibration.

Shared with WeCLIP: adapter and decoder (`nn/fusion_decoder.py`), the attention that maps are spread along
(`nn/attention_affinity.py`, `nn/attention_refinement.py`), and labels of the pixels (`nn/online_labels.py`).
"""
