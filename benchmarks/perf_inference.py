"""What the predict stage does to an image besides the network, against the plain way, as ratios of CPU time.

Scores are random, of VOC's size. Both sides must make the same masks and images.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import numpy as np
import torch
from PIL import Image
from records import Record, recorded

from wsss_bench import bicubic
from wsss_bench.nn.pamr import neighbours
from wsss_bench.nn.par import PAR

SIZE = (375, 500)
ROUNDS = 3


def ratio(plain: Callable[[], object], ours: Callable[[], object]) -> float:
    """CPU time of the plain way divided by ours, the median of several rounds."""
    ratios = []
    for _ in range(ROUNDS):
        started = time.process_time()
        plain()
        between = time.process_time()
        ours()
        ratios.append((between - started) / (time.process_time() - between))
    return statistics.median(ratios)


def masks(classes: int, record: Record) -> None:
    """Mask, present classes and their scores, from the scores of all classes."""
    scores = torch.rand(classes, *SIZE, generator=torch.Generator().manual_seed(0))
    scores[4:] *= 0.5  # most classes are absent

    def plain() -> np.ndarray:
        array = scores.numpy()
        assert np.isfinite(array).all()
        mask = array.argmax(axis=0).astype(np.uint8)
        array[np.unique(mask)]
        return mask

    def ours() -> np.ndarray:
        best, index = scores.max(dim=0)
        assert best.isfinite().all()
        mask = index.byte().numpy()
        scores[np.flatnonzero(np.bincount(mask.ravel()))].numpy()
        return mask

    assert np.array_equal(plain(), ours())
    record(f"masks of {classes} classes against numpy", f"{ratio(plain, ours):.2f}x")


def resizing(record: Record) -> None:
    """The resize that GPUs use, on a CPU: equal to Pillow, and slower there."""
    pixels = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (*SIZE, 3), dtype=np.uint8))
    wanted = (2 * SIZE[0], 2 * SIZE[1])
    in_one_step = np.asarray(Image.fromarray(pixels.numpy()).resize(wanted[::-1], Image.Resampling.BICUBIC))
    for resize in (bicubic.resize_by_pillow, bicubic.resize_by_tensors):
        assert np.array_equal(resize(pixels, wanted), in_one_step)
    cost = ratio(
        lambda: bicubic.resize_by_tensors(pixels, wanted), lambda: bicubic.resize_by_pillow(pixels, wanted)
    )
    record("Pillow, which resizes on a CPU, against the equal resize of a GPU on a CPU", f"{cost:.1f}x")


def par_affinity(record: Record) -> None:
    """PAR's affinities at 448 pixels against all neighbours stacked, as the authors compute them."""
    par = PAR()
    image = torch.rand(1, 3, 448, 448, generator=torch.Generator().manual_seed(0))

    def plain() -> torch.Tensor:
        stacked = torch.stack(list(neighbours(image, par.dilations)), dim=2)
        scale = (stacked.std(dim=2, keepdim=True) + 1e-8) * par.width
        colour = -(((image[:, :, None] - stacked) / scale) ** 2).mean(dim=1)
        return colour.softmax(dim=1) + par.position_affinity[:, None, None]

    difference = (plain() - par.affinity(image)).abs().max().item()
    faster = ratio(plain, lambda: par.affinity(image))
    record("affinities of PAR against stacked neighbours", f"{faster:.1f}x, equal to {difference:.0e}")


def main() -> None:
    torch.set_num_threads(1)
    with recorded(__file__) as record:
        for classes in (21, 81, 171):
            masks(classes, record)
        resizing(record)
        par_affinity(record)


if __name__ == "__main__":
    main()
