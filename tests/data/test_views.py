import numpy as np
import paths
import pytest
import torch
from torch.utils.data import DataLoader

from wsss_bench.artifacts.files import write_mask
from wsss_bench.data.inference_view import InferenceView
from wsss_bench.data.references import ReferenceImages
from wsss_bench.data.samplers import GlobalBatchSampler
from wsss_bench.data.sources.base import Source
from wsss_bench.data.sources.coco import COCO
from wsss_bench.data.sources.folder import Folder
from wsss_bench.data.sources.voc import VOC
from wsss_bench.data.transforms import Transform, TransformConfig
from wsss_bench.data.views import CaptionView, GroupView, ImageView, MaskView, PairView
from wsss_bench.types import CaptionBatch, GroupBatch, ImageBatch, MaskBatch, PairBatch

GOLDEN = paths.GOLDEN / "mcis"
TRANSFORM = Transform(TransformConfig("irn", 32, (30, 50)))


class Maskless(VOC):
    """A source that fails when a mask is read."""

    def mask(self, image_id):
        raise AssertionError(f"the mask of {image_id} was read")

    def captions(self, image_id):
        return tuple(f"{image_id}, sentence {n}" for n in range(4))


@pytest.fixture
def maskless(voc_root):
    return Maskless(voc_root, vocabulary="mini")


@pytest.mark.parametrize("view", [ImageView, PairView, GroupView, CaptionView])
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
    assert batch.label_counts == batch.labels.sum(dim=1).tolist()
    assert batch.image_ids == ["train_3", "train_1"]
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
    assert batch.self_views == {}
    first, second = ([dataset.partner((epoch, index)) for index in range(10)] for epoch in (0, 1))
    assert first != second
    assert first == [dataset.partner((0, index)) for index in range(10)]


class Labels(Source):
    """Labels alone."""

    def __init__(self, labels):
        self.class_names = tuple(f"c{k}" for k in range(labels.shape[1]))
        self._labels = labels

    def ids(self, split):
        return [str(k) for k in range(len(self._labels))]

    def labels(self, image_id):
        return self._labels[int(image_id)]

    def image(self, image_id):
        raise AssertionError("no image is looked at")

    mask = image


@pytest.mark.slow
def test_partners_follow_the_distribution_of_mcis():
    """P(j | i) is the mean over the classes c of i of [j has c] / N_c, as in the authors' draws."""
    with np.load(GOLDEN / "pair_sampling.npz", allow_pickle=False) as file:
        labels, recorded = file["labels"], file["pair_counts_4000_passes"]
    share = labels / labels.sum(axis=0).clip(1)  # (N, C) [j has c] / N_c
    probability = labels @ share.T / labels.sum(axis=1, keepdims=True)
    source = Labels(labels)
    view = PairView(source, source.ids("train"), TRANSFORM, 0)
    drawn = np.zeros_like(recorded)
    for epoch in range(1000):
        for index in range(len(labels)):
            drawn[index, view.partner((epoch, index))] += 1
    for counts, passes in ((recorded, 4000), (drawn, 1000)):
        assert not counts[probability == 0].any()
        expected = passes * probability
        chi_square = ((counts - expected)[probability > 0] ** 2 / expected[probability > 0]).sum()
        freedom = (probability > 0).sum() - len(probability)
        assert chi_square < freedom + 4 * (2 * freedom) ** 0.5
    uniform = np.where(probability > 0, 1 / (probability > 0).sum(axis=1, keepdims=True), 0)
    assert (
        (drawn - 1000 * uniform)[probability > 0] ** 2 / (1000 * uniform)[probability > 0]
    ).sum() > 10 * freedom


def test_partners_and_anchors_may_be_different_images():
    labels = np.eye(3, dtype=np.float32)[[0, 0, 1, 2]]
    labels[0, 1] = 1  # classes 0 and 1
    source = Labels(labels)
    view = PairView(source, ["0", "3"], TRANSFORM, 0, partners=["1"])
    # class 1 has no partner and is passed over; image 3 has no partner at all
    assert {view.partner((epoch, 0)) for epoch in range(20)} == {0}
    assert view.partner((0, 1)) is None


def test_self_views_are_of_the_picture_without_jitter(maskless):
    config = TransformConfig("square", 16, color_jitter=(0.3, 0.3, 0.3, 0.1), self_scales=(0.75, 2.0))
    dataset = PairView(maskless, maskless.ids("train"), Transform(config), 0)
    batch = dataset.collate([dataset[(0, 0)], dataset[(0, 1)]])
    assert {name: tuple(view.shape) for name, view in batch.self_views.items()} == {
        "flip": (2, 3, 16, 16), "0.75x": (2, 3, 12, 12), "2x": (2, 3, 32, 32),
    }  # fmt: skip
    plain = Transform(TransformConfig("square", 16))(maskless.image("train_1"), (0,)).image
    assert torch.equal(batch.self_views["flip"][1], plain.flip(-1))
    assert not torch.equal(batch.first.image[1], plain)
    assert batch.first.valid.all()


def test_groups_are_of_one_class(maskless):
    dataset = GroupView(maskless, maskless.ids("train"), TRANSFORM, 0)
    batch = dataset.collate([dataset[(epoch, 0)] for epoch in range(12)])
    assert isinstance(batch, GroupBatch)
    first, second, third = (images.labels for images in batch.images)
    assert (first * second * third).sum(dim=1).min() >= 1
    assert len(set(batch.images[1].image_ids)) > 2
    assert batch.images[1].image_ids != batch.images[2].image_ids


def test_a_class_with_one_image_is_paired_with_itself_in_another_crop(folder_root):
    (folder_root / "labels.csv").write_text("image,classes\ngrey.png,cat\nplain.jpg,dog\n")
    source = Folder(folder_root)
    first, second, _ = PairView(source, source.ids("train"), TRANSFORM, 0)[(0, 1)]
    assert first[0] == second[0] == "plain"
    assert not torch.equal(first[1], second[1])


def test_caption_batch_draws_one_caption_in_each_epoch(coco_root, maskless):
    dataset = CaptionView(maskless, maskless.ids("train"), TRANSFORM, 0)
    batch = dataset.collate([dataset[(0, index)] for index in range(3)])
    assert isinstance(batch, CaptionBatch)
    assert [text.split(",")[0] for text in batch.caption] == batch.image_ids
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
    sampler = GlobalBatchSampler(10, 5, 0, 1, drop_last=True, random_seed=5)
    loader = DataLoader(
        dataset, 5, sampler=sampler, collate_fn=dataset.collate, num_workers=2, persistent_workers=True
    )
    for epoch in (0, 1):
        sampler.set_epoch(epoch)
        expected = [dataset[key] for key in sampler]
        batches = list(loader)
        assert [i for batch in batches for i in batch.first.image_ids] == [item[0][0] for item in expected]
        images = torch.cat([batch.second.image for batch in batches])
        assert torch.equal(images, torch.stack([item[1][1] for item in expected]))


def test_references_are_drawn_by_class_and_do_not_depend_on_what_is_left(maskless):
    ids = maskless.ids("train")
    references = ReferenceImages(maskless, ids, 10, random_seed=3)
    sample = InferenceView(maskless, ids, True, references)[(0, 0)]  # classes 0 and 4
    assert [reference.for_class for reference in sample.references] == [0] * 10 + [4] * 10
    for reference in sample.references:
        assert maskless.labels(reference.image_id)[reference.for_class] == 1
        assert np.array_equal(reference.labels, maskless.labels(reference.image_id))
        assert np.array_equal(reference.image, maskless.image(reference.image_id))
    three = ReferenceImages(maskless, ids, 3, random_seed=3)
    names = [reference.image_id for reference in sample.references]
    assert three.draw("train_0", maskless.labels("train_0")) == {0: names[:3], 4: names[10:13]}
    resumed = InferenceView(maskless, ["train_7", "train_0"], True, references)[(0, 1)]
    assert [reference.image_id for reference in resumed.references] == names
    other = ReferenceImages(maskless, ids, 10, random_seed=4).draw("train_0", maskless.labels("train_0"))
    assert other[0] + other[4] != names
    assert InferenceView(maskless, ids, False, references)[(0, 0)].references == ()


def test_a_class_with_too_few_images_repeats_them_and_one_without_any_has_no_reference():
    labels = np.eye(3, dtype=np.float32)[[0, 1, 1]]
    source = Labels(labels)
    references = ReferenceImages(source, ["0", "1"], 5, random_seed=0)
    assert references.draw("0", np.ones(3, np.float32)) == {0: ["0"] * 5, 1: ["1"] * 5}
