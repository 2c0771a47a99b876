"""The costs of the stages of a plan: recorded, from a probe on this machine, or by the model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from wsss_bench.plan.costs import model
from wsss_bench.plan.costs.calibration import Probe, probe_key
from wsss_bench.plan.costs.data_facts import DataFacts, facts_of
from wsss_bench.plan.costs.devices import CPU, Device
from wsss_bench.plan.costs.model import Run
from wsss_bench.plan.plan import Plan, Stage, StageFolder
from wsss_bench.plan.sizes import stage_size

Origin = Literal["recorded", "calibrated", "model", ""]
GIB = 2**30


@dataclass(frozen=True)
class StageCost:
    """What a stage will cost.

    Args:
        seconds: Wall seconds; None if unknown.
        origin: Where the seconds come from; empty if they are unknown.
        memory: Bytes on each GPU, of a training; None if unknown, or on a CPU.
        disk: Bytes that it writes; None if unknown.
        files: Number of files that it writes; None if unknown.
    """

    seconds: float | None
    origin: Origin = ""
    memory: float | None = None
    disk: int | None = None
    files: int | None = None


class Estimates:
    """Costs of stages. Recorded seconds win over probes, probes over the model.

    Args:
        plan: The plan.
        folder: Earlier runs.
        gpu: The GPU that stages run on whose trainer asks for one.
        gpus: Number of them, for a trainer with `devices: auto`.
        named: Whether the device was named by the user: then all stages are estimated on it, and nothing that
            was recorded or probed on this machine counts.
        probes: Those of this machine (`calibration`).
    """

    def __init__(
        self,
        plan: Plan,
        folder: StageFolder,
        gpu: Device = CPU,
        gpus: int = 1,
        named: bool = False,
        probes: Mapping[str, Probe] | None = None,
    ) -> None:
        self._datasets = list(plan.datasets.values())
        self._folder = folder
        self._gpu = gpu
        self._gpus = max(1, gpus)
        self._named = named
        self._probes = {} if named else probes or {}

    def cost(self, stage: Stage) -> StageCost:
        """The cost of a stage. With values that its command refuses, it is unknown."""
        try:
            data = facts_of(stage.config, self._datasets)
            disk, files = self._size(stage, data)
            memory = self.memory(stage, data)
            seconds, origin = self._seconds(stage, data)
        except (
            TypeError,
            ValueError,
            KeyError,
            AttributeError,
        ):  # the check of the stages says what is wrong
            return StageCost(None)
        return StageCost(seconds, origin, memory, disk, files)

    def _size(self, stage: Stage, data: DataFacts | None) -> tuple[int | None, int | None]:
        recorded = self._folder.recorded(stage)
        if recorded is not None and recorded.bytes is not None:
            return recorded.bytes, recorded.files
        split = stage.config.get("split")
        images = data.counts.get(str(split), 0) if data is not None else 0
        if split is not None and not images:
            return None, None
        return stage_size(stage, images, 1e6 * data.megapixels if data is not None else 0.0)

    def _seconds(self, stage: Stage, data: DataFacts | None) -> tuple[float | None, Origin]:
        recorded = None if self._named else self._folder.estimate(stage)
        if recorded is not None:
            return recorded, "recorded"
        if data is None:
            return None, ""
        if (probed := self._probed(stage, data)) is not None:
            return probed, "calibrated"
        modelled = model.seconds(stage.kind, stage.config, data, self.run(stage.config))
        return modelled, "" if modelled is None else "model"

    def run(self, config: Mapping[str, Any]) -> Run:
        """What a stage runs on."""
        trainer = config.get("trainer") or {}
        device = self._gpu if self._named or trainer.get("accelerator") != "cpu" else CPU
        devices = trainer.get("devices", 1)
        number = devices if isinstance(devices, int) and devices > 0 else self._gpus
        return Run(
            device, number * int(trainer.get("num_nodes") or 1), str(trainer.get("precision", "32-true"))
        )

    def memory(self, stage: Stage, data: DataFacts | None) -> float | None:
        """Bytes on each GPU that a training takes: probed, or by the model."""
        run = self.run(stage.config)
        if stage.command != "fit" or data is None or not run.device.is_gpu:
            return None
        probe = self._probes.get(probe_key(stage.config))
        if probe is not None and probe.memory is not None:
            return probe.memory
        return model.training_memory(stage.config, data, run)

    def too_large(self, stages: Mapping[str, Stage], limit: float) -> Iterator[str]:
        """A sentence for each training that does not fit: what it needs, and what to set.

        Args:
            stages: The stages, by fingerprint.
            limit: Memory of the GPU in GiB.
        """
        said: set[str] = set()
        for stage in stages.values():
            data = facts_of(stage.config, self._datasets)
            needed = self.memory(stage, data)
            if data is None or needed is None or needed <= limit * GIB or stage.settings in said:
                continue
            said.add(stage.settings)
            yield (
                f"{stage.name} needs about {needed / GIB:.0f} GiB of GPU memory, more than {limit:g} GiB; "
                + _remedy(stage.config, data, self.run(stage.config), limit)
            )

    def _probed(self, stage: Stage, data: DataFacts) -> float | None:
        if stage.command != "fit":
            return None
        probe = self._probes.get(probe_key(stage.config))
        count = data.counts.get(str(stage.config["data"].get("train_split", "train")))
        if probe is None or count is None:
            return None
        return model.FIXED_SECONDS + model.training_seconds(stage.config, data, probe.seconds, count)


def _remedy(config: Mapping[str, Any], data: DataFacts, run: Run, limit: float) -> str:
    """What makes a training fit: bf16, more devices, or a smaller batch."""

    def needs(run: Run) -> float:
        return (model.training_memory(config, data, run) or 0.0) / GIB

    mixed = Run(run.device, run.ranks, "bf16-mixed")
    if not run.is_mixed and needs(mixed) <= limit:
        return f"set trainer.precision: bf16-mixed ({needs(mixed):.0f} GiB)"
    batch = model.batch_of(config)
    for ranks in range(run.ranks + 1, batch + 1):
        shared = Run(run.device, ranks, run.precision)
        if batch % ranks == 0 and needs(shared) <= limit:
            return (
                f"give it {ranks} devices (trainer: ddp; {needs(shared):.0f} GiB each, the same result), or "
                "a smaller data.global_batch_size (another result)"
            )
    return "set a smaller data.transform.crop_size (another result), or use a larger GPU"
