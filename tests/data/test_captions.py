"""Image-text pairs: a table, tar shards, what is broken in them, and who is shown what."""

import io
import itertools
import json
import tarfile

import numpy as np
import pytest
from PIL import Image

from wsss_bench.artifacts.images import Unreadable
from wsss_bench.data.command import main
from wsss_bench.data.datamodule import WSSSDataModule
from wsss_bench.data.samplers import GlobalBatchSampler
from wsss_bench.data.sources.captions import CaptionTable
from wsss_bench.data.sources.coco import COCO
from wsss_bench.data.sources.webdataset import WebDataset
from wsss_bench.data.transforms import TransformConfig

pytestmark = pytest.mark.filterwarnings("ignore:.*left out")


def jpeg(value):
    file = io.BytesIO()
    Image.fromarray(np.full((20, 24, 3), value, np.uint8)).save(file, "JPEG")
    return file.getvalue()


def pair(key, value):
    """The members that img2dataset writes of one pair."""
    return {f"{key}.jpg": jpeg(value), f"{key}.txt": f"picture {value}\n".encode(), f"{key}.json": b"{}"}


def write_shard(path, *groups):
    with tarfile.open(path, "w") as tar:
        for name, content in itertools.chain(*(members.items() for members in groups)):
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))


@pytest.fixture
def shards(tmp_path):
    """Three shards of four pairs; pair `v` is grey of level `v` and says `picture v`."""
    for shard in range(3):
        members = {}
        for number in range(4):
            value = 10 * (4 * shard + number)
            members |= pair(f"{shard:05d}{number:04d}", value)
        write_shard(tmp_path / f"{shard:05d}.tar", members)
    return tmp_path


def shown(source, image_id):
    """The level that the picture shows; its caption must say the same."""
    level = int(source.image(image_id).mean().round())
    assert source.captions(image_id) == (f"picture {level}",)
    return level


# tar shards


def test_pairs_are_read_at_their_place(shards):
    source = WebDataset(shards)
    ids = source.ids("train")
    assert (len(ids), ids[0], ids[5], ids[-1]) == (
        12,
        "00000:000000000",
        "00001:000010001",
        "00002:000020003",
    )
    assert ids[1:6:4] == [ids[1], ids[5]]
    assert [shown(source, image_id) for image_id in ids] == [10 * k for k in range(12)]
    assert source.left_out == []
    with pytest.raises(ValueError, match="no split 'val'"):
        source.ids("val")


def test_the_index_is_kept_until_its_shard_changes(shards):
    assert len(WebDataset(shards).ids("train")) == 12
    kept = shards / ".index" / "00001.npz"
    first = kept.stat().st_mtime_ns
    assert len(WebDataset(shards).ids("train")) == 12
    assert kept.stat().st_mtime_ns == first
    write_shard(shards / "00001.tar", pair("a", 200))
    source = WebDataset(shards)
    assert len(source.ids("train")) == 9
    assert shown(source, "00001:a") == 200


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut off", b"\x93NUMPY"])
def test_a_broken_index_is_made_again(shards, content):
    WebDataset(shards).ids("train")
    (shards / ".index" / "00001.npz").write_bytes(content)
    assert len(WebDataset(shards).ids("train")) == 12


def test_the_index_may_lie_elsewhere(shards, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("index")
    WebDataset(shards, index=str(elsewhere)).ids("train")
    assert sorted(path.name for path in elsewhere.iterdir()) == ["00000.npz", "00001.npz", "00002.npz"]
    assert not (shards / ".index").exists()
    (shards / "file").write_text("")
    with pytest.raises(OSError, match=r"cannot be written to .*set\s+`data\.source\.init_args\.index`"):
        WebDataset(shards, index="file").ids("train")


def test_half_pairs_are_left_out_and_named(shards):
    members = pair("good", 50) | {"blind.txt": b"nothing to see"} | {"mute.png": jpeg(1), "mute.json": b"{}"}
    good2 = {"good2.jpeg": jpeg(90), "good2.txt": b"picture 90"}
    write_shard(shards / "00002.tar", members, good2, pair("good", 3))
    source = WebDataset(shards)
    with pytest.warns(
        UserWarning, match=r"10 pairs in 3 shards; left out: 1 x no image, 1 x no text, 1 x duplicate key"
    ):
        ids = source.ids("train")
    assert ids[8:] == ["00002:good", "00002:good2"]
    assert [shown(source, image_id) for image_id in ids[8:]] == [50, 90]
    assert source.left_out == ["00002:blind: no image", "00002:mute: no text", "00002:good: duplicate key"]


@pytest.mark.parametrize("damage", ["cut in a member", "cut between members", "broken header"])
def test_a_damaged_shard_is_read_up_to_there_and_named(shards, damage):
    path = shards / "00001.tar"
    with tarfile.open(path) as tar:
        third = tar.getmember("000010002.jpg")
    content = bytearray(path.read_bytes())
    if damage == "cut in a member":
        content = content[: third.offset_data + 100]
    elif damage == "cut between members":
        content = content[: third.offset]
    else:
        content[third.offset : third.offset + 512] = b"?" * 512
    path.write_bytes(content)
    source = WebDataset(shards)
    assert len(source.ids("train")) == 10
    assert source.left_out == ["00001: shard broken or cut off, read up to there"]
    assert [shown(source, image_id) for image_id in source.ids("train")][4:6] == [40, 50]


def test_undecodable_pictures_and_texts_say_which(shards):
    write_shard(
        shards / "00000.tar",
        {
            "a.jpg": b"no picture",
            "a.txt": b"x",
            "b.jpg": jpeg(1),
            "b.txt": b"\xff\xfe",
            "c.jpg": jpeg(1),
            "c.txt": b" \n",
        },
    )
    source = WebDataset(shards)
    for read, message in (
        (lambda: source.image("00000:a"), "image 00000:a in .* cannot be decoded"),
        (lambda: source.captions("00000:b"), "text of 00000:b in .* is not UTF-8"),
        (lambda: source.captions("00000:c"), "text of 00000:c in .* is empty"),
    ):
        with pytest.raises(Unreadable, match=message):
            read()


def test_patterns_that_match_nothing_and_shards_without_pairs(shards, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no shard matches 'cc12m/\*\.tar'"):
        WebDataset(shards, ["*.tar", "cc12m/*.tar"])
    write_shard(tmp_path / "empty.tar", {})
    with pytest.raises(ValueError, match="hold no pair of an image and a text; first: no members"):
        WebDataset(tmp_path, ["empty.tar"]).ids("train")


# a table


@pytest.fixture
def table(tmp_path):
    (tmp_path / "images" / "deep").mkdir(parents=True)
    for name, value in (("a.jpg", 10), ("deep/b.png", 20), ("c.jpg", 30)):
        Image.fromarray(np.full((20, 24, 3), value, np.uint8)).save(tmp_path / "images" / name)
    (tmp_path / "captions.csv").write_text(
        'image,caption,split\na.jpg,"one,  two",train\ndeep/b.png,three,val\na.jpg,four,train\n'
    )
    return tmp_path


def test_table_of_captions(table):
    source = CaptionTable(table)
    assert (source.ids("train"), source.ids("val")) == (["a"], ["deep/b"])
    assert source.captions("a") == ("one, two", "four")
    assert source.image("deep/b")[0, 0].tolist() == [20, 20, 20]
    with pytest.raises(ValueError, match="no split 'test'; splits there: train, val"):
        source.ids("test")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("image,text\na.jpg,x\n", r"has the columns \['image', 'text'\]; expected image,caption"),
        (
            "image,caption\na.jpg,x\nc.jpg,\ndeep/b.png,  \n",
            r"has 2 rows without a caption \(line 3, 4, \.\.\.\); fill them or remove them",
        ),
        ("image,caption\na.jpg,x\na.png,y\n", r"line 3: 'a\.png' and 'a\.jpg' have the same id"),
    ],
)
def test_table_that_cannot_be_used(table, content, message):
    (table / "captions.csv").write_text(content)
    with pytest.raises(ValueError, match=message):
        CaptionTable(table)


@pytest.mark.parametrize("build", [CaptionTable, WebDataset])
def test_captions_are_no_labels_and_no_masks(build, table, shards):
    source = build(table if build is CaptionTable else shards)
    assert source.class_names == ()
    for ask in (source.labels, source.mask):
        with pytest.raises(ValueError, match=r"captions only; set `data\.view: caption`"):
            ask(source.ids("train")[0])
    with pytest.raises(ValueError, match="has no classes to predict"):
        WSSSDataModule(source, view="caption").predict_on("train", labelled=False)


# order and sharing of pairs


def test_short_epochs_go_through_every_pair_once_a_pass():
    def epoch(number, rank=0, ranks=1, length=2):
        sampler = GlobalBatchSampler(14, 4, rank, ranks, True, 7, length)
        sampler.set_epoch(number)
        assert len(sampler) == 4 * length // ranks
        return list(sampler)

    whole = []
    for number in (0, 1):
        sampler = GlobalBatchSampler(14, 4, 0, 1, True, 7)
        sampler.set_epoch(number)
        whole += list(sampler)
    assert len(whole) == 2 * 12  # three batches a pass
    assert list(itertools.chain(*(epoch(number) for number in range(3)))) == whole
    assert epoch(0, length=6) == whole
    for number in range(3):
        shares = [epoch(number, rank, 2) for rank in (0, 1)]
        assert not set(shares[0]) & set(shares[1])
        assert sorted(shares[0] + shares[1]) == sorted(epoch(number))


def test_an_epoch_length_needs_complete_batches():
    with pytest.raises(ValueError, match=r"epoch_length counts complete batches.*got 5 with drop_last False"):
        GlobalBatchSampler(16, 4, 0, 1, False, 0, 5)


def seen(root, workers=0, epoch_length=None):
    """Ids and captions of an epoch, in order."""
    data = WSSSDataModule(
        WebDataset(root), view="caption", transform=TransformConfig(crop_size=16, resize_long=(16, 24)),
        global_batch_size=4, num_workers=workers, epoch_length=epoch_length,
    )  # fmt: skip
    loader = data.train_dataloader()
    found = [
        (image_id, text)
        for batch in loader
        for image_id, text in zip(batch.image_ids, batch.caption, strict=True)
    ]
    return found, data


def test_a_broken_pair_is_replaced_counted_and_reported(shards, capfd):
    intact, _ = seen(shards)
    assert sorted(intact) == [
        (f"{k // 4:05d}:{k // 4:05d}{k % 4:04d}", f"picture {10 * k}") for k in range(12)
    ]
    members = {}
    for number in range(4):
        members |= pair(f"00001{number:04d}", 40 + 10 * number)
    members["000010002.jpg"] = b"no picture"
    write_shard(shards / "00001.tar", members)
    with pytest.warns(UserWarning, match=r"00001:000010002 in .* cannot be decoded .*; replaced by 0000"):
        replaced, data = seen(shards)
    places = [k for k, pair_ in enumerate(intact) if pair_[0] == "00001:000010002"]
    assert [k for k in range(12) if replaced[k] != intact[k]] == places
    assert len(places) == 1
    data.teardown("fit")
    assert "1 pairs could not be read and were replaced" in capfd.readouterr().out
    from_workers, data = seen(shards, workers=2)
    assert from_workers == replaced  # drawn from seed and key, whoever draws
    data.teardown("fit")
    assert "1 pairs could not be read and were replaced" in capfd.readouterr().out


def test_data_that_are_broken_altogether_stop_a_training(shards):
    for path in shards.glob("*.tar"):
        write_shard(path, {f"{k}.{suffix}": b"x" for k in range(4) for suffix in ("jpg", "txt")})
    with (
        pytest.warns(UserWarning, match="cannot be decoded"),
        pytest.raises(ValueError, match="20 pairs in a row cannot be read"),
    ):
        seen(shards)


def test_check_of_pairs(shards, tmp_path, capsys):
    members = pair("fine", 10) | {"mute.jpg": jpeg(1)} | {"torn.jpg": b"?", "torn.txt": b"x"}
    write_shard(shards / "00002.tar", members)
    config = tmp_path / "pairs.yaml"
    source = {
        "class_path": "wsss_bench.data.sources.webdataset.WebDataset",
        "init_args": {"root": str(shards)},
    }
    content = {"data": {"source": source}, "protocol": {"dataset": "pairs", "counts": {"train": 10}}}
    config.write_text(json.dumps(content))
    assert main(["check", "--config", str(config)]) == 1
    printed = capsys.readouterr().out
    assert "1 entries of the data are no pair of an image and a text:\n- 00002:mute: no text" in printed
    assert "image 00002:torn in" in printed
    assert printed.rstrip().count("\n- ") == 2  # the count of 10 is right


def test_coco_image_without_a_caption_is_named(coco_root):
    path = coco_root / "annotations" / "captions_val2014.json"
    content = json.loads(path.read_text())
    path.write_text(json.dumps({**content, "annotations": []}))
    with pytest.raises(
        ValueError,
        match=r"captions_val2014\.json has no caption for image 'COCO_val2014_000000000004'; remove it",
    ):
        COCO(coco_root, vocabulary="mini").captions("COCO_val2014_000000000004")
