"""What a training step and a prediction cost on this GPU: `python benchmarks/gpu.py`.

It needs no data and no weights. Every method, segmenter and refiner network is built as it is configured for
VOC, at full size and with its own batch size, with random weights, and sees random pictures: neither changes
what a step costs. The table has

- the time of a step (forward pass, all losses, backward pass, update) and the images in a second, with the
  batch on the device already: loading is measured by `make perf`;
- the largest memory that was allocated, in GiB;
- the rate of the step, and its share of the rate that one large matrix product reaches here. The operations
  are those of the cost model (`plan/costs/measured.json`), within a tenth;
- the time in which one image is predicted, at all scales, as seed and as segmentation.

A network that fails, for example because the memory is too small, has its reason in the place of figures.
`--data mini --accelerator cpu` runs the same on the mini networks and a CPU.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import redirect_stdout
from functools import partial
from io import StringIO
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.utilities import move_data_to_device

from wsss_bench.errors import explain
from wsss_bench.inference import predict
from wsss_bench.methods.base import Method
from wsss_bench.methods.image_prediction import PredictionSettings
from wsss_bench.methods.optim import build_optimizer
from wsss_bench.plan.config import NetworkSpec
from wsss_bench.plan.costs.networks import network_of
from wsss_bench.plan.reader import read_configs
from wsss_bench.types import InferenceSample

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "benchmarks" / "costs"))  # the scripts there import each other

from networks import WORLDS, build, config_of, references_of, shipped  # noqa: E402

FIRST = 3
"""Steps that are not timed: kernels are chosen and memory is reserved in them."""
PRODUCT_SIDE = {"cuda": 8192, "cpu": 1024}
"""Rows and columns of the matrices whose product is the peak."""
HEAD = ("network", "images", "crop", "ms a step", "images/s", "GiB", "TFLOP/s", "of peak")
PREDICTED = ("ms a seed", "ms a segmentation")


class Timer:
    """Times work on a device.

    Args:
        device: `cuda` or `cpu`.
        bf16: Whether to compute in bfloat16 where autocast says so.
        repeats: Number of timed runs.
    """

    def __init__(self, device: str, bf16: bool, repeats: int) -> None:
        self.device, self.bf16, self.repeats = device, bf16, repeats

    def seconds(self, work: Callable[[], Any]) -> float:
        """Of one run: the mean of the runs after the first ones."""
        for _ in range(FIRST):
            self._run(work)
        started = self._now()
        for _ in range(self.repeats):
            self._run(work)
        return (self._now() - started) / self.repeats

    def peak(self) -> float:
        """FLOP/s of a large matrix product."""
        side = PRODUCT_SIDE[self.device]
        matrix = torch.randn(side, side, device=self.device)
        if self.bf16:
            matrix = matrix.bfloat16()
        return 2 * side**3 / self.seconds(lambda: matrix @ matrix)

    def _run(self, work: Callable[[], Any]) -> None:
        # as Lightning does, which casts a weight anew wherever it is used
        with torch.autocast(self.device, torch.bfloat16, enabled=self.bf16, cache_enabled=False):
            work()

    def _now(self) -> float:
        if self.device == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter()


def main() -> int:
    """Print the table; 1 without the asked device."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--accelerator", choices=("gpu", "cpu"), default="gpu")
    parser.add_argument(
        "--data", choices=sorted(WORLDS), default="voc", help="configurations of this data set"
    )
    parser.add_argument(
        "--only", default="", metavar="TEXT", help="part of the names of files, such as dalnet"
    )
    parser.add_argument("--precision", choices=("bf16-mixed", "32-true"), default="bf16-mixed")
    parser.add_argument("--repeats", type=int, default=10, help="timed steps of each network")
    options = parser.parse_args()
    device = "cuda" if options.accelerator == "gpu" else "cpu"
    if device == "cuda" and not torch.cuda.is_available():
        print(
            "torch sees no GPU; `wsss-bench doctor` says why. --accelerator cpu measures a CPU",
            file=sys.stderr,
        )
        return 1
    timer = Timer(device, options.precision != "32-true", options.repeats)
    peak = timer.peak()
    name = torch.cuda.get_device_name() if device == "cuda" else f"CPU, {torch.get_num_threads()} threads"
    print(
        f"{name}, torch {torch.__version__}, {options.precision}, "
        f"{peak / 1e12:.3g} TFLOP/s in a matrix product"
    )
    print(_line((*HEAD, *PREDICTED)), _line(["---"] * (len(HEAD) + len(PREDICTED))), sep="\n")
    folder = read_configs(ROOT / "configs")
    for file, dataset, content in shipped(folder, folder.trainer("cpu")):
        if dataset == options.data and options.only in file:
            try:
                cells = [*_row(timer, peak, dataset, content)]
            except Exception as error:  # the others are still measured
                cells = [explain(error) or f"{type(error).__name__}: {error}".splitlines()[0]]
            print(_line((file.partition("/")[2], *cells)), flush=True)
    return 0


def _row(timer: Timer, peak: float, dataset: str, content: Any) -> Iterator[str]:
    """The cells of a network after its name."""
    config = config_of(dataset, content)
    with redirect_stdout(StringIO()):
        method, data = build(config)
    method.to(timer.device)
    if method.batch_type is None:
        yield from ["-"] * (len(HEAD) - 1)
    else:
        batch = move_data_to_device(next(iter(data.train_dataloader())), torch.device(timer.device))
        images, side = data.global_batch_size, data.transform.crop_size
        if timer.device == "cuda":
            torch.cuda.reset_peak_memory_stats()
        optimizer = build_optimizer(method.parameter_groups(), method.optim)
        seconds = timer.seconds(lambda: _step(method, optimizer, batch))
        memory = torch.cuda.max_memory_allocated() / 2**30 if timer.device == "cuda" else None
        network = network_of(config["model"])
        flop = network.step.flop(images, (side / 1000) ** 2, len(method.class_names)) if network else None
        yield from (str(images), str(side), f"{seconds * 1e3:.4g}", f"{images / seconds:.3g}")
        yield "-" if memory is None else f"{memory:.1f}"
        yield from (
            ("-", "-")
            if flop is None
            else (
                f"{flop / seconds / 1e12:.3g}",
                f"{flop / seconds / peak:.0%}",
            )
        )
        del batch, optimizer
    method.eval().zero_grad(set_to_none=True)
    if isinstance(content, NetworkSpec):  # of a refiner, which makes neither product
        yield from ("-", "-")
        return
    inference = PredictionSettings.from_plain({"inference": {**content.inference}}).inference
    image_id = data.source.ids("val")[0]
    sample = InferenceSample(image_id, data.source.image(image_id), data.source.labels(image_id))
    if inference.references:
        sample = sample._replace(references=references_of(config, data))
    for product in ("seed", "segmentation"):
        if not method.makes(product):
            yield "-"
            continue
        with torch.inference_mode(not method.gradients_at_inference):
            seconds = timer.seconds(partial(predict, method, [sample], product, inference))
        yield f"{seconds * 1e3:.4g}"


def _step(method: Method, optimizer: torch.optim.Optimizer, batch: Any) -> None:
    loss = torch.stack([loss.float() for loss in method.training_loss(batch).values()]).sum()
    optimizer.zero_grad()
    with torch.autocast(loss.device.type, enabled=False):
        loss.backward()
    optimizer.step()


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    sys.exit(main())
