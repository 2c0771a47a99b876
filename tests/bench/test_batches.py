"""Batch sizes that the ranks of a training cannot share are refused in the plan, all at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from wsss_bench.bench.batches import check_batches
from wsss_bench.plan.plan import Stage
from wsss_bench.plan.schema import ConfigError


def training(name, size=None, kind="train", **trainer):
    data = {} if size is None else {"global_batch_size": size}
    return Stage(kind, name, {"data": data, "trainer": trainer}, {}, name, Path(name))


@pytest.mark.parametrize("kind", ["train", "affinity", "segment"])
def test_every_kind_of_training_is_checked(kind):
    with pytest.raises(
        ConfigError, match=rf"{kind} a: data\.global_batch_size 10 .* set 8 or 16, or .* 1, 2, 5, 10"
    ):
        check_batches([training("a", 10, kind, devices=8)], 0)


def test_all_trainings_are_named_at_once():
    stages = [
        training("a", 4, devices=8),
        training("b", 4, devices=8),
        training("c", 20, accelerator="gpu", devices="auto"),
        training("d", 16, accelerator="gpu", devices="auto"),
        training("e", 5, devices=2, num_nodes=2),
        training("f", devices=8),
    ]
    with pytest.raises(ConfigError) as refused:
        check_batches(stages, 8)
    lines = str(refused.value).splitlines()
    assert [line.strip().partition(":")[0] for line in lines[1:]] == [
        "train a, train b",
        "train c",
        "train e",
    ]
    assert "set 8, or" in lines[1]
    assert "set 16 or 24, or" in lines[2]


def test_what_fits_passes():
    check_batches([training("a", 16, devices=8), training("b", 3), training("c", 7, "predict", devices=2)], 8)
