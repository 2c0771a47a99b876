r"""Class token contrast: crops that may show an object agree with the whole image, crops of background do not.

Ru et al., ToCo, CVPR 2023, https://arxiv.org/abs/2303.01267, equation 5, as its code has it (`CTCLoss_neg`,
https://github.com/rulixiang/ToCo): for each teacher view and each positive student view j,
:math:`-\log \frac{e^{s_j / \tau}}{e^{s_j / \tau} + \sum_- e^{s / \tau} + 10^{-4}}`, the mean over positives.

The code adds one more term of similarity 0 to the sum over positives (an `else` that belongs to a loop), without counting it
in the mean; it is kept, because the published figures come from it.

Departure: sums of exponentials are taken in logarithms. Similarities grow with the number of directions of the head, and the
code's own exponentials overflow above 88.
"""

from __future__ import annotations

import torch
from torch import Tensor

EPSILON = 1e-4


def class_token_contrast(student: Tensor, teacher: Tensor, positive: Tensor, temperature: float) -> Tensor:
    """The loss, the mean over images and teacher views.

    Args:
        student: `(B, S, D)` projected class tokens of all views.
        teacher: `(B, T, D)` those of the global views, without gradient.
        positive: `(B, S)` bool.
        temperature: 0.5 for VOC, 1.0 for COCO.

    Returns:
        Scalar.
    """
    logits = teacher.detach().float() @ student.float().transpose(1, 2) / temperature  # (B, T, S)
    similarity = torch.cat([logits, torch.zeros_like(logits[..., :1])], dim=2)  # and the term of similarity 0
    counted = torch.cat([positive, torch.ones_like(positive[:, :1])], dim=1)[:, None]  # (B, 1, S + 1)
    apart = logits.masked_fill(positive[:, None], -torch.inf)
    negatives = torch.logaddexp(apart.logsumexp(dim=2, keepdim=True), logits.new_tensor(EPSILON).log())
    term = torch.logaddexp(similarity, negatives) - similarity
    return ((term * counted).sum(dim=2) / (positive.sum(dim=1, keepdim=True) + EPSILON)).mean()
