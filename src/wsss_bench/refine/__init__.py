"""Refiners: seeds (score maps of one image) to a pseudo mask.

- `base`: the interface.
- `threshold`: background threshold and argmax, no refinement.
- `densecrf`: dense CRF (Kraehenbuehl and Koltun, NeurIPS 2011, https://arxiv.org/abs/1210.5644).
- `pamr`: pixel-adaptive mask refinement (Araslanov and Roth, CVPR 2020, https://arxiv.org/abs/2005.08104).
- `saliency`: the pseudo labels of MCIS (Sun et al., ECCV 2020, https://arxiv.org/abs/2007.01947) and OAA
  (Jiang et al., ICCV 2019, https://github.com/PengtaoJiang/OAA-PyTorch), from seeds and saliency maps.
- `walk`: IRN (Ahn et al., CVPR 2019, https://arxiv.org/abs/1904.05044) and PSA (Ahn and Kwak, CVPR 2018,
  https://arxiv.org/abs/1803.10464), which train an affinity network and propagate seeds by a random walk.
"""
