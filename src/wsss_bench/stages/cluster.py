"""What a cluster may change of a stage with a trainer: nothing. It runs with the planned number of processes.

On the preemption signal of SLURM, Lightning would write a checkpoint of its own (`hpc_ckpt_1.ckpt`) and
submit the job again. Stages do without: the same command goes on from `checkpoints/last.ckpt`, which is
written on that signal too (`inside_epoch`).
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from lightning.fabric.plugins.environments import (
    ClusterEnvironment,
    SLURMEnvironment,
    TorchElasticEnvironment,
)
from lightning.pytorch import Trainer
from lightning.pytorch.utilities import rank_zero_only


def slurm_plugins(configured: Any) -> list[Any]:
    """The plugins of a trainer, with SLURM's environment without resubmission where SLURM runs the stage.

    Args:
        configured: `trainer.plugins`: None, a plugin or a list of them.
    """
    given = isinstance(configured, Sequence) and not isinstance(configured, str)
    plugins = list(configured) if given else [configured] if configured else []
    chosen = any(isinstance(plugin, ClusterEnvironment) for plugin in plugins)
    if not chosen and SLURMEnvironment.detect() and not TorchElasticEnvironment.detect():
        plugins.append(SLURMEnvironment(auto_requeue=False))
    return plugins


def check_world_size(trainer: Trainer, planned: Mapping[str, Any]) -> None:
    """Refuse to run with another number of processes than planned.

    Args:
        trainer: The trainer, before it runs.
        planned: Arguments of the trainer from the plan.

    Raises:
        ValueError: the cluster or the command line started more or fewer processes.
    """
    devices, nodes = planned.get("devices", 1), int(planned.get("num_nodes") or 1)
    if isinstance(devices, list):
        devices = len(devices)
    elif not str(devices).isdecimal():  # auto: all that this machine has
        devices = trainer.num_devices
    expected = int(devices) * nodes
    rank = getattr(rank_zero_only, "rank", 0)
    if trainer.world_size == expected and rank < expected:
        return
    tasks = os.environ.get("SLURM_NTASKS")
    found = f"{trainer.world_size} process{'es' * (trainer.world_size != 1)}"
    if rank >= expected:
        found = f"a process of rank {rank}"
    raise ValueError(
        f"the stage is planned for {expected} process{'es' * (expected != 1)} (trainer.devices {devices} x "
        f"trainer.num_nodes {nodes}), but it was started with {found}"
        + (f" (SLURM_NTASKS={tasks})" if tasks is not None else "")
        + f". Start it with {expected} tasks (srun --nodes={nodes} --ntasks-per-node={devices}), or plan it "
        "with other devices in the trainer file of the experiment"
    )
