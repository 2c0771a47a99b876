"""Which ends of a stage are tried again."""

import signal

import pytest

from wsss_bench.bench.transient import is_transient


@pytest.mark.parametrize(
    ("status", "log", "again"),
    [
        (-signal.SIGKILL, "", True),
        (128 + signal.SIGTERM, "stopped by SIGUSR1 after step 7 of 15", True),  # a training, in time
        (1, "RuntimeError: CUDA error: an illegal memory access", True),
        (1, "ValueError: the loss is not finite", False),
        (2, "", False),
    ],
)
def test_what_a_batch_system_ends_is_tried_again(status, log, again):
    assert is_transient(status, log) == again
