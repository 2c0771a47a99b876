"""From class maps to pseudo labels against the authors' code."""

import golden_excel
import pytest
import torch
from golden_excel import TOLERANCE
from torch.testing import assert_close

from wsss_bench.nn.attention_affinity import spread_along, transition
from wsss_bench.nn.attention_refinement import refined_attention
from wsss_bench.nn.component_boxes import box_masks
from wsss_bench.nn.online_labels import pseudo_labels
from wsss_bench.nn.par import PAR

ARRAYS = golden_excel.tensors("pseudo_label")
MAPS = ARRAYS["maps"].T.unflatten(1, (6, 7))[None]
ATTENTION = ARRAYS["attention"][-6:, None, 1:, 1:]
AFFINITY = ARRAYS["decoder_affinity"][None]
IMAGE = ARRAYS["image_u8"][None] / 255
LABELS = torch.tensor([[0.0, 1, 0, 0, 1]])
VALID = torch.ones(1, 96, 112, dtype=torch.bool)
CHOSEN = {"static": ATTENTION.mean(dim=0), "dynamic": refined_attention(ATTENTION, AFFINITY)}


def test_the_transition_is_the_published_one():
    step = transition(CHOSEN["static"])
    assert_close(step[0] @ step[0], ARRAYS["transition_from_mean"], **TOLERANCE)
    assert_close(step, step.mT)


@pytest.mark.parametrize("threshold", [75, 79, 88])
@pytest.mark.parametrize("number", [1, 4, 2])
def test_boxes_are_the_published_ones(threshold, number):
    expected = torch.zeros(6, 7, dtype=torch.bool)
    for left, top, right, bottom in ARRAYS[f"boxes_{threshold}_class{number}"].tolist():
        expected[top:bottom, left:right] = True
    assert torch.equal(box_masks(MAPS, threshold / 100)[0, number], expected)


@pytest.mark.parametrize("phase", ["static", "dynamic"])
def test_refined_maps_and_labels_are_the_published_ones(phase):
    assert ARRAYS["label"].tolist() == [0, 1, 0, 0, 1]
    refined = spread_along(CHOSEN[phase], MAPS, 0.79)
    columns = spread_along(CHOSEN[phase], MAPS[:, [1, 4]], 0.79)
    assert_close(refined[:, [1, 4]], columns)
    spread_only = ARRAYS[f"refined_{phase}"]
    low, high = (getattr(spread_only, kind)(dim=(1, 2), keepdim=True) for kind in ("amin", "amax"))
    assert_close(refined[0, [1, 4]], (spread_only - low) / (high - low), rtol=1e-4, atol=1e-4)
    label = pseudo_labels(IMAGE, refined, LABELS, VALID, PAR(20))[0]
    assert (label != ARRAYS[f"label_{phase}"]).float().mean() <= 0.002


def test_blocks_are_chosen_as_published():
    kept = ARRAYS["layers_kept"]
    assert 0 < kept.sum() < 6
    expected = ATTENTION[kept].sum(dim=0) / (kept.sum() + 1e-5) * AFFINITY
    assert_close(CHOSEN["dynamic"], expected, **TOLERANCE)


def test_without_par_a_pixel_is_a_class_above_one_half():
    refined = spread_along(CHOSEN["static"], MAPS, 0.79)
    label = pseudo_labels(IMAGE, refined, LABELS, VALID, None)[0]
    assert (label != ARRAYS["label_without_par"]).float().mean() <= 0.002
    drawn = torch.nn.functional.interpolate(refined, (96, 112), mode="bilinear")[0, [1, 4]]
    assert torch.equal(label > 0, drawn.amax(dim=0) > 0.5)
    # every second pixel is stored
    scores = torch.cat([1 - drawn.amax(dim=0, keepdim=True), drawn])[:, ::2, ::2]
    assert_close(scores, ARRAYS["soft_maps_static"], rtol=1e-4, atol=1e-4)


def test_images_with_other_numbers_of_labels_keep_their_own_classes():
    maps = spread_along(CHOSEN["static"], MAPS, 0.79)
    labels = torch.cat([LABELS, torch.zeros(1, 5), torch.tensor([[0.0, 0, 0, 1, 0]])])
    valid = VALID.repeat(3, 1, 1)
    valid[2, :10] = False
    label = pseudo_labels(IMAGE.repeat(3, 1, 1, 1), maps.repeat(3, 1, 1, 1), labels, valid, PAR(3))
    assert torch.equal(label[0], pseudo_labels(IMAGE, maps, LABELS, VALID, PAR(3))[0])
    assert not label[1].any()
    assert set(label[2].unique().tolist()) <= {0, 4, 255}
    assert (label[2, :10] == 255).all()


def test_a_batch_without_any_label_is_background():
    maps = spread_along(CHOSEN["static"], MAPS, 0.79)
    assert not pseudo_labels(IMAGE, maps, torch.zeros(1, 5), VALID, PAR(1)).any()


def test_maps_of_zeros_stay_zero():
    refined = spread_along(CHOSEN["static"], torch.zeros(1, 2, 6, 7), 0.79)
    assert not refined.any()
