"""Weights & Biases: a run for each stage, for each cell of an experiment, and for its leaderboard.

The table never reads from here: its numbers come from `metrics.json`. A failure of W&B costs its run and
nothing else (`docs/tracking.md`).
"""
