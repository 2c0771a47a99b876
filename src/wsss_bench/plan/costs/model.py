"""The cost of a stage before it ran: steps x max(loading, FLOP / rate) + fixed cost (docs/cost.md)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from wsss_bench.artifacts.data_reads import BATCH_SIZE, CROP_SIZE
from wsss_bench.plan.costs.data_facts import DataFacts
from wsss_bench.plan.costs.devices import CALL_SECONDS, Device
from wsss_bench.plan.costs.images import seconds_of
from wsss_bench.plan.costs.networks import Network, Pass, network_of
from wsss_bench.plan.costs.schedule import passes_of, schedule_of
from wsss_bench.processes import MOST_LOADERS

FIXED_SECONDS = 1.0
"""Start and end of a stage in the local launcher."""
CONTEXT_BYTES = 0.7 * 2**30
"""What CUDA and its libraries hold on a GPU: an assumption."""


@dataclass(frozen=True)
class Run:
    """What a stage runs on.

    Args:
        device: The device.
        ranks: Devices of the stage.
        precision: `trainer.precision`.
    """

    device: Device
    ranks: int = 1
    precision: str = "32-true"

    @property
    def is_mixed(self) -> bool:
        return self.device.is_gpu and "16" in self.precision


def seconds(stage_kind: str, config: Mapping[str, Any], data: DataFacts, run: Run) -> float | None:
    """Wall seconds of a stage; None if its network, its refiner or the length of its split is not known."""
    count = data.counts.get(_split(stage_kind, config))
    estimate = ESTIMATES[stage_kind]
    if count is None:
        return None
    found = estimate(config, data, run, count)
    return None if found is None else FIXED_SECONDS + found


def step_seconds(config: Mapping[str, Any], data: DataFacts, run: Run) -> float | None:
    """Seconds of one training step; None for a network that was not measured."""
    network = network_of(config["model"])
    if network is None or network.step is None or network.loading is None:
        return None
    images, side = images_of_step(config, run.ranks), crop_of(config)
    computing = compute_seconds(network, network.step, run, images, (side / 1000) ** 2, data.classes)
    loading = images * network.loading.scaled(side)
    workers = config["data"].get("num_workers")
    if workers is None:  # as the data module chooses
        workers = min(MOST_LOADERS, run.device.cores) if run.device.is_gpu else 0
    return max(loading / workers, computing) if workers else loading + computing


def training_seconds(config: Mapping[str, Any], data: DataFacts, step: float, count: int) -> float:
    """Seconds of a whole training, from those of a step. A validated image costs a third of a trained one."""
    schedule = schedule_of(config["data"], config["trainer"], count)
    validated = 0 if config.get("masks") else schedule.validations
    share = data.counts.get(str(config["data"].get("val_split", "val")), 0) / batch_of(config)
    return step * (schedule.steps + validated * share / 3)


def training_memory(config: Mapping[str, Any], data: DataFacts, run: Run) -> float | None:
    """Bytes on each GPU: weights, gradients, state of the optimiser and what autograd saves.

    None for a network that was not measured.
    """
    network = network_of(config["model"])
    if network is None or network.step is None:
        return None
    images, pixels = images_of_step(config, run.ranks), (crop_of(config) / 1000) ** 2
    saved = network.step.saved_bytes(images, pixels, data.classes)
    weights = 4 * network.parameters + (4 + state_bytes(config)) * network.trained
    copies = 0.0
    if run.is_mixed:
        saved *= network.bf16_share
        copies = 2 * (1 - network.step.float32_share) * network.parameters
    return weights + copies + saved + CONTEXT_BYTES


def images_of_step(config: Mapping[str, Any], ranks: int) -> float:
    """Images of a training step on each device."""
    return batch_of(config) / ranks


def crop_of(config: Mapping[str, Any]) -> int:
    """Side of the training crop in pixels."""
    return int((config["data"].get("transform") or {}).get("crop_size", CROP_SIZE))


def compute_seconds(
    network: Network, one: Pass, run: Run, images: float, megapixels: float, classes: int = 0
) -> float:
    """Seconds of one pass. On a GPU it takes at least the time in which its operators are started."""
    full, mixed = (
        one.flop(images, megapixels, classes)
        / run.device.rate(precision, network.attention, network.cpu_rate)
        for precision in ("32-true", run.precision)
    )
    computing = one.float32_share * full + (1 - one.float32_share) * mixed
    return max(computing, one.calls * CALL_SECONDS) if run.device.is_gpu else computing


def _fit(config: Mapping[str, Any], data: DataFacts, run: Run, count: int) -> float | None:
    step = step_seconds(config, data, run)
    return None if step is None else training_seconds(config, data, step, count)


def _predict(config: Mapping[str, Any], data: DataFacts, run: Run, count: int) -> float | None:
    product = config["product"]
    network, reading = network_of(config["model"]), seconds_of(product, data.megapixels, data.classes)
    if network is None or reading is None or product not in network.forward:
        return None
    forward = network.forward[product]
    network_seconds = sum(
        number * compute_seconds(network, forward, run, images, pixels, data.classes)
        for images, pixels, number in passes_of(config, product, data.size)
    )
    return count * (network_seconds + reading) / run.ranks


def _crf(config: Mapping[str, Any], data: DataFacts, run: Run, count: int) -> float | None:
    """On all cores of the stage. Published read-outs, which few cells have, are not counted."""
    each = seconds_of("crf", data.megapixels, data.classes)
    return None if each is None else count * each / run.device.cores


def _refine(config: Mapping[str, Any], data: DataFacts, run: Run, count: int) -> float | None:
    """On all cores of the stage. A refiner that computes on a GPU instead is taken to be as fast as these
    cores, which was not measured.
    """
    work = f"refine {config['refiner']['class_path']}"
    each = seconds_of(work, data.megapixels, data.classes)
    return None if each is None else count * each / run.device.cores


def _evaluate(config: Mapping[str, Any], data: DataFacts, run: Run, count: int) -> float | None:
    if "seeds" in config:
        each, folders = seconds_of("evaluate seeds", data.megapixels, data.classes), 1
    else:  # a segmentation has four read-outs
        each = seconds_of("evaluate masks", data.megapixels, data.classes)
        folders = 4 if config.get("product") == "segmentation" else 1
    return None if each is None else count * each * folders


ESTIMATES: dict[str, Callable[[Mapping[str, Any], DataFacts, Run, int], float | None]] = {
    "train": _fit,
    "segment": _fit,
    "affinity": _fit,
    "seed": _predict,
    "predict": _predict,
    "crf": _crf,
    "refine": _refine,
    "evaluate": _evaluate,
}


def _split(stage_kind: str, config: Mapping[str, Any]) -> str:
    return str(
        config["data"].get("train_split", "train") if ESTIMATES[stage_kind] is _fit else config["split"]
    )


def batch_of(config: Mapping[str, Any]) -> int:
    """Images of a training step on all devices."""
    return int(config["data"].get("global_batch_size", BATCH_SIZE))


def state_bytes(config: Mapping[str, Any]) -> int:
    """Bytes that the optimiser keeps for each trained parameter."""
    optim = config["model"]["init_args"].get("optim") or {}
    if optim.get("name", "sgd") == "adamw":
        return 8
    return 4 if optim.get("momentum") else 0
