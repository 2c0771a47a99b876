"""What is refused: archives that are truncated, of another year, unsafe or not the official ones."""

import tarfile

import numpy as np
import official_archives as official
import pytest

from wsss_bench.artifacts.files import file_names
from wsss_bench.data.prepare.official import SBD, Archive
from wsss_bench.data.prepare.sbd import sbd_mask
from wsss_bench.data.prepare.verification import check_sums, md5_of

TAR = "VOCtrainval_11-May-2012.tar"


@pytest.fixture
def archives(tmp_path):
    return official.write_voc(tmp_path / "archives")


def files_of(tmp_path):
    return file_names(tmp_path / "root")


def test_an_archive_that_is_not_the_official_one(prepare, archives, tmp_path):
    status, _, err = prepare("voc", md5=True)
    assert status == 1
    size = (archives / TAR).stat().st_size
    assert f"{TAR} has {size} bytes, expected 1999639040" in err
    assert "a wrong year or a truncated download" in err
    assert "--no-md5" in err
    assert not files_of(tmp_path)


def test_md5(tmp_path):
    path = tmp_path / "a.zip"
    path.write_bytes(b"abc")
    right = "900150983cd24fb0d6963f7d28e17f72"
    assert md5_of(path) == right
    assert check_sums({Archive("a.zip", "http://a", "test", 3, (right,)): path}) == []
    wrong = Archive("a.zip", "http://a", "test", None, ("0" * 32,))
    with pytest.raises(
        ValueError, match=f"has the md5 {right}, expected {'0' * 32} .*a wrong year or a trunc"
    ):
        check_sums({wrong: path})
    several = Archive("a.zip", "http://a", "test", 4, ("0" * 32, "1" * 32), certain=False)
    warnings = check_sums({several: path})
    assert len(warnings) == 2
    assert "in circulation, so it is taken" in warnings[1]
    assert "no md5 of a.zip is known" in check_sums({Archive("a.zip", "http://a", "test"): path})[0]


@pytest.mark.parametrize("name", [TAR, "benchmark.tgz"])
@pytest.mark.parametrize("share", [0.02, 0.5, 0.97])
def test_a_truncated_archive(prepare, archives, tmp_path, name, share):
    path = archives / name
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    status, _, err = prepare("voc")
    assert status == 1
    assert str(path) in err
    assert "download it again" in err.lower()
    path.write_bytes(content)
    assert prepare("voc")[0] == 0


def test_an_archive_that_ends_between_two_members(prepare, archives):
    """tarfile takes this for the end; the lists then name images that are not there."""
    members = dict(official.voc_members())
    for name in ("JPEGImages/2008_000008.jpg", "JPEGImages/2009_000001.jpg"):
        del members[f"VOCdevkit/VOC2012/{name}"]
    official.write_tar(archives / TAR, members)
    status, _, err = prepare("voc")
    assert status == 1
    assert "2008_000008" in err


def test_a_mask_is_missing(prepare, archives):
    members = dict(official.sbd_members())
    del members["benchmark_RELEASE/dataset/cls/2008_000002.mat"]
    official.write_tar(archives / "benchmark.tgz", members)
    status, _, err = prepare("voc")
    assert status == 1
    assert "1 files of the split 'train_aug' are missing" in err
    assert "SegmentationClassAug/2008_000002.png" in err


def test_another_year(prepare, archives, tmp_path):
    official.write_tar(archives / TAR, official.voc_members(2007))
    status, _, err = prepare("voc")
    assert status == 1
    assert "has no member VOCdevkit/VOC2012/JPEGImages/*.jpg, but 'VOCdevkit/VOC2007/Annotations" in err
    assert not files_of(tmp_path)


@pytest.mark.parametrize(
    "name", ["../evil.jpg", "/evil.jpg", "VOCdevkit/../../evil.jpg", "C:/evil", "..\\evil"]
)
def test_a_member_that_leads_out(prepare, archives, tmp_path, name):
    official.write_tar(archives / TAR, official.voc_members() | {name: b"evil"})
    status, _, err = prepare("voc")
    assert status == 1
    assert f"member {name!r} leads out of the folder" in err
    assert not files_of(tmp_path)


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE])
def test_a_link_or_device_in_the_place_of_a_file(prepare, archives, tmp_path, kind):
    info = tarfile.TarInfo("VOCdevkit/VOC2012/JPEGImages/2011_000001.jpg")
    info.type, info.linkname = kind, "/etc/passwd"
    official.write_tar(archives / TAR, official.voc_members() | {info.name: info})
    status, _, err = prepare("voc")
    assert status == 1
    assert f"member {info.name!r} is a link, a device or encrypted" in err
    assert not files_of(tmp_path)


def test_a_link_that_nobody_needs_is_left_out(prepare, archives, tmp_path):
    info = tarfile.TarInfo("VOCdevkit/VOC2012/SegmentationObject/2011_000001.png")
    info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
    official.write_tar(archives / TAR, official.voc_members() | {info.name: info})
    assert prepare("voc")[0] == 0
    assert not any("SegmentationObject" in name for name in files_of(tmp_path))


def test_a_member_twice(prepare, archives):
    members = official.voc_members()
    again = {f"./{name}": content for name, content in members.items() if name.endswith("000032.jpg")}
    official.write_tar(archives / TAR, members | again)
    status, _, err = prepare("voc")
    assert status == 1
    assert "2007_000032.jpg' is there twice" in err


def test_names_without_effect(prepare, archives):
    """Archives that begin with `./` are read; so are files whose names need care in a pattern."""
    official.write_tar(archives / TAR, {f"./{name}": c for name, c in official.voc_members().items()})
    assert prepare("voc")[0] == 0


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"no matlab", "cannot be read as a MATLAB file"),
        (official.mat(np.full((4, 5), 21, np.uint8)), "from 21 to 21; expected"),
        (official.mat(np.zeros((4, 5))), "float64; expected"),
        (official.mat(np.ones((4, 5), np.uint8))[:-40], "cannot be read as a MATLAB file"),
    ],
)
def test_a_broken_matlab_file(content, message):
    with pytest.raises(ValueError, match=message):
        sbd_mask(content)


def test_a_broken_matlab_file_is_named(prepare, archives):
    name = "benchmark_RELEASE/dataset/cls/2008_000002.mat"
    official.write_tar(archives / SBD.name, official.sbd_members() | {name: b"no matlab"})
    status, _, err = prepare("voc")
    assert status == 1
    assert f"benchmark.tgz: {name}: it cannot be read" in err


def test_an_image_of_one_row_keeps_its_shape():
    mask = np.arange(21, dtype=np.uint8).reshape(1, 21)
    assert np.array_equal(sbd_mask(official.mat(mask)), mask)
