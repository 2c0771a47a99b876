"""What would make a step wait for a GPU, or fail on one, is named with file and line, on a CPU."""

from pathlib import Path

import numpy as np
import planted
import pytest
import torch
from test_planted_mistakes import no_pair, subject

from wsss_bench.contract.checks import CHECKS, run_check
from wsss_bench.contract.device_watch import DeviceWatch
from wsss_bench.contract.outcome import Failure
from wsss_bench.plan.config import Deviation

pytestmark = pytest.mark.slow

OF_STEPS, OF_MAPS = "steps_do_not_wait_for_a_gpu", "maps_do_not_wait_for_a_gpu"
MOVE = "tensors_move_with_the_method"


def line_of(text):
    """Place of the line of `planted.py` that has this text."""
    lines = Path(planted.__file__).read_text().splitlines()
    (number,) = [number for number, line in enumerate(lines, 1) if text in line]
    return rf"planted\.py:{number}: "


@pytest.mark.parametrize(
    ("kind", "check", "sentence"),
    [
        (planted.ReadsTheLoss, OF_STEPS, line_of("> 1e9") + "_local_scalar_dense"),
        (planted.ChoosesByMask, OF_STEPS, "2 waits.*" + line_of("[batch.labels > 0]") + "a bool index"),
        (planted.CountsLabels, OF_STEPS, line_of("labels.sum().tolist()") + "tolist reads"),
        (planted.CopiesValues, OF_STEPS, line_of("torch.tensor([1.0] *") + "tensor copies values"),
        (planted.MovesWeights, OF_STEPS, line_of(".to(self.device)") + "to copies.*not non_blocking"),
        (planted.MixesDevices, "steps_stay_on_their_device", "mul of a tensor of the host.*device=..."),
        (planted.ReadsItsMaps, OF_MAPS, line_of("maps.max().item()") + "_local_scalar_dense"),
        (planted.KeepsATensor, MOVE, r"prior\.area\[0\] stays where it is.*register_buffer"),
        (planted.HidesAModule, MOVE, r"hidden\[0\]\.bias, hidden\[0\]\.weight stays where it is"),
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else "",
)
def test_a_planted_mistake_is_named_with_its_place(kind, check, sentence, mini_data):
    with pytest.raises(Failure, match=sentence):
        run_check(check, subject(kind, mini_data), no_pair)


def test_a_mistake_of_one_kind_is_not_one_of_another(mini_data):
    run_check("steps_stay_on_their_device", subject(planted.ReadsTheLoss, mini_data), no_pair)
    run_check(OF_STEPS, subject(planted.MixesDevices, mini_data), no_pair)
    run_check(OF_STEPS, subject(planted.ReadsItsMaps, mini_data), no_pair)


def test_what_stays_on_the_host_is_no_wait(mini_data):
    for check in (OF_STEPS, "steps_stay_on_their_device", OF_MAPS, MOVE):
        run_check(check, subject(planted.OnTheHost, mini_data), no_pair)


def test_a_stated_number_of_waits_is_allowed_and_no_more(mini_data):
    one = {OF_STEPS: Deviation("a mask of the labels", waits=1)}
    with pytest.raises(Failure, match=r"2 waits for the device \(1 allowed\)"):
        run_check(OF_STEPS, subject(planted.ChoosesByMask, mini_data, contract=one), no_pair)
    two = {OF_STEPS: Deviation("a mask of the labels", waits=2)}
    run_check(OF_STEPS, subject(planted.ChoosesByMask, mini_data, contract=two), no_pair)


@pytest.mark.parametrize(
    "mixes",
    [
        lambda x: x + torch.from_numpy(np.ones(3, np.float32)),
        lambda x: x * torch.logspace(0, 1, 3),
        lambda x: x * torch.hann_window(3),
        lambda x: x * torch.arange(3),
        lambda x: x.index_select(0, torch.tril_indices(2, 2)[0]),
    ],
)
def test_tensors_that_are_made_without_a_device_are_of_the_host(mixes):
    given = torch.ones(3)
    with DeviceWatch() as watch:
        mixes(given)
    assert len(watch.mixtures) == 1, watch.mixtures
    with DeviceWatch() as watch:
        mixes(torch.zeros(3))  # of the host, too
    assert not watch.mixtures


@pytest.mark.parametrize(
    ("waits", "named"),
    [
        (lambda x: torch.from_numpy(np.ones(3, np.float32)).to(x), "to copies to the device"),
        (lambda x: x.new_tensor([1.0]), "new_tensor copies values"),
        (lambda x: x.__setitem__([0, 1], 0.0), "a list of indices is copied"),
        (lambda x: x[[0, 1]], "a list of indices is copied"),
        (lambda x: torch.bincount(x.int()), "bincount needs values"),
    ],
)
def test_copies_and_reads_that_wait_are_seen(waits, named):
    given = torch.ones(3)
    with DeviceWatch() as watch:
        waits(given)
    assert any(named in wait for wait in watch.waits), watch.waits


def test_from_numpy_is_pytorchs_own_again():
    before = torch.from_numpy
    with DeviceWatch():
        assert torch.from_numpy is not before
    assert torch.from_numpy is before


def test_the_checks_are_in_the_contract():
    assert {OF_STEPS, OF_MAPS, MOVE, "steps_stay_on_their_device"} <= set(CHECKS)
