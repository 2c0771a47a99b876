"""Cost of evaluation, as ratios to plain reference implementations measured in the same run: `make perf`.

Each time is the CPU time of one thread, the best of several repetitions, so that other work on the machine
has little influence. A reference computes the same result, which is checked.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("WANDB_MODE", "offline")  # as users run it

import contextlib
import io
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import cv2
import numpy as np
from PIL import Image
from records import Record, recorded

from wsss_bench.artifacts.files import mask_path, write_mask
from wsss_bench.crf.densecrf import CRFConfig, available, crf_inference
from wsss_bench.data.sources.base import Source
from wsss_bench.metrics.functional import confusion
from wsss_bench.metrics.sweep import ThresholdSweep
from wsss_bench.types import IGNORE

SIZE = (375, 500)
VOC_CLASSES = 20
FEW = 60
THRESHOLDS = np.arange(1, 101) / 101


def best(function: Callable[[], object], repetitions: int) -> float:
    """Shortest CPU time of several runs, in seconds."""
    times = []
    for _ in range(repetitions):
        start = time.process_time()
        function()
        times.append(time.process_time() - start)
    return min(times)


def smooth_maps(number: int, seed: int = 0) -> np.ndarray:
    """`(number, H, W)` float16 score maps that are smooth like those of a network, each with maximum 1."""
    random = np.random.default_rng(seed)
    maps = [cv2.resize(random.random((12, 16), dtype=np.float32), SIZE[::-1]) for _ in range(number)]
    return np.stack([score / score.max() for score in maps]).astype(np.float16)


def blocks(seed: int) -> np.ndarray:
    """A mask like VOC's, `(H, W)` uint8: three ellipses with borders of 255 on background."""
    random = np.random.default_rng(seed)
    mask = np.zeros(SIZE, np.uint8)
    for _ in range(3):
        centre = (int(random.integers(500)), int(random.integers(375)))
        axes = (int(random.integers(30, 120)), int(random.integers(30, 120)))
        value = int(random.integers(1, VOC_CLASSES + 1))
        cv2.ellipse(mask, centre, axes, int(random.integers(180)), 0, 360, value, -1)
        cv2.ellipse(mask, centre, axes, int(random.integers(180)), 0, 360, IGNORE, 4)
    return mask


def reference_sweep(
    scores: np.ndarray, values: np.ndarray, target: np.ndarray, num_classes: int
) -> np.ndarray:
    """For each threshold: constant background map in front of the scores, argmax, bincount."""
    stack = np.concatenate([np.zeros((1, *target.shape), np.float32), scores])
    counted = target != IGNORE
    truth = target[counted].astype(np.int64) * num_classes
    matrices = []
    for threshold in THRESHOLDS.astype(np.float32):
        stack[0] = threshold
        code = truth + values[stack.argmax(axis=0)][counted]
        matrices.append(np.bincount(code, minlength=num_classes**2).reshape(num_classes, num_classes))
    return np.stack(matrices)


def measure_sweep(record: Record) -> None:
    """100 thresholds on one 500x375 image with three of 20 classes present."""
    classes, target = np.array([3, 8, 15], np.uint8), blocks(1)
    scores = smooth_maps(3)
    full = np.zeros((VOC_CLASSES, *SIZE), np.float32)
    full[classes - 1] = scores
    references = {
        "all 21 channels": (full, np.arange(VOC_CLASSES + 1)),
        "present classes only": (scores.astype(np.float32), np.concatenate([[0], classes]).astype(np.int64)),
    }
    for stored in (np.float16, np.float32):
        kept = scores.astype(stored)
        sweep = ThresholdSweep(THRESHOLDS, VOC_CLASSES + 1)
        sweep.update(kept, classes, target)
        ours = best(lambda sweep=sweep, kept=kept: sweep.update(kept, classes, target), 20)
        for name, (maps, values) in references.items():
            once = ThresholdSweep(THRESHOLDS, VOC_CLASSES + 1)
            once.update(kept, classes, target)
            if not np.array_equal(once.confusions(), reference_sweep(maps, values, target, VOC_CLASSES + 1)):
                raise SystemExit("the sweep and the loop over thresholds give different matrices")
            naive = best(
                lambda maps=maps, values=values: reference_sweep(maps, values, target, VOC_CLASSES + 1), 3
            )
            record(
                f"100 thresholds on {np.dtype(stored).name} seeds against a loop, {name}, equal results",
                f"{naive / ours:.0f}x: {1e3 * ours:.2f} ms, {1e3 * naive:.0f} ms",
                "40x",
            )


class PNGFolder(Source):
    """A source with masks in a folder and black images."""

    def __init__(self, folder: Path, number: int) -> None:
        self.class_names = tuple(f"class {index}" for index in range(1, VOC_CLASSES + 1))
        self.folder = folder
        self.names = [f"{index:06d}" for index in range(number)]

    def ids(self, split: str) -> list[str]:
        return self.names

    def image(self, image_id: str) -> np.ndarray:
        return np.zeros((*SIZE, 3), np.uint8)

    def labels(self, image_id: str) -> np.ndarray:
        raise NotImplementedError

    def mask(self, image_id: str) -> np.ndarray:
        return decode(mask_path(self.folder, image_id))


def decode(path: Path) -> np.ndarray:
    """The values of an indexed PNG."""
    with Image.open(path) as image:
        return np.asarray(image)


def measure_evaluation(record: Record) -> None:
    """The evaluate stage on 1449 pairs of 500x375 masks, as many as VOC val, against decoding the files."""
    from wsss_bench.metrics.per_image import ConfusionWriter
    from wsss_bench.stages.evaluate import evaluate
    from wsss_bench.stages.score import score_masks

    number = 1449
    with tempfile.TemporaryDirectory() as name:
        truth, masks, out = (Path(name) / part for part in ("truth", "masks", "out"))
        source = PNGFolder(truth, number)
        for index, image_id in enumerate(source.names[:100]):
            mask = blocks(index)
            write_mask(truth, image_id, mask)
            write_mask(masks, image_id, np.where(mask == IGNORE, 0, np.roll(mask, 5, axis=1) % IGNORE))
        for index, image_id in enumerate(source.names[100:]):
            for folder in (truth, masks):
                os.link(mask_path(folder, source.names[index % 100]), mask_path(folder, image_id))
        paths = [mask_path(folder, image_id) for image_id in source.names for folder in (truth, masks)]

        def decoding() -> None:
            for path in paths:
                decode(path)

        def loop() -> None:
            with ConfusionWriter(1) as writer:
                readout = ("ss", "raw")
                score_masks(source, source.names, {readout: masks}, readout, writer, lambda done, total: None)

        def stage(images: int = number) -> None:
            shutil.rmtree(out, ignore_errors=True)
            with contextlib.redirect_stdout(io.StringIO()):
                evaluate(PNGFolder(truth, images), "val", masks=masks, out=out, resolved={})

        # both count the same
        for image_id in source.names[:5]:
            prediction, target = decode(mask_path(masks, image_id)), source.mask(image_id)
            code = target.astype(np.int64) * 256 + prediction
            plain = np.bincount(code.ravel(), minlength=65536).reshape(256, 256)[:21, :21]
            if not np.array_equal(confusion(prediction, target, 21), plain):
                raise SystemExit("the confusion matrices differ")
        import_module("wandb.sdk.launch.inputs.internal")  # as in the bench, whose stages are forked
        alone, counted, whole = (best(function, 3) for function in (decoding, loop, stage))
        few = best(lambda: stage(FEW), 3) * number / FEW
        for name, seconds in (
            ("decode, count, store", counted),
            (f"whole stage, {number} images", whole),
            (f"whole stage, {FEW} images", few),
        ):
            record(
                f"evaluation against decoding the masks alone: {name}",
                f"{seconds / alone:.2f}x: {1e3 * seconds / number:.2f} ms an image",
                "1.5x" if seconds is not few else "",
            )


def evaluate_many(number: int) -> None:
    """Score `number` images that are in memory and print by how many MB the memory of this process grew."""
    from wsss_bench.metrics.per_image import ConfusionWriter
    from wsss_bench.stages import score

    variants = [blocks(index)[::8, ::8].copy() for index in range(16)]
    predictions = [np.where(mask == IGNORE, 0, np.roll(mask, 1, axis=1) % IGNORE) for mask in variants]

    class Synthetic(PNGFolder):
        def mask(self, image_id: str) -> np.ndarray:
            return variants[int(image_id) % 16]

    source = Synthetic(Path(), number)
    score.read_mask = lambda path: predictions[int(path.stem) % 16]  # type: ignore[assignment]
    readout = ("ss", "raw")

    sizes: list[float] = []

    def watch(done: int, total: int) -> None:
        if done % 100 == 0:
            sizes.append(resident())

    with tempfile.TemporaryDirectory() as name, ConfusionWriter(1, Path(name)) as writer:
        # the first images are not measured
        score.score_masks(source, source.names[:100], {readout: Path()}, readout, writer, watch)
        before = sizes[-1]
        score.score_masks(source, source.names, {readout: Path()}, readout, writer, watch)
        writer.save(Path(name) / "confusions.npz", source.names)
        print(f"{max(sizes) - before:.1f} {resident() - before:.1f}")


def resident() -> float:
    """Memory of this process in MB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def measure_memory(record: Record) -> None:
    """Growth of memory while few and many images are scored, each number in its own process."""
    for number in (1_000, 10_000, 100_000):
        command = [sys.executable, __file__, "--evaluate-many", str(number)]
        answer = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
        record(
            f"memory added by scoring {number:,} images, and after packing".replace(",", " "),
            f"{answer[0]} MB, {answer[1]} MB",
            "does not grow",
        )


def measure_crf(record: Record) -> None:
    """The CRF of a 500x375 image with background and three present classes, against 21 and 81 classes."""
    if not available():
        print("the CRF extension is not installed (make crf); its rows are left out")
        return
    image = np.random.default_rng(0).integers(0, 255, (12, 16, 3)).astype(np.uint8)
    image = cv2.resize(image, SIZE[::-1])
    present = smooth_maps(4).astype(np.float32)
    present /= present.sum(axis=0)
    ours = best(lambda: crf_inference(image, present, CRFConfig()), 2)
    expected = crf_inference(image, present, CRFConfig()).argmax(0)
    for classes in (21, 81):
        everything = np.zeros((classes, *SIZE), np.float32)
        everything[:4] = present
        repetitions = 2 if classes == 21 else 1
        reference = best(
            lambda everything=everything: crf_inference(image, everything, CRFConfig()), repetitions
        )
        agreement = np.mean(crf_inference(image, everything, CRFConfig()).argmax(0) == expected)
        record(
            f"DenseCRF of a 500x375 image, 4 present classes against {classes}",
            f"{reference / ours:.1f}x: {ours:.2f} s, {reference:.2f} s; {100 * agreement:.2f} % equal",
        )


def main() -> None:
    """Print and keep all results."""
    cv2.setNumThreads(1)
    with recorded(__file__) as record:
        for measure in (measure_sweep, measure_evaluation, measure_memory, measure_crf):
            measure(record)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--evaluate-many"]:
        evaluate_many(int(sys.argv[2]))
    else:
        main()
