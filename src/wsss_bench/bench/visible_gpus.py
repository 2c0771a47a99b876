"""The GPUs of this machine that a bench may use, without CUDA."""

from __future__ import annotations

import os
import re
import subprocess
from itertools import takewhile

GPU_NAME = re.compile(r"\d+|(?:GPU|MIG)-[\w/-]+")
"""An entry of `CUDA_VISIBLE_DEVICES`."""


def visible_gpus() -> list[str]:
    """GPUs of this machine that `CUDA_VISIBLE_DEVICES` does not hide; found without initialising CUDA."""
    chosen = os.environ.get("CUDA_VISIBLE_DEVICES")
    if chosen is not None:
        # as CUDA reads it: up to the first name that is none, such as -1 or Slurm's NoDevFiles
        names = takewhile(GPU_NAME.fullmatch, (name.strip() for name in chosen.split(",")))
        return list(dict.fromkeys(names))
    try:
        listed = subprocess.run(
            ["nvidia-smi", "-L"], capture_output=True, text=True, check=True, timeout=30
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return []
    return [
        str(index)
        for index, line in enumerate(filter(lambda line: line.startswith("GPU "), listed.splitlines()))
    ]
