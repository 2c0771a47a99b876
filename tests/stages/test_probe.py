"""Probes of trainings on the small mini world, and the measured costs against torch's counters."""

from __future__ import annotations

from runpy import run_path

import paths
import pytest
import torch

from wsss_bench.methods.cam import CAM
from wsss_bench.plan.costs.networks import network_of
from wsss_bench.stages.probe import STEPS, FirstImages, probe_all
from wsss_bench.types import ImageBatch

pytestmark = pytest.mark.slow
MINI = {"backbone": "package:mini2/resnet.json", "output_stride": 8, "frozen_stages": 0}
SOURCE = {
    "class_path": "wsss_bench.data.sources.voc.VOC",
    "init_args": {"root": "${WSSS_DATA}/mini/voc", "vocabulary": "mini"},
}


def training(model, **changes):
    return {
        "seed_everything": 0,
        "model": model,
        "data": {"source": SOURCE, "global_batch_size": 4, "transform": {"crop_size": 32}},
        "trainer": {"accelerator": "cpu", "devices": 2, "max_epochs": 7, "strategy": "ddp"},
        "out": "runs/stages/planned",
        **changes,
    }


def test_trainings_are_probed_before_their_inputs_exist(mini_data, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    cam = {"class_path": "wsss_bench.methods.cam.CAM", "init_args": {**MINI, "weights": None}}
    segmenter = {
        "class_path": "wsss_bench.segmenters.largefov.DeepLabLargeFOV",
        "init_args": {"backbone": MINI["backbone"], "weights": None, "output_stride": 8, "width": 8},
    }
    lost = {**cam, "init_args": {**cam["init_args"], "weights": "nowhere.pth"}}
    masks = training(segmenter, masks="runs/stages/refine-later")
    masks["data"]["view"] = "mask"
    trainings = [
        {
            "key": "cam",
            "name": "train cam",
            "config": training(cam, warm_start="runs/stages/before"),
            "ranks": 2,
        },
        {"key": "lost", "name": "train lost", "config": training(lost), "ranks": 1},
        {"key": "masks", "name": "segment cam", "config": masks, "ranks": 1},
    ]
    lines = []
    found = probe_all(trainings, tmp_path / "probes", lines.append)
    assert set(found) == {"cam", "masks"}
    assert all(0 < probe["seconds"] < 5 and probe["memory"] is None for probe in found.values())
    assert lines[0].startswith("train cam: 0.")
    assert lines[1].startswith("train lost: not measured: ")
    assert "nowhere.pth" in lines[1]
    drawn = list((tmp_path / "probes" / "2" / "masks").rglob("*.png"))
    assert len(drawn) == 40  # all images of the split: fewer than 20 steps read
    assert not list((tmp_path).rglob("*.ckpt"))
    assert not (tmp_path / "runs").exists()


def test_a_probe_of_masks_reads_the_first_images_only(mini_data):
    from wsss_bench.data.check import load_source

    source = load_source(SOURCE)
    few = FirstImages(source, 3)
    assert few.ids("train") == source.ids("train")[:3]
    assert few.class_names == source.class_names
    assert STEPS > 1


@pytest.mark.parametrize(("images", "side"), [(3, 160), (5, 72)])
def test_saved_activations_and_flop_of_another_size_are_within_a_tenth(images, side):
    count = run_path(str(paths.ROOT / "benchmarks" / "costs" / "counting.py"))["count"]
    method = CAM([f"class{i}" for i in range(8)], weights=None, **MINI).train()
    batch = ImageBatch(
        [str(i) for i in range(images)],
        torch.rand(images, 3, side, side),
        torch.ones(images, 8),
        torch.ones(images, side, side, dtype=torch.bool),
    )
    kept = [*method.parameters(), *method.buffers()]
    found = count(lambda: sum(method.training_loss(batch).values()).backward(), kept)
    step = network_of({"class_path": "wsss_bench.methods.cam.CAM", "init_args": MINI}).step
    assert step.saved_bytes(images, (side / 1000) ** 2, 8) == pytest.approx(found.bytes, rel=0.1)
    assert step.flop(images, (side / 1000) ** 2, 8) == pytest.approx(found.flop, rel=0.1)
    assert found.calls == pytest.approx(step.calls, rel=0.1)


def test_the_counter_counts_what_autograd_keeps():
    count = run_path(str(paths.ROOT / "benchmarks" / "costs" / "counting.py"))["count"]
    weight, image = torch.ones(4, 4, requires_grad=True), torch.ones(2, 4)
    found = count(lambda: (image @ weight).square().sum().backward(), [weight])
    # kept: the image (2 x 4 floats) for the gradient of the weight, and the product for that of the square
    assert found.bytes == 2 * (2 * 4 * 4)
    assert found.flop == 2 * (2 * 2 * 4 * 4)  # the product, and the gradient of the weight
