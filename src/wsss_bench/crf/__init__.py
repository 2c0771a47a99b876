"""Dense CRF post-processing.

Kraehenbuehl and Koltun, "Efficient Inference in Fully Connected CRFs with Gaussian Edge Potentials", NeurIPS
2011, https://arxiv.org/abs/1210.5644.

- `densecrf`: settings, mean field inference, and `CRFPool`, which writes the masks of many images.
- `pool`: `ImagePool`, the process pool that `CRFPool` and the refine stage run in.
"""
