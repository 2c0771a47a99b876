"""Segmenters, the networks of refiners and the prediction of images meet the checks of the contract on GPUs.

Methods meet them in `tests/methods/test_contract.py`.
"""

import numpy as np
import paths
import pytest
import torch
from mask_networks import CAM, FOLDER, REFINERS, SEGMENTERS, network

from wsss_bench import bicubic
from wsss_bench.callbacks import predicted_mask
from wsss_bench.contract.checks import run_check
from wsss_bench.contract.configuration import CPU
from wsss_bench.contract.device_watch import DeviceWatch
from wsss_bench.contract.subject import Subject
from wsss_bench.inference import predict
from wsss_bench.inference_config import InferenceConfig
from wsss_bench.types import InferenceSample

pytestmark = pytest.mark.slow

CHECKS = (
    "steps_do_not_wait_for_a_gpu",
    "steps_stay_on_their_device",
    "maps_do_not_wait_for_a_gpu",
    "tensors_move_with_the_method",
)


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("name", [*SEGMENTERS, *REFINERS])
def test_a_network_is_ready_for_a_gpu(name, check, mini_data):
    run_check(check, network(name, mini_data / "mini"), lambda: None)


def test_every_segmenter_and_every_network_of_a_refiner_is_checked():
    of_files = {
        kind: {path.name.split(".")[0] for path in (paths.CONFIGS / kind).glob("*.yaml")}
        for kind in ("segmenters", "refine")
    }
    assert of_files["segmenters"] - {"deeplabv2_cocoinit"} == set(SEGMENTERS)  # it has the class of deeplabv2
    trained = {name for name in of_files["refine"] if FOLDER.refiner(name, "mini", CPU).network}
    assert trained == set(REFINERS)


def waits_of(method, product, config, image):
    """Waits of a prediction of an image: a pretended GPU resizes it by tensors."""
    labels = np.zeros(8, np.float32)
    labels[[1, 4]] = 1
    sample = InferenceSample("a", image, labels if product == "seed" else None)
    with torch.inference_mode():
        predict(method, [sample], product, config)
        with DeviceWatch() as watch:
            found = predict(method, [sample], product, config)
            masks = (
                []
                if product == "seed"
                else [predicted_mask("a", maps, "present") for maps in found[0].values()]
            )
    assert not watch.mixtures
    return watch.waits.total() - 2 * len(masks), watch


@pytest.mark.parametrize("size", [(75, 101), (96, 96)])
def test_a_prediction_waits_for_its_results_alone(size, mini_data, monkeypatch):
    monkeypatch.setattr(bicubic, "resize_by_pillow", bicubic.resize_by_tensors)
    image = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    config = InferenceConfig((1.0, 0.5), multi_scales=(1.0, 0.5))
    cam = Subject("cam", CAM, mini_data / "mini").fresh().eval()
    waits, watch = waits_of(cam, "seed", config, image)
    assert waits == 1, watch.waits
    segmenter = network("deeplabv2", mini_data / "mini").fresh().eval()
    waits, watch = waits_of(segmenter, "segmentation", config, image)
    assert waits == 0, watch.waits  # but two of the mask and the scores of the CRF, for each read-out
