"""Dense CRF post-processing.

Kraehenbuehl and Koltun, "Efficient Inference in Fully Connected CRFs with Gaussian Edge Potentials", NeurIPS
2011, https://arxiv.org/abs/1210.5644.

- `densecrf`: settings, and mean field inference.
- `readouts`: the masks with CRF of an image, from probabilities on disk.
- `pool`: `ImagePool`, the process pool of the crf and the refine stage.
"""
