"""Steps that `bench EXPERIMENT --calibrate` measured: `runs/.costs/<device>.json`, for later plans."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from wsss_bench.artifacts.files import write_json
from wsss_bench.artifacts.layout import find_json

FOLDER = ".costs"
TRAINER_KEYS = ("accelerator", "devices", "num_nodes", "precision", "gradient_clip_val", "sync_batchnorm")
"""Arguments of the trainer that decide what a step costs."""


@dataclass(frozen=True)
class Probe:
    """A measured training.

    Args:
        seconds: Of one step, loading included.
        memory: Largest allocation on the GPU in bytes; None on a CPU.
    """

    seconds: float
    memory: float | None = None


def probe_key(config: Mapping[str, Any]) -> str:
    """What trainings have in common whose steps cost the same: network, data and device, not the optimiser's
    settings nor the length."""
    model, trainer = config["model"], config["trainer"]
    arguments = {key: value for key, value in (model.get("init_args") or {}).items() if key != "optim"}
    chosen = {key: trainer.get(key) for key in TRAINER_KEYS}
    if trainer.get("callbacks"):  # compiled networks take other time and memory
        chosen["callbacks"] = trainer["callbacks"]
    text = json.dumps([model["class_path"], arguments, config["data"], chosen], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def read_probes(runs: Path, device: str) -> dict[str, Probe]:
    """The probes on a device, by `probe_key`. A file that cannot be read counts as absent."""
    found = find_json(_file(runs, device)).get("probes", {})
    return {key: Probe(**content) for key, content in found.items()}


def add_probes(runs: Path, device: str, probes: Mapping[str, Probe]) -> None:
    """Store probes; those of other trainings on the device are kept."""
    known = {**read_probes(runs, device), **probes}
    content = {"device": device, "probes": {key: asdict(probe) for key, probe in known.items()}}
    _file(runs, device).parent.mkdir(parents=True, exist_ok=True)
    write_json(_file(runs, device), content)


def _file(runs: Path, device: str) -> Path:
    return runs / FOLDER / f"{re.sub('[^a-z0-9]+', '-', device.lower())}.json"
