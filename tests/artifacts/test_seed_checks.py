"""Seeds of other programs: what is no seed is refused, and small files cannot fill the memory."""

import io
import zipfile

import numpy as np
import pytest

from wsss_bench.artifacts import npz
from wsss_bench.artifacts.seeds import read_seed

GOOD = {
    "classes": np.array([3, 20], np.uint8),
    "scores": np.linspace(0, 1, 24, dtype=np.float16).reshape(2, 3, 4),
    "size": np.array([9, 12], np.int32),
}


def half(*shape):
    return np.zeros(shape, np.float16)


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"scores": GOOD["scores"].astype(np.float32)},
        {"scores": GOOD["scores"] * np.float16(1.0009)},  # rounding of float16
        {"scores": -half(2, 3, 4)},
        {"classes": np.array([3, 20], np.int64)},
        {"classes": np.zeros(0, np.uint8), "scores": half(0, 3, 4)},
        {"scores": half(2, 9, 12), "strided": half(2, 3, 3)},
        {"strided": half(2, 3, 3) + np.float16(4)},  # sums of scales exceed 1
    ],
)
def test_seeds_in_the_documented_format(tmp_path, change):
    np.savez_compressed(tmp_path / "a.npz", **{**GOOD, **change})
    maps = read_seed(tmp_path, "a")
    assert maps.size == (9, 12)
    assert maps.classes.dtype == np.uint8
    np.testing.assert_array_equal(maps.scores, {**GOOD, **change}["scores"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"scores": None}, "has no array scores"),
        ({"size": None, "classes": None}, "has no array classes, size"),
        ({"scores": GOOD["scores"] * np.float16(2)}, "scores go from 0.0 to 2.0; expected 0 to 1"),
        ({"scores": GOOD["scores"].astype(np.float32) * 1.01}, "scores go from"),
        ({"scores": -GOOD["scores"]}, "scores go from -1"),
        ({"scores": half(2, 3, 4) + np.float16(np.nan)}, "scores go from nan to nan"),
        ({"scores": half(2, 3, 4) + np.float16(np.inf)}, "scores go from inf"),
        ({"scores": np.zeros((2, 3, 4), np.uint8)}, "scores are uint8; expected float16 or float32"),
        ({"scores": np.zeros((2, 3, 4), np.float64)}, "scores are float64"),
        ({"scores": np.zeros((2, 3, 4), bool)}, "scores are bool"),
        ({"scores": np.zeros((2, 3, 4), ">f2")}, "scores are >f2"),
        ({"scores": half(1, 3, 4)}, r"scores are \(1, 3, 4\) for 2 classes"),
        ({"scores": half(3, 4)}, r"scores are \(3, 4\) for 2 classes"),
        ({"scores": half(2, 0, 4)}, r"scores are \(2, 0, 4\) for 2 classes"),
        ({"scores": half(2, 12, 9)}, r"scores are \(12, 9\) \(h, w\), larger than the image \(9, 12\)"),
        ({"classes": np.zeros(0, np.uint8)}, r"scores are \(2, 3, 4\), but no class is listed"),
        ({"classes": np.array([0, 3], np.uint8)}, r"classes are \[0, 3\]; expected different mask values"),
        ({"classes": np.array([3, 3], np.uint8)}, r"classes are \[3, 3\]"),
        ({"classes": np.array([3, 255], np.uint8)}, r"classes are \[3, 255\]"),
        ({"classes": np.array([3, 259], np.int64)}, r"classes are \[3, 259\]"),
        ({"classes": np.array([3, -1], np.int8)}, r"classes are \[3, -1\]"),
        ({"classes": np.array([3.0, 4.0])}, "classes are float64"),
        ({"classes": np.array(["cat", "dog"])}, "classes are <U3"),
        ({"classes": np.array([[3, 20]], np.uint8)}, r"classes are uint8 \(1, 2\)"),
        ({"size": np.array([9, 0])}, r"size is \(9, 0\)"),
        ({"size": np.array([-9, 12])}, r"size is \(-9, 12\)"),
        ({"size": np.array([9, 12, 3])}, r"size is int64 \(3,\)"),
        ({"size": np.array([9.0, 12.0])}, r"size is float64 \(2,\)"),
        ({"size": np.array([100_000, 100_000])}, r"size is \(100000, 100000\)"),
        ({"strided": half(1, 3, 3)}, r"strided are \(1, 3, 3\) for 2 classes"),
        (
            {"strided": half(2, 3, 3) + np.float16(np.nan)},
            "strided has scores that are negative or not finite",
        ),
        ({"strided": np.zeros((2, 3, 3), np.int8)}, "strided are int8"),
    ],
)
def test_what_is_no_seed_names_file_and_reason(tmp_path, change, message):
    arrays = {name: array for name, array in {**GOOD, **change}.items() if array is not None}
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(ValueError, match=r"a\.npz is not a readable seed file \(.*" + message):
        read_seed(tmp_path, "a")


def header(shape, kind="<f2"):
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": kind, "fortran_order": False, "shape": shape})
    return file.getvalue()


def write_zip(path, scores):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in ("classes", "size"):
            file = io.BytesIO()
            np.save(file, GOOD[name])
            archive.writestr(f"{name}.npy", file.getvalue())
        archive.writestr("scores.npy", scores)


def test_a_header_that_claims_more_than_the_file_has_is_refused_before_memory_is_taken(tmp_path):
    write_zip(tmp_path / "a.npz", header((2, 10**6, 10**6)) + b"\0" * 100)
    with pytest.raises(ValueError, match="array 'scores' claims 4000000000000 bytes, the file has 100"):
        read_seed(tmp_path, "a")
    write_zip(tmp_path / "a.npz", header((2, 3, 4), "|O") + b"\0" * 192)
    with pytest.raises(ValueError, match="array 'scores' holds Python objects"):
        read_seed(tmp_path, "a")
    write_zip(tmp_path / "a.npz", b"no array")
    with pytest.raises(ValueError, match=r"a\.npz is not a readable seed file"):
        read_seed(tmp_path, "a")


def test_a_small_file_with_large_arrays_is_refused_before_it_is_unpacked(tmp_path, monkeypatch):
    monkeypatch.setattr(npz, "LARGEST", 2**20)
    write_zip(tmp_path / "a.npz", header((2, 2**10, 2**10)) + bytes(4 * 2**20))
    assert (tmp_path / "a.npz").stat().st_size < 8_000
    monkeypatch.setattr(np.lib.format, "read_array", lambda *_, **__: pytest.fail("an array was read"))
    with pytest.raises(ValueError, match="its arrays take 4 MiB, more than 1 MiB"):
        read_seed(tmp_path, "a")


@pytest.mark.parametrize("content", [b"", b"not a zip", b"PK\x03\x04 cut"])
def test_a_broken_seed_names_itself(tmp_path, content):
    (tmp_path / "a.npz").write_bytes(content)
    with pytest.raises(ValueError, match=r"a\.npz is not a readable seed file"):
        read_seed(tmp_path, "a")


def test_a_pickled_seed_is_refused(tmp_path):
    np.savez(
        tmp_path / "a.npz", classes=np.array([{"evil": 1}], object), scores=np.zeros(1), size=np.zeros(2)
    )
    with pytest.raises(ValueError, match="not a readable seed file"):
        read_seed(tmp_path, "a")
