"""The check that stages run: a short training, and predictions from its checkpoint."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import yaml

from wsss_bench.artifacts.files import read_manifest, read_mask
from wsss_bench.artifacts.layout import MASKS, SEEDS
from wsss_bench.artifacts.seeds import read_seed, seed_ids
from wsss_bench.contract.outcome import Failure
from wsss_bench.contract.subject import Subject
from wsss_bench.contract.world import FEW, FEW_IMAGES
from wsss_bench.stages import fit
from wsss_bench.stages import predict as predict_stage


def stages_run_and_a_checkpoint_brings_the_same_maps_back(subject: Subject) -> None:
    """The command line trains the method and predicts four images twice from its checkpoint, alike.

    What is not in the checkpoint or changes from run to run shows as a difference.
    """
    with TemporaryDirectory() as name:
        folder = Path(name)
        train = folder / "train"
        if subject.trains:
            run(fit, folder, subject.config(train))
            if not read_manifest(train)["params"]:
                raise Failure("the method has no trainable parameter; set bench.trains: false")
        first, second = (_predict(subject, folder, name, train) for name in ("first", "second"))
    if not len(first) == len(second) == FEW_IMAGES:
        raise Failure(f"{len(first)} and {len(second)} of {FEW_IMAGES} images were predicted; expected all")
    for one, other in zip(first, second, strict=True):
        if not np.array_equal(one, other):
            raise Failure(
                "two predictions from one checkpoint differ; draw nothing at random in prediction, and keep "
                "all that is trained in parameters or buffers"
            )


def _predict(subject: Subject, folder: Path, name: str, train: Path) -> list[np.ndarray]:
    """Seeds or masks of all images of the split."""
    product = subject.products[0]
    config = subject.config(folder / name, checkpoint=str(train) if subject.trains else None)
    config |= {"product": product, "split": FEW, "inference": subject.content.inference}
    run(predict_stage, folder, config)
    if product == "seed":
        ids = sorted(seed_ids(folder / name / SEEDS))
        return [read_seed(folder / name / SEEDS, image_id).scores for image_id in ids]
    return [read_mask(path) for path in sorted((folder / name / MASKS / "ms-raw").glob("*.png"))]


def run(stage: Any, folder: Path, config: dict[str, Any]) -> None:
    """Run a stage through its command line."""
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(config))
    stage.main(["--config", str(path)])
