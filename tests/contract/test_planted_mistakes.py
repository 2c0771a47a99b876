"""The contract names each planted mistake with what to change, and passes ordinary methods."""

from contextlib import contextmanager
from dataclasses import replace

import paths
import planted
import pytest

from wsss_bench.contract.checks import CHECKS, run_check
from wsss_bench.contract.configuration import CPU
from wsss_bench.contract.outcome import Failure, LeftOut
from wsss_bench.contract.subject import Subject
from wsss_bench.plan.config import ClassSpec, Deviation
from wsss_bench.plan.reader import read_configs

pytestmark = pytest.mark.slow

CAM = read_configs(paths.CONFIGS).method("cam", "mini", CPU)

REACHES = "a_step_reaches_every_trainable_parameter"


def subject(kind, mini_data, **bench):
    arguments = {} if kind is planted.MeanTeacher else CAM.model.init_args
    model = ClassSpec(f"planted.{kind.__name__}", arguments)
    content = replace(CAM, model=model, bench=replace(CAM.bench, **bench))
    return Subject(kind.__name__, content, mini_data / "mini")


def no_pair():
    raise AssertionError("no ranks are needed")


@pytest.mark.parametrize(
    ("kind", "check", "sentence"),
    [
        (planted.TurnedSign, "losses_are_scalars_of_at_least_zero", "'classification' is -.*turn its sign"),
        (planted.TurnedSignAboveZero, "steps_teach_the_classes", "the sign of the loss is turned"),
        (planted.RemembersLabels, "segmentation_does_not_depend_on_labels", "once seed_maps has seen"),
        (planted.RemembersInModule, "segmentation_does_not_depend_on_labels", "once training_loss has seen"),
        (planted.TooManyChannels, "maps_have_the_right_shape_and_range", r"expected \(2, 8, h, w\)"),
        (planted.Negative, "maps_have_the_right_shape_and_range", "seeds are >= 0"),
        (planted.NotFinite, "maps_have_the_right_shape_and_range", "not finite"),
        (
            planted.Idle,
            REACHES,
            "no loss reaches unused.weight.*idle_at_first",
        ),
        (
            planted.MarkedButNeverUsed,
            REACHES,
            "at the end of a training either",
        ),
        (planted.Constant, "maps_show_their_image", "constant over each image"),
        (planted.IgnoresImage, "maps_show_their_image", "the same for different images"),
        (
            planted.RemembersSteps,
            "a_stopped_training_ends_as_an_uninterrupted_one",
            "keep what lasts from step to step",
        ),
        (planted.WrongEntry, "maps_do_not_depend_on_the_batch", "batch entry b at position b"),
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else "",
)
def test_a_planted_mistake_is_named(kind, check, sentence, mini_data):
    planted.REMEMBERED.clear()
    with pytest.raises(ValueError, match=sentence):
        run_check(check, subject(kind, mini_data), no_pair)


@pytest.mark.parametrize("kind", [planted.GradCAM, planted.MeanTeacher, planted.OwnBackground])
def test_ordinary_methods_meet_the_contract(kind, mini_data, rank_pair):
    one = subject(kind, mini_data)
    left_out = {}
    # the others train as CAM does
    names = CHECKS if kind is planted.MeanTeacher else [name for name in CHECKS if name != "two_ranks"]
    for name in names:
        with suppress_left_out(left_out, name):
            run_check(name, one, lambda: rank_pair)
    assert "segmentation_does_not_depend_on_labels" in left_out
    assert set(left_out) <= {"segmentation_does_not_depend_on_labels", "a_spot_is_drawn_where_it_is"}


@contextmanager
def suppress_left_out(left_out, name):
    try:
        yield
    except LeftOut as reason:
        left_out[name] = str(reason)


def test_ranks_differ_by_plain_dropout_only(mini_data, rank_pair):
    with pytest.raises(Failure, match=r"image_dropout.*tolerance"):
        run_check("two_ranks", subject(planted.PlainDropout, mini_data), lambda: rank_pair)
    run_check("two_ranks", subject(planted.ImageDropout, mini_data), lambda: rank_pair)


def test_a_deviation_with_only_a_reason_leaves_a_check_out(mini_data):
    one = subject(planted.Negative, mini_data, contract={"maps_show_their_image": Deviation("I know why")})
    with pytest.raises(LeftOut, match="I know why"):
        run_check("maps_show_their_image", one, no_pair)
