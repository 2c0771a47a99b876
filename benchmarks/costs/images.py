"""Measures what the work on single images costs that no network does: reading out, CRF, refining, scoring."""

from __future__ import annotations

import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from noise import Noise
from PIL import Image
from torch import Tensor

from wsss_bench.artifacts.files import write_mask
from wsss_bench.artifacts.probabilities import ProbabilityShards
from wsss_bench.artifacts.seeds import SeedShards, read_seed
from wsss_bench.callbacks import predicted_mask
from wsss_bench.crf.densecrf import CRFConfig
from wsss_bench.crf.readouts import MadeMasks, ReadoutCRF, write_masks_with_crf
from wsss_bench.inference import predict
from wsss_bench.inference_config import InferenceConfig
from wsss_bench.methods.optim import OptimConfig
from wsss_bench.own_modules import import_class
from wsss_bench.placement import Stretched
from wsss_bench.plan.config_folder import REFINE, ConfigFolder
from wsss_bench.refine.base import NetworkRefiner
from wsss_bench.stages.evaluate import main as evaluate
from wsss_bench.types import InferenceSample

REPEATS = 3
STRIDE = 16
FEW, MANY = 8, 40
"""Images of two evaluations; their difference is without the start."""
SCALES = (1.0, 0.5, 1.5, 2.0)


class Maps:
    """In the place of a method: maps of the right size at once, with two present classes."""

    seed_placement = segmentation_placement = Stretched()
    gradients_at_inference = seeds_with_background = False
    device = torch.device("cpu")

    def __init__(self, classes: int) -> None:
        self.classes = classes

    def seed_maps(self, image: Tensor, labels: Any = None, references: Sequence[Any] = ()) -> Tensor:
        return self._maps(image, self.classes).relu()

    def segmentation_logits(self, image: Tensor) -> Tensor:
        return self._maps(image, 1 + self.classes)

    def _maps(self, image: Tensor, number: int) -> Tensor:
        height, width = (-(-side // STRIDE) for side in image.shape[-2:])
        maps = torch.zeros(len(image), number, height, width)
        maps[:, 0, :, : width // 3] = maps[:, 1, :, width // 3 : width // 2] = 5
        maps[:, 2, :, width // 2 :] = 5
        return maps


def measure_images(
    folder: ConfigFolder, worlds: dict[str, tuple[str, tuple[int, int]]]
) -> list[dict[str, Any]]:
    """Seconds of one image on one core: what is done, on how many pixels and classes."""
    rows = []
    for dataset, (vocabulary, size) in worlds.items():
        source = Noise(vocabulary, size)
        facts = {"megapixels": size[0] * size[1] / 1e6, "classes": len(source.class_names)}
        with tempfile.TemporaryDirectory() as name, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for what, seconds in _works(folder, dataset, source, Path(name)):
                rows.append({"work": what, **facts, "seconds": float(f"{seconds:.4g}")})
                print(rows[-1], flush=True)
    return rows


def _works(folder: ConfigFolder, dataset: str, source: Noise, out: Path) -> Any:
    sample = InferenceSample("val0", source.image("val0"), source.labels("val0"))
    maps = Maps(len(source.class_names))
    multi = tuple(folder.data(dataset).protocol.scales)
    config = InferenceConfig(scales=SCALES, multi_scales=multi)

    def segmentation() -> None:
        for name, probabilities in predict(maps, [sample], "segmentation", config)[0].items():
            write_mask(out / name, "val0", probabilities.argmax(dim=0).byte().numpy())

    with SeedShards(out / "timed") as shards:
        yield "seed", _seconds(lambda: shards.write(*predict(maps, [sample], "seed", config)))
    yield "segmentation", _seconds(segmentation)
    predicted = predict(maps, [sample], "segmentation", config)[0].items()
    with ProbabilityShards(out / "probabilities") as stored:
        for_crf = {name: predicted_mask("val0", found, "present").for_crf for name, found in predicted}
        stored.write("val0", {name: one for name, one in for_crf.items() if one is not None})
    crf = ReadoutCRF(CRFConfig(**folder.data(dataset).protocol.crf))
    made = MadeMasks(out / "probabilities", out, [(name, f"{name}-crf", crf) for name in for_crf])
    yield "crf", _seconds(lambda: write_masks_with_crf(sample.image, "val0", [made]))
    with SeedShards(out / "seeds") as shards:
        for image_id in source.ids("val")[:MANY]:
            shards.write(*predict(maps, [sample._replace(image_id=image_id)], "seed", config))
            write_mask(out / "masks", image_id, source.mask(image_id) % 255)
    (out / "saliency").mkdir()
    Image.fromarray(np.where(source.mask("val0") > 0, 255, 0).astype(np.uint8)).save(
        out / "saliency" / "val0.png"
    )
    for name in folder.names(REFINE):
        file = folder.refiner(name, dataset, {})
        for spec in (file.refiner, file.affinity_labels):
            if spec is not None:
                refiner = _refiner(spec, file, out / "saliency")

                def refine(refiner: Any = refiner) -> None:
                    write_mask(
                        out / "refined", "val0", refiner(sample.image, read_seed(out / "seeds", "val0"))
                    )

                yield f"refine {spec.class_path}", _seconds(refine)
    for kind, arguments in (("seeds", ["--threshold=0.3", "--holdout=4"]), ("masks", [])):
        few, many = (_evaluation(source, dataset, out, kind, arguments, images) for images in (FEW, MANY))
        yield f"evaluate {kind}", (many - few) / (MANY - FEW)


def _evaluation(
    source: Noise, dataset: str, out: Path, kind: str, arguments: list[str], images: int
) -> float:
    options = [
        "--source.class_path=noise.Noise",
        f"--source.init_args.size=[{source.size[0]},{source.size[1]}]",
    ]
    options += [f"--source.init_args.classes={dataset}", f"--source.init_args.images={images}"]
    with redirect_stdout(StringIO()):
        return _seconds(lambda: evaluate([*options, "--split=val", f"--{kind}={out / kind}", *arguments]))


def _refiner(spec: Any, file: Any, saliency: Path) -> Any:
    arguments = {**spec.init_args}
    if "folder" in arguments:
        arguments["folder"] = str(saliency)
    if "threshold" in arguments and arguments["threshold"] is None:
        arguments["threshold"] = 0.3
    if "crf" in arguments:
        arguments["crf"] = CRFConfig(**arguments["crf"])
    refiner = import_class(spec.class_path)(**arguments)
    if isinstance(refiner, NetworkRefiner):
        model = {**file.network.model.init_args, "weights": None, "optim": OptimConfig()}
        refiner.network = import_class(file.network.model.class_path)(["a", "b"], **model).eval()
    return refiner


def _seconds(work: Callable[[], Any]) -> float:
    """CPU seconds, the median of some runs."""
    found = []
    for _ in range(REPEATS):
        started = time.process_time()
        work()
        found.append(time.process_time() - started)
    return float(np.median(found))
