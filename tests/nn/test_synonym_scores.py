"""Scores of names -> scores of classes, against the read-out of SCLIP."""

import math

import paths
import torch
from golden_clip import tensors
from torch.testing import assert_close

from wsss_bench.nn.synonyms import best_of_class, class_of_names
from wsss_bench.published_probabilities import without_small_classes

SCALE = 40


def post():
    return tensors("dense_attention", paths.GOLDEN / "dense_clip")


def test_class_scores_are_those_of_sclip():
    golden = post()
    scores = best_of_class(
        (SCALE * golden["post_logits"])[None].softmax(dim=1), golden["post_class_of_name"], 3
    )
    assert_close(scores[0], golden["post_scores"], rtol=0, atol=1e-5)


def test_the_maximum_of_logits_gives_the_same_scores_divided_by_their_sum():
    golden = post()
    classes = best_of_class(SCALE * golden["post_logits"][None], golden["post_class_of_name"], 3)
    expected = golden["post_scores"] / golden["post_scores"].sum(dim=0)
    assert_close(classes.softmax(dim=1)[0], expected, rtol=0, atol=1e-5)


def test_small_classes_and_improbable_pixels_are_those_of_sclip():
    golden = post()
    scores = golden["post_scores"]

    def with_threshold(scores, threshold):
        return scores.argmax(dim=0).where(scores.amax(dim=0) >= threshold, 0)

    assert torch.equal(with_threshold(scores, 0.3), golden["post_pred_thr0.3"][0])
    kept = without_small_classes(scores, 0.45)
    assert torch.equal(with_threshold(kept, 0.1), golden["post_pred_area0.45_thr0.1"][0])
    # as a logit of the background, the threshold decides each pixel alike
    logits = SCALE * golden["post_logits"][None]
    classes = best_of_class(logits, golden["post_class_of_name"], 3)
    classes[:, 0] = torch.maximum(classes[:, 0], logits.logsumexp(dim=1) + math.log(0.3))
    assert torch.equal(classes.argmax(dim=1)[0], golden["post_pred_thr0.3"][0])


def test_a_class_without_names_never_wins_and_no_image_is_no_error():
    names = class_of_names([[], ["a", "b"], ["c"]])
    assert names.tolist() == [1, 1, 2]
    best = best_of_class(torch.rand(2, 3, 4, 5), names, 3)
    assert best.shape == (2, 3, 4, 5)
    assert torch.isneginf(best[:, 0]).all()
    assert best_of_class(torch.rand(0, 3, 4, 5), names, 3).shape == (0, 3, 4, 5)
