"""Seeds in shards: what is read of them, and what is refused."""

import json
import zlib

import numpy as np
import pytest

from wsss_bench.artifacts import seeds
from wsss_bench.artifacts.seed_levels import LEVELS
from wsss_bench.artifacts.seeds import SeedShards, read_seed, seed_ids, write_seed
from wsss_bench.artifacts.shards import ShardWriter, record_sizes
from wsss_bench.readout import threshold_mask
from wsss_bench.types import ScoreMaps

HALF_LEVEL = 1 / (2 * LEVELS) + 2**-12


def maps(image_id="a", size=(75, 50), number=2, background=False):
    random = np.random.default_rng(1)
    scores = random.random((number, *size)).astype(np.float16)
    strided = random.random((number, -(-size[0] // 4), -(-size[1] // 4))).astype(np.float16)
    own = random.random(size).astype(np.float16) if background else None
    return ScoreMaps(image_id, np.array([3, 20, 7], np.uint8)[:number], scores, size, strided, own)


@pytest.mark.parametrize(
    "written", [maps(), maps("deep/folder/b", (7, 9)), maps(number=1, background=True), maps(number=3)]
)
def test_seed_round_trip(tmp_path, written):
    write_seed(tmp_path, written)
    assert seed_ids(tmp_path) == {written.image_id}
    found = read_seed(tmp_path, written.image_id)
    assert found.size == written.size
    np.testing.assert_array_equal(found.classes, written.classes)
    np.testing.assert_allclose(found.strided, written.strided, atol=HALF_LEVEL)
    np.testing.assert_allclose(
        found.scores, written.scores, atol=3 * HALF_LEVEL
    )  # a loser may lie a level lower
    assert found.scores.dtype == found.strided.dtype == np.float16
    assert (found.background is None) == (written.background is None)
    if written.background is not None:
        np.testing.assert_allclose(found.background, written.background, atol=HALF_LEVEL)
    for threshold in (0, 0.01, 0.29, 0.505, 0.99, 1):
        np.testing.assert_array_equal(threshold_mask(found, threshold), threshold_mask(written, threshold))


def test_an_image_without_classes(tmp_path):
    empty = np.zeros((0, 1, 1), np.float16)
    write_seed(tmp_path, ScoreMaps("a", np.zeros(0, np.uint8), empty, (4, 5), empty))
    found = read_seed(tmp_path, "a")
    assert (found.size, found.scores.shape, found.strided.shape) == ((4, 5), (0, 1, 1), (0, 1, 1))


def test_only_what_is_asked_for_is_read(tmp_path):
    write_seed(tmp_path, maps(background=True))
    write_seed(tmp_path, maps("b"))
    found = read_seed(tmp_path, "a", ["strided"])
    assert found.strided.shape == (2, 19, 13)
    assert found.scores.shape == (2, 1, 1)
    found = read_seed(tmp_path, "a", ["scores"])
    assert (found.strided, found.background.shape) == (None, (75, 50))
    # damage of one part does not concern those who read the other
    (shard,) = tmp_path.iterdir()
    content = bytearray(shard.read_bytes())
    content[-5] ^= 1  # in the last part of the last record
    shard.write_bytes(content)
    assert read_seed(tmp_path, "b", ["scores"]).scores.shape == (2, 75, 50)
    with pytest.raises(ValueError, match=r"00000\.seeds: the seed of image 'b' is not readable \(strided"):
        read_seed(tmp_path, "b")


def test_a_damaged_record_gives_way_to_an_earlier_intact_one(tmp_path):
    write_seed(tmp_path, maps())
    (shard,) = tmp_path.iterdir()
    with SeedShards(tmp_path, rank=1) as later:
        later.write(maps())
    content = bytearray(shard.read_bytes())
    content[-5] ^= 1
    (tmp_path / "1-00000.seeds").write_bytes(content)
    np.testing.assert_allclose(read_seed(tmp_path, "a").strided, maps().strided, atol=HALF_LEVEL)


def test_a_folder_may_hold_files_of_earlier_versions_too(tmp_path):
    old = maps("old")
    np.savez_compressed(
        tmp_path / "old.npz",
        classes=old.classes,
        scores=old.scores,
        size=np.int32(old.size),
        strided=old.strided,
    )
    write_seed(tmp_path, maps("new"))
    assert seed_ids(tmp_path) == {"old", "new"}
    np.testing.assert_array_equal(read_seed(tmp_path, "old").scores, old.scores)
    with pytest.raises(FileNotFoundError, match="no seed for image 'other'"):
        read_seed(tmp_path, "other")
    # an image that is in both was made again
    (tmp_path / "new.npz").write_bytes(b"cut off")
    assert read_seed(tmp_path, "new").scores.shape == (2, 75, 50)


def test_sizes_do_not_tell_who_wrote_what(tmp_path):
    for name, ranks in (("one", (0, 0, 0)), ("two", (1, 0, 1))):
        for image_id, rank in zip("abc", ranks, strict=True):
            with SeedShards(tmp_path / name, rank) as writer:
                writer.write(maps(image_id))
    assert record_sizes(tmp_path / "one") == record_sizes(tmp_path / "two")


@pytest.mark.parametrize("score", [-0.1, 1.2, np.nan])
def test_scores_outside_of_the_range_are_not_written(tmp_path, score):
    wrong = maps()
    wrong.scores[0, 3, 3] = score
    with pytest.raises(ValueError, match="expected 0 to 1"):
        write_seed(tmp_path, wrong)


GOOD = {"size": [9, 12], "classes": [1], "shapes": {"scores": [1, 9, 12]}}


@pytest.mark.parametrize(
    ("facts", "levels", "message"),
    [
        ({"shapes": {"scores": [1, 9, 13]}}, 108, "do not have the shape"),
        ({"shapes": {"scores": [-1, 1, 1]}}, 108, "gives the shape"),
        ({"shapes": {"scores": [1, 10**5, 10**5]}}, 108, "MiB, more than"),
        ({"shapes": {"scores": [1, 9]}}, 108, "not enough values"),
        ({"classes": [1, 2]}, 108, r"for 2 classes"),
        ({"classes": [300]}, 108, "different mask values from 1 on"),
        ({"size": [9, 11]}, 108, "larger than the image"),
        ({"size": [0, 0]}, 108, "expected height and width"),
        ({}, b"no deflate", "incorrect header"),
        ({}, zlib.compress(bytes([201] * 108)), "a level of a score is 2"),
    ],
)
def test_a_record_that_is_no_seed_is_refused(tmp_path, facts, levels, message):
    content = levels if isinstance(levels, bytes) else zlib.compress(bytes(levels))
    with ShardWriter(tmp_path) as writer:
        writer.append("a", json.loads(json.dumps({**GOOD, **facts})), {"scores": content})
    with pytest.raises(ValueError, match=rf"the seed of image 'a' is not readable \(.*{message}"):
        read_seed(tmp_path, "a")


def test_what_is_written_is_what_is_told(tmp_path):
    """The estimate of a plan is near the size of maps as networks give them."""
    grid = np.random.default_rng(0).random((2, 24, 32))
    grid = np.maximum(grid - 0.4, 0)
    rows, columns = np.linspace(0, 23, 375), np.linspace(0, 31, 500)
    wide = np.stack([[np.interp(columns, np.arange(32), row) for row in plane] for plane in grid])
    scores = np.stack([np.stack([np.interp(rows, np.arange(24), c) for c in plane.T], 1) for plane in wide])
    scores /= scores.max(axis=(1, 2), keepdims=True)
    write_seed(tmp_path, ScoreMaps("a", np.uint8([1, 2]), scores, (375, 500), scores[:, ::4, ::4]))
    ((_, size),) = record_sizes(tmp_path)
    assert 0.3 < size / seeds.seed_bytes(375 * 500, classes=2) < 3
