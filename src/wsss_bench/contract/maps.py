"""Checks of the maps of a method: their shape, and that they belong to their image."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from wsss_bench.contract.outcome import Failure, LeftOut
from wsss_bench.contract.subject import Subject
from wsss_bench.inference import logits_of, seeds_of
from wsss_bench.methods.base import Method
from wsss_bench.methods.checked_maps import check_seed_maps, check_segmentation_logits

SIZES = [(96, 96), (80, 104)]
SAME = 1e-3
"""Largest difference of maps that are the same but for rounding, as a fraction of their largest value."""


def maps_have_the_right_shape_and_range(subject: Subject) -> None:
    """Maps are finite, one for each class (and the background), and seeds are >= 0, at two image sizes."""
    method = subject.fresh().eval()
    if not subject.products:
        raise Failure(
            f"{subject.kind.__name__} defines neither seed_maps nor segmentation_logits; define one"
        )
    for size in SIZES:
        image = torch.rand(2, 3, *size)
        with torch.no_grad():
            if "seed" in subject.products:
                labels = torch.ones(2, len(method.class_names))
                check_seed_maps(method, image, seeds_of(method, image, labels))
            if "segmentation" in subject.products:
                check_segmentation_logits(method, image, logits_of(method, image))


def maps_show_their_image(subject: Subject) -> None:
    """Maps differ between pixels, and between images with the same labels."""
    complaint = _complaint(subject.fresh(), subject)
    if complaint and subject.trains:  # a head that is 0 before training draws nothing yet
        complaint = _complaint(subject.trained[0], subject)
    if complaint:
        raise Failure(complaint)


def _complaint(method: Method, subject: Subject) -> str | None:
    images = subject.images[0]
    same_labels = torch.ones(len(images), len(method.class_names))
    for place, maps in _maps(method.eval(), subject, images, same_labels):
        scale = max(maps.abs().max().item(), 1e-12)
        if (maps.amax(dim=(2, 3)) - maps.amin(dim=(2, 3))).max() <= SAME * scale:
            return f"{place} is constant over each image; a map per class needs a score per position"
        if (maps - maps[:1]).abs().max() <= SAME * scale:
            return f"{place} is the same for different images; compute it from `image`"
    return None


def maps_do_not_depend_on_the_batch(subject: Subject) -> None:
    """An image has the same maps alone and among others, which have other labels: the maps of the right batch
    entry are returned.
    """
    if not subject.kind.independent_images:
        raise LeftOut("independent_images is False: each image goes through the network alone")
    method = subject.fresh().eval()
    images, labels = subject.images
    batched = dict(_maps(method, subject, images, labels))
    alone = dict(_maps(method, subject, images[-1:], labels[-1:]))
    for place, maps in batched.items():
        difference = (maps[-1:] - alone[place]).abs().max().item()
        if difference > SAME * max(maps.abs().max().item(), 1e-12):
            raise Failure(
                f"{place} of an image differs by {difference:.2g} with other images in the batch; return the "
                "maps of batch entry b at position b, and normalise over each image alone (or set "
                "independent_images = False, if the maps are meant to depend on the batch)"
            )


def _maps(method: Method, subject: Subject, images: Tensor, labels: Tensor) -> Iterator[tuple[str, Tensor]]:
    """Maps of images, by what made them."""
    with torch.no_grad():
        if "seed" in subject.products:
            yield "seed_maps", seeds_of(method, images, labels)
        if "segmentation" in subject.products:
            yield "segmentation_logits", logits_of(method, images)
