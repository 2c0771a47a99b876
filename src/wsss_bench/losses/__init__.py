"""Losses that several methods and segmenters share, and the sums over data-parallel ranks that they need.

- `segmentation.py`: cross-entropy on masks, plain and balanced.
- `ranks.py`: means and sums over the items of all ranks.
- `gather.py`: rows of all ranks, with gradient.
"""
