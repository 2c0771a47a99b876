"""The refine stage: what it writes, that it resumes, and what it refuses."""

import json
import os
import shutil
import time
from pathlib import Path

import numpy as np
import pytest
from fake_source import FakeSource, write_seeds

from wsss_bench.artifacts.files import mask_path, read_mask, write_mask
from wsss_bench.artifacts.seeds import read_seed, write_seed
from wsss_bench.crf import densecrf
from wsss_bench.readout import threshold_mask
from wsss_bench.refine.base import Refiner
from wsss_bench.refine.densecrf import DenseCRFRefiner
from wsss_bench.refine.pamr import PAMRRefiner
from wsss_bench.refine.threshold import ThresholdRefiner
from wsss_bench.stages.evaluate import evaluate
from wsss_bench.stages.refine import device_of, main, parse, refine


class Dying(Refiner):
    """Refines some images and then breaks."""

    def __init__(self, images: int) -> None:
        self.images = images

    def __call__(self, image, maps):
        self.images -= 1
        if self.images < 0:
            raise OSError("disk full")
        return threshold_mask(maps, 0.3)


class Lacking(Refiner):
    """Reads a file with each image, and has those of the first two."""

    def missing_files(self, image_ids):
        return [Path(f"{image_id}.png") for image_id in image_ids[2:]]

    def __call__(self, image, maps):
        raise AssertionError("never asked")


@pytest.fixture
def source():
    return FakeSource()


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("workers", [0, 1])
def test_masks_are_those_of_the_refiner_and_score_like_the_seeds(source, tmp_path, workers):
    write_seeds(source, tmp_path / "seed" / "seeds")
    refine(
        source, "val", tmp_path / "seed", ThresholdRefiner(0.3), tmp_path / "out", workers, resolved={}
    )  # fmt: skip
    for name in source.ids("val"):
        expected = threshold_mask(read_seed(tmp_path / "seed" / "seeds", name), 0.3)
        np.testing.assert_array_equal(read_mask(mask_path(tmp_path / "out" / "masks", name)), expected)
    assert json.loads((tmp_path / "out" / "stage.json").read_text())["image_count"] == 7
    evaluate(
        source,
        "val",
        masks=tmp_path / "out",
        post="threshold",
        product="pseudo_mask",
        out=tmp_path / "a",
        resolved={},
    )
    evaluate(source, "val", seeds=tmp_path / "seed", threshold=0.3, out=tmp_path / "b", resolved={})
    refined, seed = (json.loads((tmp_path / name / "metrics.json").read_text())["rows"][0] for name in "ab")
    assert refined["iou"] == seed["iou"]
    assert (refined["rule"], refined["post"], refined["headline"]) == ("na", "threshold", True)


@pytest.mark.slow
def test_a_worker_with_torch_writes_the_masks_of_this_process(source, tmp_path):
    write_seeds(source, tmp_path / "seeds")
    for workers in (0, 1):
        refine(source, "val", tmp_path, PAMRRefiner(0.3), tmp_path / f"{workers}", workers, resolved={})
    assert contents(tmp_path / "1" / "masks") == contents(tmp_path / "0" / "masks")


class OnDevice(Refiner):
    """Counts in a list the devices that it is asked to compute on; a list that no worker could share."""

    uses_gpu = True

    def __init__(self, devices):
        self.devices = devices

    def __call__(self, image, maps):
        self.devices.append(self.device)
        return threshold_mask(maps, 0.3)


@pytest.mark.parametrize(
    ("present", "accelerator", "device"),
    [
        (True, "auto", "cuda"),
        (True, "gpu", "cuda"),
        (True, "cpu", "cpu"),
        (False, "auto", "cpu"),
        (False, "cpu", "cpu"),
    ],
)
def test_a_refiner_computes_where_the_accelerator_says(monkeypatch, present, accelerator, device):
    monkeypatch.setattr("torch.cuda.is_available", lambda: present)
    assert device_of(OnDevice([]), accelerator) == device
    assert device_of(ThresholdRefiner(0.3), "auto") == "cpu"


def test_on_a_gpu_there_are_no_workers(source, tmp_path, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    write_seeds(source, tmp_path / "seeds")
    refiner = OnDevice([])
    refine(source, "val", tmp_path, refiner, tmp_path / "out", 2, accelerator="gpu", resolved={})
    assert refiner.devices == ["cuda"] * 7


def test_a_gpu_that_is_not_there_or_not_used_is_refused(source, tmp_path):
    write_seeds(source, tmp_path / "seeds")
    for refiner, message in ((OnDevice([]), "finds no GPU"), (ThresholdRefiner(0.3), "CPU alone")):
        with pytest.raises(ValueError, match=message):
            refine(source, "val", tmp_path, refiner, tmp_path / "out", accelerator="gpu", resolved={})
    assert not (tmp_path / "out").exists()


def test_files_that_a_refiner_lacks_are_found_before_the_first_image(source, tmp_path):
    write_seeds(source, tmp_path / "seeds")
    with pytest.raises(
        FileNotFoundError, match=r"Lacking lacks the files of 5 of the 7 images of split 'val'"
    ):
        refine(source, "val", tmp_path / "seeds", Lacking(), tmp_path / "out", 0, resolved={})
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_a_broken_run_goes_on_where_it_stopped(source, tmp_path):
    write_seeds(source, tmp_path / "seeds")
    refine(source, "val", tmp_path, ThresholdRefiner(0.3), tmp_path / "whole", resolved={})
    with pytest.raises(ValueError, match="image 'image003': OSError: disk full"):
        refine(source, "val", tmp_path, Dying(3), tmp_path / "out", workers=0, resolved={})
    masks = tmp_path / "out" / "masks"
    assert sorted(contents(masks)) == ["image000.png", "image001.png", "image002.png"]
    assert not (tmp_path / "out" / "stage.json").exists()
    mask_path(masks, "image001").write_bytes(b"half a fi")  # not readable
    write_mask(masks, "image002", np.zeros((3, 3), np.uint8))  # another size
    (masks / ".image004.png.x.tmp").write_bytes(b"left by a kill")
    os.utime(mask_path(masks, "image000"), (time.time() - 99, time.time() - 99))
    before = mask_path(masks, "image000").stat().st_mtime
    refine(source, "val", tmp_path, ThresholdRefiner(0.3), tmp_path / "out", resolved={})
    assert contents(masks) == contents(tmp_path / "whole" / "masks")
    assert mask_path(masks, "image000").stat().st_mtime == before


@pytest.mark.slow
def test_ground_truth_is_not_read(tmp_path):
    class Blind(FakeSource):
        def image(self, image_id):
            return np.zeros((*self._size(image_id), 3), np.uint8)

    source = Blind(3, with_masks=False)
    write_seeds(source, tmp_path / "seeds")
    refine(source, "val", tmp_path, ThresholdRefiner(0.3), tmp_path / "out", resolved={})


@pytest.mark.slow
@pytest.mark.skipif(not densecrf.available(), reason="pydensecrf is not installed (make crf)")
def test_the_crf_from_the_command_line(source, tmp_path):
    write_seeds(source, tmp_path / "seeds")
    config = {
        "source": {"class_path": "fake_source.FakeSource", "init_args": {"number": 3}},
        "split": "val",
        "seeds": str(tmp_path),
        "refiner": {
            "class_path": "wsss_bench.refine.densecrf.DenseCRFRefiner",
            "init_args": {
                "threshold": 0.3,
                "crf": {"bilateral_sxy": 10, "bilateral_srgb": 13, "iterations": 2},
            },
        },
        "out": str(tmp_path / "out"),
        "stage": {"experiment": "e", "title": "l", "fingerprint": "f", "inputs": {"seeds": "s"}},
    }
    parse(config)
    (tmp_path / "plan.yaml").write_text(json.dumps(config))
    assert main(["--config", str(tmp_path / "plan.yaml")]) == 0
    refiner = DenseCRFRefiner(0.3, densecrf.CRFConfig(3, 3, 10, 13, 10, 2))  # the rest as IRN
    for name in FakeSource(3).ids("val"):
        expected = refiner(source.image(name), read_seed(tmp_path / "seeds", name))
        np.testing.assert_array_equal(read_mask(mask_path(tmp_path / "out" / "masks", name)), expected)
    manifest = json.loads((tmp_path / "out" / "stage.json").read_text())
    assert manifest["inputs"] == {"seeds": "s"}
    assert manifest["config"]["refiner"]["init_args"]["crf"]["bilateral_srgb"] == 13


@pytest.mark.slow
def test_what_it_refuses(source, tmp_path):
    def run():
        refine(source, "val", tmp_path, ThresholdRefiner(0.3), tmp_path / "out", resolved={})

    write_seeds(source, tmp_path / "seeds")
    maps = read_seed(tmp_path / "seeds", "image002")
    write_seed(tmp_path / "seeds", maps._replace(classes=maps.classes + 7))
    with pytest.raises(ValueError, match=r"image 'image002' has the classes .* the data set has 1\.\.3"):
        run()
    write_seed(tmp_path / "seeds", maps._replace(size=(9, 9)))
    with pytest.raises(ValueError, match=r"image 'image002' .* larger than the image \(9, 9\)"):
        run()
    shutil.rmtree(tmp_path / "seeds")
    with pytest.raises(FileNotFoundError, match="no seed for 7 images of split 'val': image000"):
        run()
