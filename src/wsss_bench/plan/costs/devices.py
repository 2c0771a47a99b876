"""Devices that stages run on: their memory, and the rate at which a network computes.

A rate is the published peak (dense) times a share. **The shares are assumptions**, chosen after published
training rates of ResNet-50 and ViT-B/16 in PyTorch, until `bench EXPERIMENT --calibrate` has measured steps.
"""

from __future__ import annotations

import os
import re
import subprocess
from dataclasses import dataclass

from wsss_bench.plan.schema import ConfigError, nearest

CONVOLUTION_SHARE, ATTENTION_SHARE = 0.1, 0.3
"""Share of the peak that convolutional networks and transformers reach in bf16 on tensor cores."""
FLOAT32_SHARE = 0.5
"""Share of the peak that networks reach in float32."""
CALL_SECONDS = 1e-5
"""Time in which a GPU starts one operator; a step takes at least this long for each of its operators."""
SMALL_CARD = 24.0
"""Memory in GiB that trainings are compared with where no device is known."""
CORES_OF_A_GPU = 8
"""Cores that a machine with a named GPU has for each of them: an assumption."""


@dataclass(frozen=True)
class Device:
    """What a stage runs on.

    Args:
        name: For people.
        memory: In GiB; None for a CPU, whose memory is not compared.
        bf16: Peak in bf16 with float32 sums, in FLOP/s; 0 for a CPU, whose rate was measured.
        float32: Peak in float32 without tensor cores, in FLOP/s.
        cores: Cores for each stage, for loading and for pools.
    """

    name: str
    memory: float | None = None
    bf16: float = 0.0
    float32: float = 0.0
    cores: int = 1

    @property
    def is_gpu(self) -> bool:
        return self.float32 > 0

    def rate(self, precision: str, attention: bool, on_one_core: float) -> float:
        """FLOP/s of a network.

        Args:
            precision: `trainer.precision`.
            attention: Whether it is a transformer.
            on_one_core: Its measured rate on a CPU.
        """
        if not self.is_gpu:
            return on_one_core
        if "16" not in precision:
            return FLOAT32_SHARE * self.float32
        return (ATTENTION_SHARE if attention else CONVOLUTION_SHARE) * self.bf16


CPU = Device("CPU, one core")
GPUS = {
    # NVIDIA A100, H100 and H200 Tensor Core GPU data sheets (SXM; dense: half of the rates with sparsity)
    "a100": Device("A100", 40, 312e12, 19.5e12, CORES_OF_A_GPU),
    "a100-80": Device("A100 80GB", 80, 312e12, 19.5e12, CORES_OF_A_GPU),
    "h100": Device("H100", 80, 989e12, 67e12, CORES_OF_A_GPU),
    "h100-pcie": Device("H100 PCIe", 80, 756e12, 51e12, CORES_OF_A_GPU),
    "h200": Device("H200", 141, 989e12, 67e12, CORES_OF_A_GPU),
    # NVIDIA Ampere GA102 architecture white paper
    "rtx3090": Device("RTX 3090", 24, 71e12, 35.6e12, CORES_OF_A_GPU),
}
"""Known GPUs by the names that `--on` takes."""
DEFAULT = "a100"


def named_device(name: str) -> Device:
    """The device of an option `--on`.

    Raises:
        ConfigError: an unknown name.
    """
    found = {"cpu": CPU, **GPUS}.get(_plain(name))
    if found is None:
        known = ["cpu", *GPUS]
        raise ConfigError(f"--on: no device {name!r}; {nearest(name, known)}. Others: --calibrate on them")
    return found


def gpu_of_this_machine() -> Device | None:
    """The first GPU, if its name is known; with memory and cores of this machine. CUDA is not used."""
    query = ["nvidia-smi", "--query-gpu=name,memory.total", "--format=csv,noheader,nounits"]
    try:
        lines = subprocess.run(query, capture_output=True, text=True, check=True, timeout=30).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    rows = [line.rpartition(",") for line in lines.splitlines() if "," in line]
    return _recognised(rows[0][0], rows[0][2], len(rows)) if rows else None


def _recognised(name: str, mebibytes: str, number: int) -> Device | None:
    for key, device in sorted(GPUS.items(), reverse=True):  # `h100-pcie` before `h100`
        # as whole words: `RTX A1000` is no `a100`, and `RTX 3090` is `rtx3090`
        words = re.sub(r"(?<=[a-z])(?=\d)", "[ -]?", key.replace("-", "[ ]"))
        if re.search(rf"\b{words}\b", name.lower()) and mebibytes.strip().isdigit():
            cores = max(1, len(os.sched_getaffinity(0)) // number)
            return Device(name, int(mebibytes) / 1024, device.bf16, device.float32, cores)
    return None


def _plain(name: str) -> str:
    """`NVIDIA GeForce RTX 3090` -> `nvidiageforcertx3090`; dashes stay."""
    return re.sub(r"[\s_]", "", name.lower())
