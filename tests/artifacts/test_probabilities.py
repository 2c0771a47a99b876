"""Probabilities on disk: how far they are from what was written, and what becomes of damage."""

import numpy as np
import pytest

from wsss_bench.artifacts.probabilities import (
    LAST,
    LEAST,
    STEPS,
    LabelMaps,
    ProbabilityShards,
    probability_ids,
    read_probabilities,
    readouts_in,
)


def maps(labels, size=(7, 9), start=0):
    number = start + np.arange(len(labels) * size[0] * size[1])
    levels = number.reshape(len(labels), *size).astype(np.uint16) * 37 % (LAST + 1)
    return LabelMaps(np.array(labels, np.uint8), levels)


def write(folder, rank=0, **readouts):
    with ProbabilityShards(folder, rank) as shards:
        shards.write("image", readouts)


def test_read_outs_come_back_each_with_its_labels(tmp_path):
    written = {"ss": maps([0, 3]), "own-all": maps([0, 1, 2, 3, 4], start=11)}
    with ProbabilityShards(tmp_path) as shards:
        shards.write("image", written)
        shards.write("nested/other", {"ss": maps([5], (1, 400))})
    found = read_probabilities(tmp_path, "image", ["own-all", "ss"])
    for name, one in written.items():
        np.testing.assert_array_equal(found[name].labels, one.labels)
        np.testing.assert_array_equal(found[name].levels, one.levels)
    assert read_probabilities(tmp_path, "image", ["ss"]).keys() == {"ss"}
    assert read_probabilities(tmp_path, "nested/other", ["ss"])["ss"].levels.shape == (1, 1, 400)
    assert probability_ids(tmp_path) == {"image", "nested/other"}
    assert readouts_in(tmp_path) == ["ss", "own-all"]
    assert readouts_in(tmp_path / "nothing") == []


def test_levels_are_logarithms_with_the_ends_exact():
    levels = np.arange(LAST + 1, dtype=np.uint16)[None, None]
    found = LabelMaps(np.array([0]), levels).probabilities()[0, 0]
    assert (found[0], found[-1]) == (1, np.float32(LEAST))
    assert found.dtype == np.float32
    assert (np.diff(found) < 0).all()
    np.testing.assert_allclose(-np.log(found.astype(float)), levels[0, 0] / STEPS, atol=0.5 / STEPS)


def test_the_latest_record_of_an_image_counts(tmp_path):
    write(tmp_path, ss=maps([0, 1]))
    write(tmp_path, ss=maps([0, 2]))
    assert read_probabilities(tmp_path, "image", ["ss"])["ss"].labels.tolist() == [0, 2]


def test_a_record_that_was_cut_off_is_no_record_and_is_written_over(tmp_path):
    write(tmp_path, ss=maps([0, 1]))
    (shard,) = tmp_path.iterdir()
    whole = shard.read_bytes()
    shard.write_bytes(whole[:-1])
    assert probability_ids(tmp_path) == set()
    with pytest.raises(FileNotFoundError, match="no probabilities of image 'image'"):
        read_probabilities(tmp_path, "image", ["ss"])
    write(tmp_path, ss=maps([0, 1]))
    assert shard.read_bytes() == whole


def test_a_damaged_record_is_refused(tmp_path):
    write(tmp_path, ss=maps([0, 1]))
    (shard,) = tmp_path.iterdir()
    content = bytearray(shard.read_bytes())
    content[-3] ^= 1
    shard.write_bytes(content)
    with pytest.raises(ValueError, match=r"of image 'image' are not readable .*checksum"):
        read_probabilities(tmp_path, "image", ["ss"])


@pytest.mark.parametrize(
    ("written", "message"),
    [
        (maps([0, 0]), "different mask values"),
        (maps([255]), "different mask values"),
        (LabelMaps(np.array([0]), np.full((1, 2, 2), LAST + 1, np.uint16)), f"expected 0 to {LAST}"),
        (LabelMaps(np.array([0, 1]), maps([0]).levels), "do not have the shape"),
    ],
)
def test_what_no_prediction_writes_is_refused(tmp_path, written, message):
    write(tmp_path, ss=written)
    with pytest.raises(ValueError, match=message):
        read_probabilities(tmp_path, "image", ["ss"])


def test_a_read_out_that_is_not_there_is_named_with_those_that_are(tmp_path):
    write(tmp_path, ss=maps([0]))
    with pytest.raises(ValueError, match="no read-out ms, only ss"):
        read_probabilities(tmp_path, "image", ["ss", "ms"])
