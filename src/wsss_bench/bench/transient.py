"""Failures that may not come again: of a driver, a network or a file system, and killed processes."""

from __future__ import annotations

import re
import signal

MESSAGES = re.compile(
    r"CUDA error|CUDA driver|no CUDA-capable device|CUDNN_STATUS|cuDNN error|CUBLAS_STATUS|ECC error"
    r"|NCCL (?:error|timeout)|Connection (?:reset|refused|timed out)|Resource temporarily unavailable"
    r"|EADDRINUSE|Stale file handle|Input/output error|Bus error"
    r"|DataLoader worker .* (?:is killed|exited unexpectedly)",
    re.IGNORECASE,
)
"""Ends of logs that say so. Memory of a GPU that is too small stays too small: it is not among them."""
STOPPED = 128 + signal.SIGTERM
"""Exit status of a training that wrote its checkpoint on a signal: the walltime of its node has ended."""


def is_transient(status: int, log: str) -> bool:
    """Whether a process may succeed when it is started again.

    Args:
        status: Its exit status; negative for a signal.
        log: The last lines of its log.
    """
    return status < 0 or status == STOPPED or MESSAGES.search(log) is not None
