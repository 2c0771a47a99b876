"""The score of a class that has several names: the best of them.

As in SCLIP, ClearCLIP and NACLIP, which take the maximum of the softmax over all names. A softmax changes no
order, so that the maximum may as well be taken of logits; a softmax over the classes then gives the same
scores, divided by their sum over the classes.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def class_of_names(names: Sequence[Sequence[str]]) -> Tensor:
    """Number of the class of each name, `(M,)` int64, for the names of each class one after the other."""
    return torch.tensor([number for number, own in enumerate(names) for _ in own], dtype=torch.int64)


def best_of_class(scores: Tensor, class_of_name: Tensor, num_classes: int) -> Tensor:
    """Scores of names -> scores of classes.

    Args:
        scores: `(B, M, h, w)`, one map per name.
        class_of_name: `(M,)` int64 in [0, K).
        num_classes: `K`.

    Returns:
        `(B, K, h, w)`: the maximum over the names of each class; -inf for a class without names.
    """
    classes = scores.new_full((len(scores), num_classes, *scores.shape[2:]), -torch.inf)
    return classes.scatter_reduce(1, class_of_name[None, :, None, None].expand_as(scores), scores, "amax")
