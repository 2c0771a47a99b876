"""The object-aware mask of DALNet."""

import torch

from wsss_bench.methods.single_stage.object_mask import object_mask

CAM = torch.tensor([[[[0.9, 0.8], [0.1, 0.5]], [[0.2, 0.1], [0.2, 0.65]]]])  # (1, 2, 2, 2)
BOTH = torch.ones(1, 2)
EVERYWHERE = torch.ones(1, 2, 2, dtype=torch.bool)


def masks(labels=BOTH, valid=EVERYWHERE, **options):
    mask = object_mask(CAM, labels, valid, 0.25, 0.7, **options)
    return mask.objects[0].int().tolist(), mask.background[0].int().tolist()


def test_uncertain_patches_are_neither_object_nor_background():
    assert masks(min_patches=0) == ([[1, 1, 0, 0], [0, 0, 0, 0]], [0, 0, 1, 0])


def test_a_class_without_a_patch_gets_its_best_one():
    assert masks() == ([[1, 1, 0, 0], [0, 0, 0, 1]], [0, 0, 1, 0])


def test_the_best_patch_lies_inside_the_image():
    valid = torch.tensor([[[True, True], [True, False]]])
    assert masks(valid=valid) == ([[1, 1, 0, 0], [1, 0, 0, 0]], [0, 0, 1, 0])


def test_absent_classes_have_no_patches():
    assert masks(labels=torch.tensor([[0.0, 1.0]])) == ([[0, 0, 0, 0], [0, 0, 0, 1]], [1, 1, 1, 0])


def test_class_agnostic_masks_give_every_class_all_objects():
    assert masks(class_agnostic=True) == ([[1, 1, 0, 1], [1, 1, 0, 1]], [0, 0, 1, 0])


def test_padding_is_neither_object_nor_background():
    valid = torch.tensor([[[True, True], [False, False]]])
    objects, background = masks(valid=valid, min_patches=0)
    assert objects == [[1, 1, 0, 0], [0, 0, 0, 0]]
    assert background == [0, 0, 0, 0]
    nothing = torch.zeros_like(EVERYWHERE)
    assert masks(valid=nothing) == ([[0] * 4, [0] * 4], [0] * 4)
