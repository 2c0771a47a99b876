"""Environment variables that number ranks or say where they meet. A bench sets its own for its stages."""

from __future__ import annotations

import re
from collections.abc import Mapping

OF_RANKS = re.compile(
    r"(?:LOCAL_|GROUP_|NODE_|ROLE_)?RANK|(?:LOCAL_|GROUP_|ROLE_)?WORLD_SIZE"
    r"|MASTER_(?:ADDR|PORT)|STANDALONE_PORT|TORCHELASTIC_\w+"
    r"|SLURM_(?:NTASKS|NPROCS|PROCID|LOCALID|NODEID)\w*|JSM_NAMESPACE_\w+|PMI_(?:RANK|SIZE)|OMPI_COMM_WORLD_\w+"
)
"""Of torch and Lightning, and of the programs that start ranks: torchrun, srun, jsrun, mpiexec."""


def without_ranks(environment: Mapping[str, str]) -> dict[str, str]:
    """An environment without what a batch script, or a shell, says of ranks.

    Lightning would wait for ranks that nobody starts, and two stages on one machine would meet on the same
    port.
    """
    return {name: value for name, value in environment.items() if not OF_RANKS.fullmatch(name)}
