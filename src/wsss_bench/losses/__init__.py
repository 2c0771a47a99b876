"""Losses that several methods and segmenters share, and the sums over data-parallel ranks that they need.

- `classification.py`: multi-label classification.
- `segmentation.py`: cross-entropy on masks, plain and balanced.
- `pair_affinity.py`: agreement of pairs of patches with their labels.
- `precision.py`: losses in float32 in every precision of a network.
- `ranks.py`: means and sums over the items of all ranks.
- `gather.py`: rows of all ranks, with gradient.
"""
