"""Time of DenseCRF on many images: two processes against one, and present classes against all classes.

Images and probabilities are random, of VOC's size. The process pool is that of the crf stage, and both
sides must write the same masks.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from records import Record, recorded

from wsss_bench.artifacts.files import read_mask
from wsss_bench.artifacts.probabilities import ProbabilityShards
from wsss_bench.callbacks import predicted_mask
from wsss_bench.crf.densecrf import CRFConfig, ImageCRF, crf_inference
from wsss_bench.crf.pool import ImagePool
from wsss_bench.crf.readouts import MadeMasks, ReadoutCRF, write_masks_with_crf

SIZE = (375, 500)
IMAGES = 16
CLASSES = 21
PRESENT = 3
ROUNDS = 3
CONFIG = CRFConfig()
READOUTS = [("ss", "ss-crf", ReadoutCRF(CONFIG))]


def scene(index: int) -> tuple[np.ndarray, np.ndarray]:
    """An image of coloured discs `(H, W, 3)` uint8, and noisy class probabilities `(K, H, W)` float32."""
    generator = np.random.default_rng(index)
    rows, columns = np.mgrid[: SIZE[0], : SIZE[1]]
    truth = np.zeros(SIZE, int)
    for label in range(1, PRESENT):
        centre = generator.integers(80, 290, 2)
        truth[(rows - centre[0]) ** 2 + (columns - centre[1]) ** 2 < 60**2] = label
    colours = generator.integers(0, 256, (PRESENT, 3))
    image = np.clip(colours[truth] + generator.normal(0, 12, (*SIZE, 3)), 0, 255).astype(np.uint8)
    scores = 0.6 * (np.arange(PRESENT)[:, None, None] == truth) + generator.random((PRESENT, *SIZE))
    return image, (scores / scores.sum(0)).astype(np.float32)


def store(folder: Path, scenes: list[tuple[np.ndarray, np.ndarray]]) -> None:
    """Write the probabilities of all images, as a predict stage does."""
    with ProbabilityShards(folder) as shards:
        for index, (_, probabilities) in enumerate(scenes):
            predicted = predicted_mask(str(index), torch.from_numpy(probabilities), "all")
            assert predicted.for_crf is not None
            shards.write(str(index), {"ss": predicted.for_crf})


def seconds(
    probabilities: Path, folder: Path, workers: int, scenes: list[tuple[np.ndarray, np.ndarray]]
) -> float:
    """Wall-clock seconds for all images, without the start of the worker processes."""
    warm = [MadeMasks(probabilities, folder / f"warm{n}", READOUTS) for n in range(max(1, workers))]
    with ImagePool(workers) as pool:
        # workers start and import once per stage, not once per image
        for made in warm:
            pool.run("0", write_masks_with_crf, scenes[0][0], "0", [made])
        while not all((made.masks / "ss-crf" / "0.png").is_file() for made in warm):
            time.sleep(0.01)
        started = time.perf_counter()
        for index, (image, _) in enumerate(scenes):
            made = MadeMasks(probabilities, folder, READOUTS)
            pool.run(str(index), write_masks_with_crf, image, str(index), [made])
    # the end of the `with` block has waited for all images
    return time.perf_counter() - started


def measure(record: Record) -> None:
    """Print and keep the three ratios."""
    scenes = [scene(index) for index in range(IMAGES)]
    speedups = []
    with tempfile.TemporaryDirectory() as name:
        stored = Path(name) / "probabilities"
        store(stored, scenes)
        for number in range(ROUNDS):
            one, two = Path(name) / f"one{number}", Path(name) / f"two{number}"
            speedups.append(seconds(stored, one, 1, scenes) / seconds(stored, two, 2, scenes))
            same = all(
                np.array_equal(*(read_mask(out / "ss-crf" / f"{i}.png") for out in (one, two)))
                for i in range(IMAGES)
            )
            assert same, "masks differ with the number of processes"
    record(
        f"DenseCRF of {IMAGES} images of {SIZE[1]}x{SIZE[0]}, two processes against one",
        f"{statistics.median(speedups):.2f}x",
        "1.8x",
    )

    image, probabilities = scenes[0]
    everything = np.full((CLASSES, *SIZE), 1e-5, np.float32)
    everything[:PRESENT] = probabilities
    ratios = []
    for _ in range(ROUNDS):
        started = time.process_time()
        with_present = crf_inference(image, probabilities, CONFIG).argmax(0)
        between = time.process_time()
        with_all = crf_inference(image, everything, CONFIG).argmax(0)
        ratios.append((time.process_time() - between) / (between - started))
    record(
        f"DenseCRF on {PRESENT} present classes against all {CLASSES}",
        f"{statistics.median(ratios):.1f}x, {np.mean(with_present == with_all):.4%} of the pixels equal",
    )

    other = np.random.default_rng(1).random(probabilities.shape).astype(np.float32)
    ratios = []
    for _ in range(ROUNDS):
        started = time.process_time()
        apart = [crf_inference(image, scores, CONFIG) for scores in (probabilities, other)]
        between = time.process_time()
        crf = ImageCRF(image, CONFIG)
        together = [crf.from_probabilities(scores) for scores in (probabilities, other)]
        ratios.append((between - started) / (time.process_time() - between))
        assert np.array_equal(apart, together), "kernels that are used twice change the result"
    record("DenseCRF on two read-outs of one image, kernels made once", f"{statistics.median(ratios):.2f}x")


if __name__ == "__main__":
    with recorded(__file__) as kept:
        measure(kept)
