"""Steps and predictions in bfloat16 are those of float32, up to what bfloat16 rounds.

`benchmarks/bf16.py` compares whole trainings.
"""

from dataclasses import replace
from functools import cache

import numpy as np
import paths
import pytest
import torch
from mask_networks import REFINERS, SEGMENTERS, network

from wsss_bench.contract.configuration import CPU
from wsss_bench.contract.subject import Subject, total
from wsss_bench.contract.world import FEW
from wsss_bench.inference import predict
from wsss_bench.inference_config import InferenceConfig
from wsss_bench.plan.reader import read_configs
from wsss_bench.readout import threshold_mask

pytestmark = pytest.mark.slow

FOLDER = read_configs(paths.CONFIGS)
CONTENTS = {name: FOLDER.method(name, "mini", CPU) for name in FOLDER.methods()}
METHODS = sorted({content.model.class_path: name for name, content in CONTENTS.items()}.values())
"""One of each class."""
TRAINED = [name for name in METHODS if CONTENTS[name].bench.trains]
IN_FLOAT32 = {"mcis", "mcis_group", "weclip"}
"""Those that train in float32 in every precision."""
SEEDS_IN_FLOAT32 = {"clip_es", "excel_static"}
"""Those whose seeds are float32 in every precision: maps spread in boxes, which rounding moves."""


@cache
def subject(name, world):
    return Subject(name, CONTENTS[name], world) if name in CONTENTS else network(name, world)


def step(one, half):
    method = one.fresh(late=True).train()
    with torch.autocast("cpu", torch.bfloat16, enabled=half):
        losses = method.training_loss(one.batch)
    total(losses).backward()
    gradients = torch.cat([p.grad.flatten() for p in method.parameters() if p.grad is not None])
    return {name: loss.item() for name, loss in losses.items()}, gradients


@pytest.mark.parametrize("name", [*TRAINED, *SEGMENTERS, *REFINERS])
def test_a_step_is_that_of_float32(name, mini_data):
    one = subject(name, mini_data / "mini")
    (losses, gradients), (expected, in_full) = step(one, True), step(one, False)
    assert losses == pytest.approx(expected, rel=0.01, abs=2e-3)
    assert gradients.isfinite().all()
    assert torch.cosine_similarity(gradients, in_full, 0) > 0.99
    assert torch.equal(gradients, in_full) == (name in IN_FLOAT32)


@pytest.mark.parametrize("name", [*METHODS, *SEGMENTERS])  # refiners predict in float32 always
def test_masks_are_those_of_float32(name, mini_data):
    one = subject(name, mini_data / "mini")
    method = one.trained[0].eval() if one.trains else one.fresh().eval()
    config = InferenceConfig(**one.content.inference)
    one.data.predict_on(FEW, labelled=True, references=2)
    samples = [sample for chunk in one.data.predict_dataloader() for sample in chunk][:3]
    for product in one.products:
        masks = []
        for precision in (None, "bf16"):
            with torch.inference_mode():
                found = [
                    predict(method, [sample], product, replace(config, precision=precision))[0]
                    for sample in samples
                ]
            masks.append([mask_of(maps, one) for maps in found])
        equal = np.mean([np.mean(own == other) for own, other in zip(*masks, strict=True)])
        assert equal >= 0.99, f"{product}: {equal:.4f}"
        assert (product, equal) == ("seed", 1.0) or name not in SEEDS_IN_FLOAT32


def mask_of(maps, one):
    if isinstance(maps, dict):
        return maps["ms"].argmax(0).numpy()
    return threshold_mask(maps, one.content.bench.threshold or 0.4)
