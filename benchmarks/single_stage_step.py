"""Time and memory of one training step of the full-size single-stage methods: `python
benchmarks/single_stage_step.py`.

ViT-B/16, four crops of 448 pixels, all losses switched on, random weights, text features of the mini CLIP
(only their width matters here). The ratio is to a step of the same encoder with the classification loss only.
On a CPU one step takes minutes; `--crop 96` is faster. Not part of `make perf`.
"""

from __future__ import annotations

import argparse
import resource
import time
import warnings
from collections.abc import Callable

import torch
from records import recorded
from torch import Tensor
from torch.nn import functional as F

from wsss_bench.methods.optim import OptimConfig, build_optimizer
from wsss_bench.methods.single_stage import dalnet, toco
from wsss_bench.methods.single_stage.base import SingleStageMethod
from wsss_bench.methods.single_stage.dalnet_texts import TextConfig
from wsss_bench.types import ImageBatch
from wsss_bench.vocabulary import load

IMAGES = 4
LABELS = [[0], [3, 14], [5], [7]]


def build(name: str, crop: int) -> SingleStageMethod:
    """The method as in its VOC configuration, except for weights, texts and start steps.

    Local crops have the same size relative to the crop.
    """
    optim = OptimConfig("adamw", 6e-5, weight_decay=1e-2)
    if name == "toco":
        local = toco.CTCConfig(crop_size=crop * 96 // 448 // 16 * 16)
        return toco.ToCo(load("voc"), optim, weights=None, ctc=local, start=toco.StartSteps(0, 0, 0))
    with warnings.catch_warnings():
        # the mini CLIP does not know the classes of VOC
        warnings.simplefilter("ignore")
        return dalnet.DALNet(
            load("voc"),
            optim,
            weights=None,
            text=TextConfig("package:mini/clip"),
            start=dalnet.StartSteps(0, 0, 0),
        )


def batch_of(crop: int, device: str) -> ImageBatch:
    labels = torch.zeros(IMAGES, 20)
    for row, present in zip(labels, LABELS, strict=True):
        row[present] = 1
    return ImageBatch(
        [str(number) for number in range(IMAGES)],
        torch.rand(IMAGES, 3, crop, crop, generator=torch.Generator().manual_seed(0)).to(device),
        labels.to(device),
        torch.ones(IMAGES, crop, crop, dtype=torch.bool, device=device),
    )


def seconds(loss_of: Callable[[], Tensor], method: SingleStageMethod, options: argparse.Namespace) -> float:
    """Seconds of one forward pass, backward pass and update: wall-clock time on a GPU, CPU time otherwise."""
    optimizer = build_optimizer(method.parameter_groups(), method.optim)
    cuda = options.device == "cuda"
    clock = time.perf_counter if cuda else time.process_time

    def step() -> None:
        with torch.autocast(options.device, torch.bfloat16, enabled=options.precision == "bf16"):
            loss = loss_of()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if cuda:
            torch.cuda.synchronize()

    # the first steps on a GPU are slow
    for _ in range(options.steps - 1):
        step()
    started = clock()
    step()
    return clock() - started


def memory(device: str) -> float:
    """Peak memory in GiB, of the GPU or of this process."""
    if device == "cuda":
        return torch.cuda.max_memory_allocated() / 2**30
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("method", nargs="?", choices=("dalnet", "toco"), default="dalnet")
    parser.add_argument("--crop", type=int, default=448)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--precision", choices=("32", "bf16"), default="32")
    parser.add_argument("--steps", type=int, default=1, help="number of steps; the last one is timed")
    options = parser.parse_args()
    torch.set_num_threads(1)
    method = build(options.method, options.crop).to(options.device).train()
    batch = batch_of(options.crop, options.device)
    count = sum(parameter.numel() for parameter in method.parameters() if parameter.requires_grad)

    def classify() -> Tensor:
        main, auxiliary = method.network.class_logits(method.network.encode(batch.image))
        return sum(F.multilabel_soft_margin_loss(logits, batch.labels) for logits in (main, auxiliary))

    plain = seconds(classify, method, options)
    alone = memory(options.device)
    whole = seconds(lambda: sum(method.training_loss(batch).values()), method, options)
    with recorded(__file__) as record:
        record(
            f"training step of full-size {options.method} ({count / 1e6:.1f} M parameters, four crops of "
            f"{options.crop}, {options.precision}, {options.device}) against classification alone",
            f"{whole / plain:.1f}x: {whole:.1f} s and {memory(options.device):.2f} GiB, "
            f"{plain:.1f} s and {alone:.2f} GiB",
        )


if __name__ == "__main__":
    main()
