"""The providers of Parsl: what asks a queue for nodes, made from the file of a cluster."""

from __future__ import annotations

import inspect
import re
from typing import TYPE_CHECKING, Any

from wsss_bench.bench.cluster_stage import NODE_GPUS
from wsss_bench.plan.schema import ConfigError, nearest

if TYPE_CHECKING:
    from wsss_bench.bench.cluster import Nodes

INSTALL = "the launcher parsl needs Parsl: pip install 'wsss_bench[cluster]'"
SET_BY_US = ("nodes_per_block", "init_blocks", "min_blocks", "max_blocks", "launcher")
"""Arguments of a provider that follow from the other keys."""
OF_SEVERAL_NODES = ("SlurmProvider", "LocalProvider")
"""Providers whose jobs may hold several nodes: srun starts their workers, or there is one machine."""


def check_provider(nodes: Nodes, place: str) -> None:
    """Check the provider of some nodes and its options, by making it.

    Raises:
        ConfigError: Parsl or another package is not installed, there is no such provider, or an argument is
            unknown, missing or of the wrong type. The message begins with `place`.
    """
    try:
        from parsl import providers
    except ImportError as error:
        raise ConfigError(f"{place}: {INSTALL}") from error
    known = [name for name in providers.__all__ if name.endswith("Provider")]
    if nodes.provider not in known:
        raise ConfigError(
            f"{place}.provider: {nodes.provider!r} is no provider; {nearest(nodes.provider, known)}"
        )
    parameters = inspect.signature(getattr(providers, nodes.provider)).parameters
    options = [name for name in parameters if name not in SET_BY_US]
    for name in nodes.options:
        if name not in options:
            raise ConfigError(
                f"{place}.options.{name}: {nodes.provider} has no such argument; {nearest(name, options)}"
            )
    if nodes.nodes > 1 and nodes.provider not in OF_SEVERAL_NODES:
        raise ConfigError(
            f"{place}.nodes: jobs of several nodes need the SlurmProvider, whose srun starts the workers; "
            f"with the {nodes.provider} set nodes: 1 and raise most_jobs"
        )
    walltime = nodes.options.get("walltime")
    if walltime is not None and not re.fullmatch(r"\d+:[0-5]?\d:[0-5]?\d", str(walltime)):
        raise ConfigError(
            f"{place}.options.walltime is {walltime!r}; expected hours, minutes and seconds in quotes, as "
            '"24:00:00"'
        )
    try:
        provider_of(nodes)
    except Exception as error:  # whatever it raises: checks of types, packages and files of a cloud
        reason = " ".join(str(error).split())
        raise ConfigError(f"{place}.options: {nodes.provider} cannot be made: {reason}") from error


def provider_of(nodes: Nodes) -> Any:
    """The provider of Parsl for some nodes."""
    from parsl import launchers, providers

    one_node = nodes.provider == "LocalProvider" or nodes.nodes == 1
    kind = getattr(providers, nodes.provider)
    given = {
        "nodes_per_block": nodes.nodes,
        "init_blocks": 0,
        "min_blocks": 0,
        "max_blocks": nodes.most_jobs,
        "launcher": launchers.SimpleLauncher() if one_node else launchers.SrunLauncher(),
        **nodes.options,
        "worker_init": f"{nodes.options.get('worker_init') or ''}\nexport {NODE_GPUS}=$CUDA_VISIBLE_DEVICES",
    }
    parameters = inspect.signature(kind).parameters
    return kind(**{name: value for name, value in given.items() if name in parameters})
