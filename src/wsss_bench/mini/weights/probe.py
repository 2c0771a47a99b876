"""Labelled images in memory on which the pretrained weights are measured. Nothing here is trained on."""

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

from wsss_bench.mini.world.grammar import Stream
from wsss_bench.mini.world.samples import make_sample


@dataclass(frozen=True)
class Probe:
    """Images with their truth.

    Attributes:
        image: (N, 3, 96, 96) in [0, 1], the pixels of the JPEG files.
        mask: (N, 96, 96) 0 background, c + 1 class, 255 border.
        part: (N, 96, 96) 0 background, 1 body, 2 head.
        labels: N ascending tuples of class indices.
    """

    image: Tensor
    mask: NDArray[np.uint8]
    part: NDArray[np.uint8]
    labels: list[tuple[int, ...]]


def make_probe(seed: int, stream: Stream, count: int, processes: int = 1) -> Probe:
    """The first `count` images of a stream of the mini world of `seed`."""
    draw = partial(_draw, seed, stream)
    if processes == 1:
        drawn = [draw(index) for index in range(count)]
    else:
        with ProcessPoolExecutor(processes, mp_context=multiprocessing.get_context("spawn")) as pool:
            drawn = list(pool.map(draw, range(count), chunksize=50))
    images, masks, parts, labels = zip(*drawn, strict=True)
    pixels = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).float() / 255
    return Probe(pixels, np.stack(masks), np.stack(parts), list(labels))


def _draw(
    seed: int, stream: Stream, index: int
) -> tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.uint8], tuple[int, ...]]:
    sample = make_sample(seed, stream, index)
    image = np.asarray(Image.open(BytesIO(sample.jpeg())))
    return image, sample.class_mask(), sample.rendering.part, sample.scene.labels
