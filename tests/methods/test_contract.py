"""What every method of `configs/methods` must do, checked through its own YAML on the small mini world.

A new method is tested by being there: nothing is added to this file.
"""

from functools import cache

import paths
import pytest

from wsss_bench.contract.checks import CHECKS, run_check
from wsss_bench.contract.configuration import CPU
from wsss_bench.contract.losses import HalfPrecision
from wsss_bench.contract.outcome import LeftOut
from wsss_bench.contract.spot import largest_error
from wsss_bench.contract.subject import Subject
from wsss_bench.plan.reader import read_configs

pytestmark = pytest.mark.slow

FOLDER = read_configs(paths.CONFIGS)
METHODS = FOLDER.methods()
PUBLISHED_RULES = {
    "cam": "IRN",
    "clims": "IRN",
    "clims_camera_ready": "IRN",
    "supervised": "stretched",
    **dict.fromkeys(("clip_zeroshot", "codecomp", "dalnet", "tcl", "toco"), "patches"),
}
"""Where the paper or its code draws a cell; these methods are checked most closely."""


@cache
def subject(name, world):
    return Subject(name, FOLDER.method(name, "mini", CPU), world)


# all checks of a method before the next one: it is built once in each process of `pytest -n`
@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("name", METHODS)
def test_the_method_meets_the_contract(name, check, mini_data, rank_pair):
    try:
        run_check(check, subject(name, mini_data / "mini"), lambda: rank_pair)
    except LeftOut as reason:
        pytest.skip(str(reason))


@pytest.mark.parametrize("name", METHODS)
def test_a_spot_is_drawn_where_the_authors_draw_it(name, mini_data):
    """Closer than the contract asks; for the others, less than half a cell from what they see."""
    if deviation := subject(name, mini_data / "mini").deviation("a_spot_is_drawn_where_it_is"):
        pytest.skip(deviation.reason)
    rule, bound = (PUBLISHED_RULES[name], 0.06) if name in PUBLISHED_RULES else ("patches", 0.5)
    try:
        assert largest_error(subject(name, mini_data / "mini"), rule) < bound
    except LeftOut as reason:
        if name in PUBLISHED_RULES:
            raise
        pytest.skip(str(reason))  # maps that are gradients of a network that samples: their arrays are golden


@pytest.mark.parametrize("name", METHODS)
def test_the_logarithms_of_losses_are_seen(name, mini_data):
    """Else the check of their precision could not fail."""
    method = subject(name, mini_data / "mini")
    if not method.trains:
        pytest.skip("is not trained")
    with HalfPrecision() as losses:
        method.fresh(late=True).train().training_loss(method.batch)
    assert losses.seen
