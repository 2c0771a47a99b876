"""All checks in the order in which they run: what is fast and what others build on comes first."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from wsss_bench.contract.class_and_file import the_file_states_what_the_class_is
from wsss_bench.contract.device import (
    maps_do_not_wait_for_a_gpu,
    steps_do_not_wait_for_a_gpu,
    steps_stay_on_their_device,
    tensors_move_with_the_method,
)
from wsss_bench.contract.gradients import a_step_reaches_every_trainable_parameter
from wsss_bench.contract.labels import segmentation_does_not_depend_on_labels
from wsss_bench.contract.losses import (
    a_few_steps_lower_the_loss,
    losses_are_scalars_of_at_least_zero,
    losses_run_in_float32,
    steps_teach_the_classes,
)
from wsss_bench.contract.maps import (
    maps_do_not_depend_on_the_batch,
    maps_have_the_right_shape_and_range,
    maps_show_their_image,
)
from wsss_bench.contract.outcome import LeftOut
from wsss_bench.contract.rank_pair import RankPair
from wsss_bench.contract.resuming import a_stopped_training_ends_as_an_uninterrupted_one
from wsss_bench.contract.spot import a_spot_is_drawn_where_it_is
from wsss_bench.contract.subject import Subject
from wsss_bench.contract.trial_stages import stages_run_and_a_checkpoint_brings_the_same_maps_back
from wsss_bench.contract.two_ranks import two_ranks
from wsss_bench.plan.config import Deviation

OF_TRAINING: tuple[Callable[..., None], ...] = (
    losses_are_scalars_of_at_least_zero,
    a_step_reaches_every_trainable_parameter,
    a_few_steps_lower_the_loss,
    steps_teach_the_classes,
    losses_run_in_float32,
    steps_do_not_wait_for_a_gpu,
    steps_stay_on_their_device,
    a_stopped_training_ends_as_an_uninterrupted_one,
    two_ranks,
)
"""Checks of methods with a train stage."""
_IN_ORDER: tuple[Callable[..., None], ...] = (
    the_file_states_what_the_class_is,
    tensors_move_with_the_method,
    maps_have_the_right_shape_and_range,
    *OF_TRAINING[:-2],
    maps_do_not_wait_for_a_gpu,
    maps_show_their_image,
    maps_do_not_depend_on_the_batch,
    segmentation_does_not_depend_on_labels,
    a_spot_is_drawn_where_it_is,
    stages_run_and_a_checkpoint_brings_the_same_maps_back,
    a_stopped_training_ends_as_an_uninterrupted_one,
    two_ranks,
)
CHECKS = {check.__name__: check for check in _IN_ORDER}
"""The checks by name."""


def run_check(name: str, subject: Subject, pair: Callable[[], RankPair]) -> None:
    """Run one check.

    Args:
        name: One of `CHECKS`.
        subject: The method.
        pair: Gives two ranks; only called where they are needed.

    Raises:
        Failure: the method does not meet it.
        LeftOut: it does not apply, or the method's file leaves it out.
    """
    check = CHECKS[name]
    deviation = subject.deviation(name)
    if deviation is not None and deviation == Deviation(deviation.reason):
        raise LeftOut(f"bench.contract.{name}: {deviation.reason}")
    if check in OF_TRAINING and not subject.trains:
        raise LeftOut("the method is not trained")
    arguments: list[Any] = [pair] if check is two_ranks else []
    check(subject, *arguments)
