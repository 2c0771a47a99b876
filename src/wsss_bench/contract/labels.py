"""The check that a segmentation is made without image labels."""

from __future__ import annotations

import numpy as np
import torch

from wsss_bench.contract.outcome import Failure, LeftOut
from wsss_bench.contract.subject import Subject
from wsss_bench.inference import logits_of, predict, seeds_of
from wsss_bench.inference_config import InferenceConfig
from wsss_bench.types import InferenceSample


def segmentation_does_not_depend_on_labels(subject: Subject) -> None:
    """A segmentation is the same before and after the method has seen the labels of the same image.

    It sees them in `seed_maps`, in `training_loss` and with the sample of a prediction. The first result
    comes before all of these, so that nothing can be left in a module or a class either.
    """
    if "segmentation" not in subject.products:
        raise LeftOut("the method has no segmentation_logits")
    images, labels = subject.images
    method = subject.fresh().eval()
    config = InferenceConfig(**subject.content.inference)
    pixels = np.random.default_rng(0).integers(0, 256, (96, 96, 3), dtype=np.uint8)
    with torch.no_grad():
        expected = logits_of(method, images)
        sample = InferenceSample("a", pixels, None)
        (unlabelled,) = predict(method, [sample], "segmentation", config)
        if subject.trains:
            method.training_loss(subject.batch)
            _compare(logits_of(method, images), expected, "training_loss")
        if "seed" in subject.products:
            for given in (labels, 1 - labels, torch.ones_like(labels)):
                seeds_of(method, images, given)
                _compare(logits_of(method, images), expected, "seed_maps")
        sample = sample._replace(labels=np.ones(labels.shape[1], np.float32))
        if "seed" in subject.products:
            predict(method, [sample], "seed", config)
        (labelled,) = predict(method, [sample], "segmentation", config)
    if not np.array_equal(unlabelled["ms"], labelled["ms"]):
        raise Failure(_sentence("a sample with labels"))


def _compare(found: torch.Tensor, expected: torch.Tensor, place: str) -> None:
    if not torch.equal(found, expected):
        raise Failure(_sentence(place))


def _sentence(place: str) -> str:
    return (
        f"segmentation_logits changes once {place} has seen the labels of the image; keep nothing of labels "
        "in the method: a segmentation is made without them"
    )
