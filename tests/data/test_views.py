from collections import Counter

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from wsss_bench.artifacts import write_mask
from wsss_bench.data.datamodule import GlobalBatchSampler
from wsss_bench.data.sources.coco import COCO
from wsss_bench.data.sources.folder import Folder
from wsss_bench.data.sources.voc import VOC
from wsss_bench.data.transforms import Transform, TransformConfig
from wsss_bench.data.views import CaptionView, ImageView, InferenceView, MaskView, PairView
from wsss_bench.types import CaptionBatch, ImageBatch, MaskBatch, PairBatch

TRANSFORM = Transform(TransformConfig("irn", 32, (30, 50)))


class Maskless(VOC):
    """A source whose masks must not be looked at."""

    def mask(self, image_id):
        raise AssertionError(f"the mask of {image_id} was read")

    def captions(self, image_id):
        return tuple(f"{image_id}, sentence {n}" for n in range(4))


@pytest.fixture
def maskless(voc_root):
    return Maskless(voc_root, vocabulary="mini")


@pytest.mark.parametrize("view", [ImageView, PairView, CaptionView])
def test_weak_views_never_touch_a_mask(view, maskless):
    dataset = view(maskless, maskless.ids("train"), TRANSFORM, 0)
    assert len([dataset[(0, index)] for index in range(len(dataset))]) == 10


@pytest.mark.parametrize("labelled", [True, False])
def test_inference_never_touches_a_mask(labelled, maskless):
    dataset = InferenceView(maskless, maskless.ids("train"), labelled)
    assert len([dataset[(0, index)] for index in range(len(dataset))]) == 10


def test_only_the_mask_view_reads_masks(maskless):
    with pytest.raises(AssertionError, match="the mask of train_0 was read"):
        MaskView(maskless, maskless.ids("train"), TRANSFORM, 0)[(0, 0)]


def test_image_batch(maskless):
    dataset = ImageView(maskless, maskless.ids("train"), TRANSFORM, 0)
    batch = dataset.collate([dataset[(0, 3)], dataset[(0, 1)]])
    assert isinstance(batch, ImageBatch)
    assert batch.image_id == ["train_3", "train_1"]
    assert batch.image.shape == (2, 3, 32, 32)
    assert batch.image.dtype == torch.float32
    assert batch.image.min() >= 0
    assert batch.image.max() <= 1
    assert batch.labels.tolist() == [[0, 0, 0, 1, 1, 0, 0, 0], [0, 1, 0, 0, 0, 0, 0, 0]]
    assert batch.valid.shape == (2, 32, 32)
    assert batch.valid.dtype == torch.bool


def test_image_without_labels_is_an_all_zero_row_and_warned_of(folder_root):
    source = Folder(folder_root)
    with pytest.warns(UserWarning, match="1 of 3 images have no label \\(first 'plain'\\)"):
        dataset = ImageView(source, source.ids("train"), TRANSFORM, 0)
    assert dataset[(0, 2)][2].tolist() == [0, 0]
    with pytest.raises(ValueError, match=r"1 of 3 images have no label.*cannot be paired"):
        PairView(source, source.ids("train"), TRANSFORM, 0)


def test_pairs_share_a_class_and_change_with_the_epoch(maskless):
    dataset = PairView(maskless, maskless.ids("train"), TRANSFORM, 0)
    batch = dataset.collate([dataset[(0, index)] for index in range(10)])
    assert isinstance(batch, PairBatch)
    assert (batch.first.labels * batch.second.labels).sum(dim=1).min() >= 1
    assert all(a != b for a, b in zip(batch.first.image_id, batch.second.image_id, strict=True))
    first, second = ([dataset.partner((epoch, index)) for index in range(10)] for epoch in (0, 1))
    assert first != second
    assert first == [dataset.partner((0, index)) for index in range(10)]


def test_partners_are_drawn_evenly_from_the_images_that_share_a_class(maskless):
    dataset = PairView(maskless, maskless.ids("train"), TRANSFORM, 0)
    # image 0 has the classes 0 and 4; 4 and 8 have class 0, and 3, 6 and 9 have class 4
    drawn = Counter(dataset.partner((epoch, 0)) for epoch in range(1000))
    assert set(drawn) == {3, 4, 6, 8, 9}
    assert min(drawn.values()) > 150


def test_a_class_with_one_image_is_paired_with_itself_in_another_crop(folder_root):
    (folder_root / "labels.csv").write_text("image,classes\ngrey.png,cat\nplain.jpg,dog\n")
    source = Folder(folder_root)
    first, second = PairView(source, source.ids("train"), TRANSFORM, 0)[(0, 1)]
    assert first[0] == second[0] == "plain"
    assert not torch.equal(first[1], second[1])


def test_caption_batch_draws_one_sentence_anew_each_epoch(coco_root, maskless):
    dataset = CaptionView(maskless, maskless.ids("train"), TRANSFORM, 0)
    batch = dataset.collate([dataset[(0, index)] for index in range(3)])
    assert isinstance(batch, CaptionBatch)
    assert [text.split(",")[0] for text in batch.caption] == batch.image_id
    assert {dataset[(epoch, 0)][2][-1] for epoch in range(30)} == set("0123")
    source = COCO(coco_root, vocabulary="mini")
    assert CaptionView(source, source.ids("val"), TRANSFORM, 0)[(0, 0)][2].endswith("of 4")


def test_mask_batch_of_true_masks(voc_root):
    source = VOC(voc_root, vocabulary="mini")
    dataset = MaskView(source, source.ids("train"), TRANSFORM, 0)
    batch = dataset.collate([dataset[(0, 0)], dataset[(0, 1)]])
    assert isinstance(batch, MaskBatch)
    assert batch.mask.dtype == torch.int64
    assert set(batch.mask[0].unique().tolist()) <= {0, 1, 5, 255}
    red = batch.image[0, 0] - batch.image[0, 1:].amax(dim=0) > 0.5  # the object of class 0
    assert red.sum() > 20
    assert set(batch.mask[0][red].tolist()) <= {1, 255}
    assert (batch.mask[~batch.valid] == 255).all()


def test_pseudo_masks_replace_the_true_ones(maskless, tmp_path):
    for image_id in maskless.ids("train"):
        height, width = maskless.image(image_id).shape[:2]
        write_mask(tmp_path / "pseudo", image_id, np.full((height, width), 7, np.uint8))
    dataset = MaskView(maskless, maskless.ids("train"), TRANSFORM, 0, tmp_path / "pseudo")
    assert set(dataset[(0, 0)][2].unique().tolist()) <= {7, 255}
    write_mask(tmp_path / "pseudo", "train_0", np.full((56, 40), 9, np.uint8))
    with pytest.raises(
        ValueError, match=r"train_0\.png is \(56, 40\) with unknown values \[9\]; expected \(40, 56\)"
    ):
        dataset[(0, 0)]
    (tmp_path / "pseudo" / "train_4.png").unlink()
    with pytest.raises(FileNotFoundError, match=r"lacks 1 of 10 pseudo masks, first train_4\.png"):
        MaskView(maskless, maskless.ids("train"), TRANSFORM, 0, tmp_path / "pseudo")


def test_inference_samples_have_their_own_size_and_no_labels_unless_asked(maskless):
    hidden = InferenceView(maskless, maskless.ids("train"), labelled=False)[(0, 1)]
    assert (hidden.image_id, hidden.image.shape, hidden.image.dtype) == ("train_1", (48, 36, 3), np.uint8)
    assert hidden.labels is None
    assert hidden.references == ()
    given = InferenceView(maskless, maskless.ids("train"), labelled=True)[(0, 1)]
    assert given.labels.tolist() == [0, 1, 0, 0, 0, 0, 0, 0]


def test_worker_processes_change_nothing_and_never_go_stale(maskless):
    dataset = PairView(maskless, maskless.ids("train"), TRANSFORM, 5)
    sampler = GlobalBatchSampler(10, 5, 0, 1, drop_last=True, seed=5)
    loader = DataLoader(
        dataset, 5, sampler=sampler, collate_fn=dataset.collate, num_workers=2, persistent_workers=True
    )
    for epoch in (0, 1):
        sampler.set_epoch(epoch)
        expected = [dataset[key] for key in sampler]
        batches = list(loader)
        assert [i for batch in batches for i in batch.first.image_id] == [item[0][0] for item in expected]
        images = torch.cat([batch.second.image for batch in batches])
        assert torch.equal(images, torch.stack([item[1][1] for item in expected]))
