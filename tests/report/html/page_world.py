"""A small experiment with real files: drawn images, seeds and masks of methods, scored by `evaluate`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from hand_made import World

from wsss_bench.artifacts.files import write_bytes, write_mask
from wsss_bench.artifacts.seeds import SeedShards
from wsss_bench.data.sources.base import Source
from wsss_bench.plan.matrix import Cell
from wsss_bench.plan.plan import ScoredProduct, Stage
from wsss_bench.stages.evaluate import evaluate
from wsss_bench.types import ScoreMaps

SIZE = (36, 48)
CURVES = "step,epoch,lr/0,train/loss\n10,0,0.1,0.9\n20,1,0.01,0.4\n"


class Drawn(Source):
    """Images of one rectangle each, of the class with the number of the image.

    Args:
        class_names: Classes.
        number: Images of each split.
        background: False for a data set without background.
        prefix: Start of all image ids.
        readable: False for images that are not on disk.
    """

    def __init__(
        self,
        class_names: list[str],
        number: int = 6,
        background: bool = True,
        prefix: str = "",
        readable: bool = True,
    ) -> None:
        self.class_names = tuple(class_names)
        self.number = number
        self.has_background = background
        self.prefix = prefix
        self.readable = readable

    def ids(self, split: str) -> list[str]:
        return [f"{self.prefix}{split}/{k:03}" for k in range(self.number)]

    def image(self, image_id: str) -> np.ndarray:
        if not self.readable:
            raise FileNotFoundError(f"image {image_id} does not exist")
        return np.repeat(60 * self.drawn(image_id, 0)[..., None], 3, axis=2) + np.uint8(40)

    def labels(self, image_id: str) -> np.ndarray:
        return np.eye(len(self.class_names), dtype=np.float32)[self._class(image_id)]

    def mask(self, image_id: str) -> np.ndarray:
        mask = self.drawn(image_id, 0)
        return mask if self.has_background else np.where(mask, mask, np.uint8(255))

    def drawn(self, image_id: str, shift: int) -> np.ndarray:
        """The mask with its rectangle shifted to the right."""
        mask = np.zeros(SIZE, np.uint8)
        mask[8:28, 10 + shift : 30 + shift] = 1 + self._class(image_id)
        return mask

    def _class(self, image_id: str) -> int:
        return int(image_id[-3:]) % len(self.class_names)


class PageWorld(World):
    """The stages of methods whose masks are shifted: the further, the worse.

    Args:
        root: Folder of all results.
        class_names: Classes of the data.
        data: Further arguments of `Drawn`.
    """

    def __init__(self, root: Path, class_names: tuple[str, ...] = ("cat", "dog"), **data: object) -> None:
        self.source = Drawn(list(class_names), **data)
        number = self.source.number
        super().__init__(root, counts=dict.fromkeys(("train", "val", "val_ood"), number))
        self.config = {
            "class_path": "page_world.Drawn",
            "init_args": {"class_names": list(class_names), **data},
        }

    def add_method(self, name: str, shift: int, random_seed: int = 0, **hints: object) -> Cell:
        """Training, seeds, masks of the refiner `irn`, and segmentations of val and val_ood."""
        cell = self.cell(name, random_seed, **hints)
        config = {"seed_everything": random_seed}
        train = self.stage("train", cell, {}, config=config, params=1000, cpu_seconds=30.0)
        write_bytes(train.path / "curves.csv", CURVES.encode())
        write_bytes(train.path / "log.txt", b"a log\n")
        seeds = self.stage("seed", cell, {"checkpoint": train})
        self.write_seeds(seeds, shift)
        self.score_files(cell, "seed", "train", {"seeds": seeds}, threshold=0.2, holdout=2)
        masks = self.stage("refine", cell, {"seeds": seeds}, "-irn")
        self.write_masks(masks.path / "masks", "train", shift - 2)
        self.score_files(cell, "pseudo_mask", "train", {"masks": masks}, post="irn", refiner="irn")
        self.add_segmentation(cell, shift - 1, {"checkpoint": train})
        return cell

    def add_segmentation(self, cell: Cell, shift: int, inputs: dict[str, Stage]) -> None:
        """Segmentations of val and val_ood, the second one worse."""
        for split in ("val", "val_ood"):
            masks = self.stage("predict", cell, inputs, f"-{split}")
            for readout in ("ss-raw", "ms-raw"):
                further = (split == "val_ood") + 2 * (readout == "ss-raw")
                self.write_masks(masks.path / "masks" / readout, split, shift + further)
            self.score_files(cell, "segmentation", split, {"masks": masks})

    def write_seeds(self, stage: Stage, shift: int) -> None:
        """Seeds whose mask at 0.2 is the shifted truth."""
        with SeedShards(stage.path / "seeds") as writer:
            for image_id in self.source.ids("train"):
                mask = self.source.drawn(image_id, shift)
                scores = np.where(mask > 0, 0.9, 0.1).astype(np.float16)[None]
                writer.write(ScoreMaps(image_id, np.unique(mask[mask > 0]), scores, SIZE))

    def write_masks(self, folder: Path, split: str, shift: int) -> None:
        """The truth of a split, shifted."""
        for image_id in self.source.ids(split):
            write_mask(folder, image_id, self.source.drawn(image_id, shift))

    def score_files(
        self,
        cell: Cell,
        product: str,
        split: str,
        inputs: dict[str, Stage],
        refiner: str | None = None,
        **options: object,
    ) -> None:
        """Run the evaluate stage on the files of a stage, and add it to the plan."""
        config = {"source": self.config, "split": split}
        stage = self.stage("evaluate", cell, inputs, f"-{product}-{split}", config=config, state="new")
        (read,) = inputs.values()
        labels = "given" if split == "train" else "none"
        files = dict.fromkeys(inputs, read.path)
        evaluate(
            self.source, split, product=product, dataset="toy", image_labels=labels, out=stage.path,
            resolved={}, **files, **options,
        )  # fmt: skip
        self.plan.products.append(ScoredProduct(cell, product, split, refiner, stage.fingerprint))
