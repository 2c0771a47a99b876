"""Pickles of other people: arrays and plain containers are read, anything else is named and not run."""

from __future__ import annotations

import builtins
import io
import os
import pickle
import shutil
import struct

import numpy as np
import pytest
import torch

from wsss_bench.exchange import array_pickle
from wsss_bench.exchange.cam_files import read_cams

MAPS = np.random.default_rng(0).random((2, 375, 500)).astype(np.float32)
RUN: list[str] = []


class Own:
    """A class whose objects call a function of their choice when they are unpickled."""

    def __init__(self, function, *arguments):
        self.call = (function, arguments)

    def __reduce__(self):
        return self.call


def run_me(*words):
    RUN.append("run")
    return np.zeros(1)


def file_with(tmp_path, pickled: bytes):
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "|O", "fortran_order": False, "shape": ()})
    path = tmp_path / "cam.npy"
    path.write_bytes(header.getvalue() + pickled)
    return path


def wrapped(content, protocol=4):
    array = np.empty((), object)
    array[()] = content
    return pickle.dumps(array, protocol)


@pytest.mark.parametrize("protocol", range(5))
@pytest.mark.parametrize("package", [b"numpy._core", b"numpy.core"])
def test_arrays_of_all_numpy_versions_are_read_as_they_are(tmp_path, protocol, package):
    content = {
        "keys": np.array([3, 7]),
        "high_res": np.asfortranarray(MAPS),
        "cam": MAPS.astype(">f2")[:, ::4, ::4],
        "n": np.float64(2.5),
        "size": (375, 500),
        "more": [1, "two", None, True],
    }
    pickled = wrapped(content, protocol)
    if protocol < 4:  # names end with a line there
        pickled = pickled.replace(b"numpy._core", package)
    read = array_pickle.read_pickled_object(io.BytesIO(pickled))
    assert read.keys() == content.keys()
    for key, value in content.items():
        np.testing.assert_array_equal(read[key], value)
    assert read["cam"].dtype == ">f2"
    cams = read_cams(file_with(tmp_path, pickled))
    assert cams.keys == [3, 7]
    np.testing.assert_array_equal(cams.maps, MAPS)


@pytest.mark.parametrize(
    ("planted", "named"),
    [
        (Own(os.system, "touch {place}"), f"{os.system.__module__}.system"),
        (Own(eval, "open('{place}', 'w')"), "builtins.eval"),
        (Own(exec, "open('{place}', 'w')"), "builtins.exec"),
        (Own(getattr, np, "save"), "builtins.getattr"),
        (Own(shutil.rmtree, "{place}"), "shutil.rmtree"),
        (Own(run_me), "test_array_pickle.run_me"),
        (Own(np.load, "{place}"), "numpy.load"),
        (Own(np.fromfile, "{place}"), "numpy._core.multiarray.fromfile"),
        (range(3), "builtins.range"),
        (io.BytesIO(b"x"), "_io.BytesIO"),
        (np.ma.zeros(3), "numpy.ma._mareconstruct"),
    ],
)
@pytest.mark.parametrize("depth", range(3))
def test_what_a_pickle_asks_for_is_named_and_not_run(tmp_path, planted, named, depth):
    place = tmp_path / "was_run"
    if isinstance(planted, Own):
        function, words = planted.call
        planted = Own(function, *(w.format(place=place) if isinstance(w, str) else w for w in words))
        if function is getattr:
            planted = Own(function, {}, "update")
    content = [planted, {"keys": np.array([1]), "high_res": planted}, {"keys": [[{"a": (planted,)}]]}][depth]
    path = file_with(tmp_path, wrapped(content))
    before = set(tmp_path.iterdir())
    with pytest.raises(ValueError, match=r"asks to call .*it was not called") as refused:
        read_cams(path)
    assert f"asks to call {named.split('.')[0]}" in str(refused.value)
    assert named.rpartition(".")[2] in str(refused.value)
    assert set(tmp_path.iterdir()) == before
    assert not RUN


def test_dictionaries_with_tensors_are_read_as_the_scripts_of_irn_and_clims_save_them(tmp_path):
    maps = torch.from_numpy(MAPS)
    content = {"keys": torch.tensor([3, 7]), "cam": maps[:, ::4, ::4], "high_res": MAPS}
    np.save(tmp_path / "cam.npy", content)
    cams = read_cams(tmp_path / "cam.npy")
    assert cams.keys == [3, 7]
    np.testing.assert_array_equal(cams.maps, MAPS)
    np.testing.assert_array_equal(cams.strided, MAPS[:, ::4, ::4])
    for kind in (torch.float16, torch.float64):
        np.save(tmp_path / "cam.npy", {0: maps[0].to(kind), 5: maps[1].to(kind).t().contiguous().t()})
        assert read_cams(tmp_path / "cam.npy").keys == [0, 5]


@pytest.mark.filterwarnings("ignore:TypedStorage is deprecated")
@pytest.mark.parametrize(
    "layout", [(0, (9, 9), (9, 1)), (3, (2, 4), (4, 1)), (0, (8,), (3,)), (0, (99,), (0,)), (-1, (2,), (1,))]
)
def test_a_tensor_that_claims_more_than_its_numbers_is_refused(layout, tmp_path):
    rebuilt = Own(torch._utils._rebuild_tensor_v2, torch.arange(8.0).storage(), *layout, False, {})
    with pytest.raises(ValueError, match=r"a tensor of the shape .* numbers"):
        read_cams(file_with(tmp_path, wrapped({"keys": np.array([1]), "cam": rebuilt})))


def test_a_storage_runs_no_code_either(tmp_path):
    inner = io.BytesIO()
    torch.save(Own(run_me, "x"), inner)
    stored = Own(torch.storage._load_from_bytes, inner.getvalue())
    with pytest.raises(ValueError, match="cannot be read as CAMs"):
        read_cams(file_with(tmp_path, wrapped({"keys": stored})))
    assert not RUN


def admitted_class_changed(name: bytes) -> bytes:
    """A pickle that sets attributes of a class that it may name."""
    return b"\x80\x02" + name + b"(N}X\x04\x00\x00\x00evilK\x01st" + b"b."


@pytest.mark.parametrize(
    "pickled",
    [
        admitted_class_changed(b"cnumpy\ndtype\n"),
        admitted_class_changed(b"cnumpy.core.multiarray\n_reconstruct\n"),
        admitted_class_changed(b"cnumpy.core.multiarray\nscalar\n"),
        admitted_class_changed(b"c_codecs\nencode\n"),
        admitted_class_changed(b"ccollections\nOrderedDict\n"),
        admitted_class_changed(b"cnumpy\nndarray\n"),
        b"\x80\x04\x96" + struct.pack("<Q", 2**40) + b"x.",  # a byte array of a terabyte
        b"\x80\x04\x8e" + struct.pack("<Q", 2**40) + b"x.",  # and bytes
        b"\x80\x02Nr" + struct.pack("<I", 2**31) + b".",  # two thousand million remembered objects
        b"\x80\x02\x82\x01.",  # a number of the extension registry
        b"\x80\x02X\x01\x00\x00\x00aQ.",  # a persistent id
        b"",
        b"\x80\x04}",
        wrapped({"keys": np.array([1]), "high_res": MAPS})[:-9999],
        wrapped(np.zeros(3)),
        wrapped(np.array([{}, {}])),
        wrapped({"keys": np.array(["a"]), "high_res": MAPS[:1]}),
        wrapped({"keys": np.array([1]), "high_res": np.zeros(3, "i4,f4")}),
        wrapped({1: None}),
        wrapped({1: [MAPS[0]]}),
        wrapped({b"\x00": MAPS[0]}),
    ],
)
def test_other_pickles_are_refused_and_take_no_memory(tmp_path, pickled):
    with pytest.raises(ValueError, match=r"cannot be read as CAMs|asks to call a persistent id"):
        read_cams(file_with(tmp_path, pickled))
    for standin in (*array_pickle.ADMITTED.values(), builtins.dict):
        assert not hasattr(standin, "evil")


def test_the_bytes_of_an_array_must_be_as_many_as_its_shape_says():
    number = array_pickle._Type("f4")
    for shape in ((10**9, 10**9), (2,), (-1, -1), (1.0,)):
        with pytest.raises(ValueError, match="array"):
            number.numbers(b"\0\0\0\0", shape)
