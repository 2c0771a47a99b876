"""Lists of images in the forms that are in circulation, and lines that are none."""

import paths_of_real_data as real
import pytest

from wsss_bench.data.sources.split_lists import read_image_list
from wsss_bench.data.sources.voc import VOC

KNOWN = {"a", "b", "c", "deep/d", "two words", "x 1", "f.g"}


def read(tmp_path, content):
    path = tmp_path / "list.txt"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_image_list(path, KNOWN, "JPEGImages")


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("a\nb\n", ["a", "b"]),
        ("b\na", ["b", "a"]),
        ("\ufeffa\nb\n", ["a", "b"]),
        ("a\r\nb\r\n\r\n", ["a", "b"]),
        ("a\rb", ["a", "b"]),
        ("  a \t\n\n\n b\n  \n", ["a", "b"]),
        ("a.jpg\nb.JPG\nc.jpeg\n", ["a", "b", "c"]),
        ("JPEGImages/a.jpg\n/JPEGImages/b.jpg\n./c\n", ["a", "b", "c"]),
        ("/JPEGImages/a.jpg /SegmentationClassAug/a.png\nb.jpg  masks/b.png\n", ["a", "b"]),
        ("/JPEGImages/deep/d.jpg /SegmentationClass/deep/d.png\n", ["deep/d"]),
        ("a  1\nb -1\nc  0\n", ["a", "c"]),
        ("deep/d\nf.g\n", ["deep/d", "f.g"]),
        ("two words\nx 1\na\n", ["two words", "x 1", "a"]),
        ("two words.jpg\n", ["two words"]),
        ("# training\na  # sharp\nb\n", ["a", "b"]),
    ],
)
def test_forms_of_a_line(tmp_path, content, expected):
    assert read(tmp_path, content) == expected


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a\nnone\n", r"lists 1 of 2 images that are not in JPEGImages/, first 'none' \(line 2\)"),
        ("a\nb\n\na\n", r"lists a more than once \(lines 1 and 4"),
        ("a\na.jpg\n", r"lists a more than once \(lines 1 and 2"),
        ("a 1\nb\n", r"line 2: 'b' has no flag .* unlike the lines before"),
        ("a\nb 1\n", r"line 2: 'b 1' has a flag"),
        ("a 2\n", r"line 1: 'a 2' is no id; expected an image id"),
        ("a 1 1\n", "line 1: 'a 1 1' is no id"),
        ("a\na, b\n", "line 2: 'a, b' is no id"),
        ("a.jpg b.png\n", r"line 1: image 'a' has the mask 'b\.png' of another image"),
        (b"a\n\xff\xfeb\n", r"line 2: byte 0xff is not UTF-8; save"),
        ("a\n".encode("utf-16"), r"line 1: byte 0xff is not UTF-8"),
        ("a\n".encode("utf-16-le"), r"line 1: a zero byte"),
    ],
)
def test_lines_that_are_refused_say_where(tmp_path, content, message):
    with pytest.raises(ValueError, match=r"list\.txt.*" + message):
        read(tmp_path, content)


def test_a_class_list_without_the_class_is_an_empty_split(voc_root):
    (voc_root / "ImageSets" / "Segmentation" / "bird_train.txt").write_text("train_0 -1\ntrain_1 -1\n")
    with pytest.raises(ValueError, match="split 'bird_train' is empty"):
        VOC(voc_root, vocabulary="mini").ids("bird_train")


@real.needs("lists/train_aug.txt")
def test_the_circulating_lists_of_voc_are_read():
    path = real.ROOT / "lists" / "train_aug.txt"
    expected = [line.split()[0][len("/JPEGImages/") : -len(".jpg")] for line in path.read_text().splitlines()]
    assert len(expected) == 10_582
    assert read_image_list(path, set(expected), "JPEGImages") == expected
