"""Images of the mini world with masks, on which the pretrained weights are measured but never trained."""

from __future__ import annotations

import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from io import BytesIO

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from wsss_bench.mini.world.samples import make_sample
from wsss_bench.mini.world.scenes import Stream


@dataclass(frozen=True)
class EvaluationImages:
    """Images with masks, part maps and labels.

    Attributes:
        images: (N, 3, 96, 96) in [0, 1], the pixels of the JPEG files.
        masks: (N, 96, 96) uint8: 0 background, c + 1 class c, 255 border.
        parts: (N, 96, 96) uint8: 0 background, 1 body, 2 head.
        labels: N ascending tuples of class indices.
    """

    images: Tensor
    masks: NDArray[np.uint8]
    parts: NDArray[np.uint8]
    labels: list[tuple[int, ...]]


def make_evaluation_images(
    random_seed: int, stream: Stream, count: int, processes: int = 1
) -> EvaluationImages:
    """The first `count` images of a stream of the mini world of a random seed."""
    make_image = partial(_make_image, random_seed, stream)
    if processes == 1:
        made = [make_image(index) for index in range(count)]
    else:
        with ProcessPoolExecutor(processes, mp_context=multiprocessing.get_context("spawn")) as pool:
            made = list(pool.map(make_image, range(count), chunksize=50))
    images, masks, parts, labels = zip(*made, strict=True)
    pixels = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).float() / 255
    return EvaluationImages(pixels, np.stack(masks), np.stack(parts), list(labels))


def _make_image(
    random_seed: int, stream: Stream, index: int
) -> tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.uint8], tuple[int, ...]]:
    """Image (96, 96, 3) as read from its JPEG file, class mask, part map and labels."""
    sample = make_sample(random_seed, stream, index)
    image = np.asarray(Image.open(BytesIO(sample.jpeg())))
    return image, sample.class_mask(), sample.rendering.part, sample.scene.labels
