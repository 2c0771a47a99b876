from types import SimpleNamespace

import numpy as np
import pytest
import torch
from lightning import LightningModule, Trainer
from lightning.pytorch.accelerators import CPUAccelerator, CUDAAccelerator

from wsss_bench.data.datamodule import WSSSDataModule
from wsss_bench.data.samplers import GlobalBatchSampler, ShardSampler
from wsss_bench.data.sources.voc import VOC
from wsss_bench.data.transforms import TransformConfig
from wsss_bench.types import ImageBatch, InferenceSample, MaskBatch, PairBatch

SMALL = TransformConfig("irn", 32, (30, 50))
FILLED = TransformConfig("random_resized_crop", 32, rand_augment="rand-m9-mstd0.5-inc1", random_erasing=0.25)


@pytest.fixture
def source(voc_root):
    return VOC(voc_root, vocabulary="mini")


def shares(world_size, epoch=0, length=53, batch=12, drop_last=True):
    """Each rank's keys, cut into its batches."""
    result = []
    for rank in range(world_size):
        sampler = GlobalBatchSampler(length, batch, rank, world_size, drop_last, random_seed=4)
        sampler.set_epoch(epoch)
        keys = list(sampler)
        assert len(keys) == len(sampler)
        share = batch // world_size
        result.append([keys[start : start + share] for start in range(0, len(keys), share)])
    return result


@pytest.mark.parametrize("world_size", [2, 3, 4])
def test_global_batches_do_not_depend_on_the_number_of_ranks(world_size):
    (alone,) = shares(1)
    ranks = shares(world_size)
    assert len(alone) == 4  # 53 // 12
    for number, batch in enumerate(alone):
        assert sorted(key for rank in ranks for key in rank[number]) == sorted(batch)
        assert [rank[number][0] for rank in ranks] == batch[
            :world_size
        ]  # rank r takes every world-th from r on


def test_every_image_at_most_once_an_epoch_and_in_another_order_the_next():
    first, second = ([key for batch in shares(1, epoch)[0] for key in batch] for epoch in (0, 1))
    assert {epoch for epoch, _ in second} == {1}
    assert len({index for _, index in first}) == 48
    assert [index for _, index in first] != [index for _, index in second]


def test_order_of_an_epoch_is_the_same_after_a_restart():
    assert shares(1, epoch=7) == shares(1, epoch=7)


def test_last_batch_is_kept_where_asked():
    (batches,) = shares(1, drop_last=False)
    assert [len(batch) for batch in batches] == [12, 12, 12, 12, 5]
    with pytest.raises(ValueError, match="last batch of 5 images cannot be shared by 2 ranks"):
        shares(2, drop_last=False)


def test_batch_that_ranks_cannot_share():
    with pytest.raises(ValueError, match=r"global_batch_size 16 cannot be shared by 3 ranks.*multiple of 3"):
        GlobalBatchSampler(100, 16, 0, 3, drop_last=True, random_seed=0)


def test_fewer_images_than_a_batch(source):
    with pytest.raises(
        ValueError, match=r"has 10 images, fewer than one batch of data\.global_batch_size 16"
    ):
        WSSSDataModule(source, transform=SMALL).train_dataloader()


@pytest.mark.parametrize("world_size", [1, 2, 3])
def test_evaluation_shards_repeat_nothing(world_size):
    keys = [list(ShardSampler(11, rank, world_size)) for rank in range(world_size)]
    assert sorted(index for rank in keys for _, index in rank) == list(range(11))
    assert [len(rank) for rank in keys] == [
        len(ShardSampler(11, rank, world_size)) for rank in range(world_size)
    ]


@pytest.mark.parametrize(("view", "kind"), [("image", ImageBatch), ("pair", PairBatch), ("mask", MaskBatch)])
def test_each_view_yields_its_batch(view, kind, source):
    data = WSSSDataModule(source, view=view, transform=SMALL, global_batch_size=4)
    train, val = list(data.train_dataloader()), list(data.val_dataloader())
    assert [type(batch) for batch in train + val] == [kind] * 4
    batch = train[0].first if view == "pair" else train[0]
    assert batch.image.shape == (4, 3, 32, 32)


def test_batches_are_identical_with_and_without_workers(source):
    def epoch(num_workers):
        data = WSSSDataModule(
            source, transform=SMALL, global_batch_size=5, num_workers=num_workers, random_seed=3
        )
        return list(data.train_dataloader())

    for here, there in zip(epoch(0), epoch(2), strict=True):
        assert here.image_ids == there.image_ids
        assert torch.equal(here.image, there.image)


@pytest.mark.parametrize(
    ("accelerator", "share", "devices", "given", "workers"),
    [
        (CUDAAccelerator, "3", 2, None, 3),
        (CUDAAccelerator, "64", 1, None, 8),
        (CUDAAccelerator, "", 2, None, 4),  # by hand: of 8 cores
        (CUDAAccelerator, "", 16, None, 1),
        (CUDAAccelerator, "4", 1, 0, 0),
        (CPUAccelerator, "4", 1, None, 0),
        (CPUAccelerator, "1", 1, 2, 2),
    ],
)
def test_loading_processes_by_the_share_of_the_cores(
    source, monkeypatch, accelerator, share, devices, given, workers
):
    monkeypatch.setenv("WSSS_WORKERS", share)
    monkeypatch.setattr("os.sched_getaffinity", lambda process: range(8))
    data = WSSSDataModule(source, transform=SMALL, global_batch_size=16, num_workers=given, drop_last=False)
    data.trainer = SimpleNamespace(
        accelerator=accelerator(), num_devices=devices, global_rank=0, world_size=1
    )
    loader = data.val_dataloader()
    assert loader.num_workers == workers
    assert loader.persistent_workers == (workers > 0)
    assert loader.pin_memory == (accelerator is CUDAAccelerator)


def test_no_loading_process_without_a_trainer(source):
    assert WSSSDataModule(source).val_dataloader().num_workers == 0


@pytest.mark.parametrize("transform", [SMALL, FILLED])
def test_validation_uses_whole_images_in_order(source, transform):
    batches = list(WSSSDataModule(source, transform=transform, global_batch_size=2).val_dataloader())
    assert [i for batch in batches for i in batch.image_ids] == [f"val_{k}" for k in range(5)]
    # 40 x 56 pixels at long side 32
    assert batches[0].valid[0].any(dim=1).sum() == 23
    assert batches[0].valid[0].any(dim=0).sum() == 32


def test_prediction_hides_labels_unless_asked(source):
    data = WSSSDataModule(source)
    data.predict_on("val", labelled=False)
    hidden = [sample for (sample,) in data.predict_dataloader()]
    assert all(isinstance(sample, InferenceSample) and sample.labels is None for sample in hidden)
    assert [sample.image_id for sample in hidden] == [f"val_{k}" for k in range(5)]
    np.testing.assert_array_equal(hidden[1].image, source.image("val_1"))
    data.predict_on("train", labelled=True)
    given = [sample for (sample,) in data.predict_dataloader()]
    assert given[3].labels.tolist() == source.labels("train_3").tolist()


def test_prediction_of_the_images_missing_after_an_interrupted_stage(source):
    data = WSSSDataModule(source)
    data.predict_on("train", labelled=True, ids=["train_7", "train_3"])
    samples = [sample for (sample,) in data.predict_dataloader()]
    assert [sample.image_id for sample in samples] == ["train_7", "train_3"]
    assert samples[1].labels.tolist() == source.labels("train_3").tolist()


def test_images_are_predicted_in_chunks_in_their_order(source):
    data = WSSSDataModule(source)
    data.predict_on("val", labelled=False, chunk_size=3)
    chunks = [[sample.image_id for sample in chunk] for chunk in data.predict_dataloader()]
    assert chunks == [["val_0", "val_1", "val_2"], ["val_3", "val_4"]]


def test_prediction_needs_a_split(source):
    with pytest.raises(ValueError, match="call predict_on first"):
        WSSSDataModule(source).predict_dataloader()


def test_pseudo_masks_switch_the_monitor_off_because_it_would_read_true_masks(source, tmp_path):
    data = WSSSDataModule(source, view="mask", masks=str(tmp_path))
    assert data.val_dataloader() == []
    with pytest.raises(
        ValueError, match=r"data\.view is 'image', which reads no masks; set data\.view: mask"
    ):
        WSSSDataModule(source, masks=str(tmp_path))


def test_training_and_validation_must_not_share_images(source, voc_root):
    (voc_root / "ImageSets" / "Segmentation" / "val.txt").write_text("val_0\ntrain_3\n")
    with pytest.raises(ValueError, match=r"'val' shares 1 images with data\.train_split 'train'.*'train_3'"):
        WSSSDataModule(source, transform=SMALL).val_dataloader()


class Recorder(LightningModule):
    """Records the batches it gets."""

    def __init__(self):
        super().__init__()
        self.image_ids = {"train": [], "val": []}
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.seen = []

    def training_step(self, batch, _):
        self.seen.append((self.current_epoch, batch.image_ids, batch.image.mean().item()))
        self.image_ids["train"] += batch.image_ids
        return self.weight * batch.image.mean()

    def validation_step(self, batch, _):
        self.image_ids["val"] += batch.image_ids

    def predict_step(self, chunk, _):
        return [sample.image_id for sample in chunk]

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.1)


def trainer(**arguments):
    return Trainer(
        accelerator="cpu", logger=False, enable_progress_bar=False, enable_model_summary=False, **arguments
    )  # fmt: skip


@pytest.mark.filterwarnings("ignore:.*does not have many workers.*")
@pytest.mark.parametrize("workers", [0, 1])
def test_a_resumed_training_sees_what_the_uninterrupted_one_saw(source, tmp_path, workers):
    def data(num_workers=workers):
        module = WSSSDataModule(source, transform=SMALL, global_batch_size=4, num_workers=num_workers)
        module.predict_on("val", labelled=False)
        return module

    whole, start, rest = Recorder(), Recorder(), Recorder()
    trainer(max_epochs=3, enable_checkpointing=False).fit(whole, data(num_workers=0))
    begun = trainer(max_epochs=1, default_root_dir=tmp_path)
    begun.fit(start, data())
    begun.save_checkpoint(tmp_path / "last.ckpt")
    trainer(max_epochs=3, enable_checkpointing=False).fit(rest, data(), ckpt_path=tmp_path / "last.ckpt")
    assert [epoch for epoch, _, _ in whole.seen] == [0, 0, 1, 1, 2, 2]
    assert start.seen + rest.seen == whole.seen
    assert begun.predict(rest, data()) == [[f"val_{k}"] for k in range(5)]


def images_of_a_rank(rank, root):
    """Image ids that a rank trains and validates on, in a trainer that replaces samplers."""
    data = WSSSDataModule(VOC(root, vocabulary="mini"), transform=SMALL, global_batch_size=4)
    recorder = Recorder()
    arguments = {"devices": 2, "strategy": "ddp", "use_distributed_sampler": True}
    arguments |= {"max_epochs": 1, "num_sanity_val_steps": 0, "enable_checkpointing": False}
    trainer(**arguments).fit(recorder, data)
    return recorder.image_ids


def test_two_ranks_keep_their_shares_in_a_trainer_that_replaces_samplers(source, rank_pair):
    """`use_distributed_sampler` is true by default; Lightning must not divide the share of a rank again."""
    images = {split: source.ids(split) for split in ("train", "val")}
    for rank, found in enumerate(rank_pair.call(images_of_a_rank, source.root)):
        shuffled = GlobalBatchSampler(10, 4, rank, 2, drop_last=True, random_seed=0)
        assert found["train"] == [images["train"][index] for _, index in shuffled]
        assert found["val"] == images["val"][rank::2]
