"""IRN and PSA: refiners that train a network to predict pixel affinities, then propagate seeds by a random
walk.

IRN: Ahn, Cho and Kwak, "Weakly Supervised Learning of Instance Segmentation with Inter-pixel Relations", CVPR
2019, https://arxiv.org/abs/1904.05044.
PSA: Ahn and Kwak, "Learning Pixel-level Semantic Affinity with Image-level Supervision for Weakly Supervised
Semantic Segmentation", CVPR 2018, https://arxiv.org/abs/1803.10464.

Both have three steps, which are three stages of the bench:

1. Masks of confident pixels, made of the seeds with a CRF: `affinity_labels`.
2. Training of the affinity network on these masks: `irnet` with its output branches `irnet_branches` (class
   boundary map, displacement field), or `affinitynet`. Shared: `affinity_pairs` (pairs of pixels and their
   affinities) and `losses`.
3. Random walk of the seeds, with the affinities as transition probabilities: `irn` or `psa`, on
`random_walk`.
   `trained_network` loads the network of step 2.
"""
