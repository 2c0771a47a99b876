"""WeCLIP: a decoder on a frozen CLIP, trained on pseudo labels that the same CLIP makes at each step.

Zhang et al., "Frozen CLIP: A Strong Backbone for Weakly Supervised Semantic Segmentation", CVPR 2024,
https://arxiv.org/abs/2406.11189, https://github.com/zbf1991/WeCLIP.

- `weclip.py`: the method: one pass through CLIP, losses, seeds and segmentation.
- `refinement.py`: the refinement module (RFM): CLIP's attention, corrected by the decoder.
- `pseudo_labels.py`: class maps -> pixel labels.

Shared with others: `nn/fusion_decoder.py`, `nn/grad_cam.py`, `nn/attention_affinity.py`, `nn/par.py`,
`losses/pair_affinity.py`.
"""
