"""Losses that several methods share, against arrays of the authors' functions."""

from __future__ import annotations

import numpy as np
import paths
import pytest
import torch
from torch.nn import functional as F

from wsss_bench.losses.classification import multilabel_soft_margin
from wsss_bench.losses.pair_affinity import label_pairs, pair_affinity_loss, patch_labels
from wsss_bench.methods.clims.losses import (
    background_suppression,
    background_text_matching,
    clamp_similarity,
    object_text_matching,
)


def arrays(name: str) -> dict[str, torch.Tensor]:
    found = np.load(paths.GOLDEN / "single_stage" / f"{name}.npz")
    return {key: torch.tensor(found[key]) for key in found}


def test_classification_as_in_toco():
    golden = arrays("cls_loss_multilabel_soft_margin")
    torch.testing.assert_close(multilabel_soft_margin(golden["logits"], golden["labels"]), golden["loss"])


def test_affinity_as_in_afa():
    golden = arrays("afa_affinity")
    pairs = label_pairs(patch_labels(golden["label"].long(), (4, 4)))
    torch.testing.assert_close(pairs.long(), golden["aff_label"])
    torch.testing.assert_close(pair_affinity_loss(golden["aff_pred"], pairs), golden["aff_loss"])


@pytest.mark.parametrize(
    ("name", "loss"), [("sim_max", object_text_matching), ("sim_min", background_text_matching)]
)
def test_matching_as_in_clims(name, loss):
    """The mean of the weighted terms, and no gradient where a cosine is clamped."""
    golden = arrays("clims_sim_losses")
    cosines = golden["sim"].requires_grad_()
    found = (golden["weights"] * loss(clamp_similarity(cosines))).mean()
    torch.testing.assert_close(found, golden[f"{name}_loss"])
    found.backward()
    torch.testing.assert_close(cosines.grad, golden[f"{name}_grad"])


def test_suppression_as_in_clims():
    golden = arrays("clims_sim_losses")
    image, text = (F.normalize(golden[name], dim=1) for name in ("img_feat", "bg_text_feat"))
    cosines = image @ text.T
    for name, threshold in (("voc", golden["thre_voc"].item()), ("thr0285", 0.285)):
        expected = golden[f"bg_suppression_loss_{name}"]
        torch.testing.assert_close(background_suppression(cosines, threshold), expected)
