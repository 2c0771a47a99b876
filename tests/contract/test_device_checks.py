"""What would make a step wait for a GPU, or fail on one, is named with file and line, on a CPU."""

from pathlib import Path

import planted
import pytest
from test_planted_mistakes import no_pair, subject

from wsss_bench.contract.checks import CHECKS, run_check
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


def test_the_checks_are_in_the_contract():
    assert {OF_STEPS, OF_MAPS, MOVE, "steps_stay_on_their_device"} <= set(CHECKS)
