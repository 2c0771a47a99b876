"""Leaderboards of several methods, as finished and half-finished experiments leave them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from hand_made import World, readouts, scored, seed_rows

from wsss_bench.artifacts.metrics import Metrics, ScoredRow, write_metrics
from wsss_bench.metrics.per_image import ConfusionWriter
from wsss_bench.plan.plan import ScoredProduct, Stage

IDS = [f"i{number}" for number in range(40)]


def write_matrices(stage: Stage, miou: float) -> None:
    """Confusion matrices of single images that are better for a higher mIoU, the same images for all."""
    usual = np.random.default_rng(5).integers(20, 60, (len(IDS), 3, 3))
    with ConfusionWriter(1) as writer:
        for index, matrix in enumerate(usual + round(500 * miou) * np.eye(3, dtype=int)):
            writer.add(0, index, matrix)
        writer.save(stage.path / "confusions.npz", IDS)


class Method:
    """A row of an experiment, whose products are added one after the other.

    Args:
        world: The experiment.
        name: Of the row.
        miou: Of its seeds, as a fraction; a random seed s adds s times `step`.
        random_seeds: Number of random seeds that are planned.
        done: Number of those that are done; all by default.
        state: Of the stages that are not done: `new` or `failed`.
        method: The method that the row varies.
        dataset: Name of the data set.
    """

    def __init__(
        self,
        world: World,
        name: str,
        miou: float,
        random_seeds: int = 1,
        done: int | None = None,
        state: str = "new",
        step: float = 0.0,
        method: str | None = None,
        dataset: str = "toy",
        **hints: object,
    ) -> None:
        self.world, self.step, self.state, self.miou = world, step, state, miou
        self.done = random_seeds if done is None else done
        cells = [world.cell(name, seed, method, **hints) for seed in range(random_seeds)]
        self.cells = [replace(cell, dataset=dataset) for cell in cells]
        self.place = "" if dataset == "toy" else f"-{dataset}"

    def seeds(self, scales: str = "ss") -> Method:
        for seed in range(len(self.cells)):
            made = self._stage("seed", seed, "", cpu_seconds=600.0, params=2_500_000)
            rows = [
                replace(row, scales=scales, protocol=row.protocol.replace("/ss/", f"/{scales}/"))
                for row in seed_rows(self._miou(seed), 0.5, 0.6, 0.3)
            ]
            self._score(seed, "seed", "train", rows, made)
        return self

    def masks(self, refiner: str, gain: float = 0.0, post: str = "", extra: Sequence[str] = ()) -> Method:
        for seed in range(len(self.cells)):
            made = self._stage("refine", seed, f"-{refiner}", cpu_seconds=60.0)
            train = {"split": "toy-train", "n_images": 10, "post": post or refiner}
            rows = [scored(self._miou(seed) + gain, **train)]
            self._score(seed, "pseudo_mask", "train", rows, made, refiner=refiner, extra=tuple(extra))
        return self

    def segmentation(self, refiner: str | None = None, gain: float = 0.0, with_crf: bool = True) -> Method:
        for split in ("val", "val_ood"):
            for seed in range(len(self.cells)):
                made = self._stage("predict", seed, f"-{split}", cpu_seconds=30.0)
                rows = readouts(self._miou(seed) + gain, with_crf, split=f"toy-{split}")
                self._score(seed, "segmentation", split, rows, made, refiner=refiner)
        return self

    def _miou(self, seed: int) -> float:
        return self.miou + self.step * seed

    def _stage(self, kind: str, seed: int, suffix: str, **facts: object) -> Stage:
        state = "complete" if seed < self.done else self.state
        return self.world.stage(kind, self.cells[seed], {}, self.place + suffix, state=state, **facts)

    def _score(
        self, seed: int, product: str, split: str, rows: list[ScoredRow], made: Stage, **more: object
    ) -> None:
        done, cell = seed < self.done, self.cells[seed]
        suffix = f"{self.place}-{product}-{split}-{more.get('refiner') or ''}"
        state = "complete" if done else "new"
        stage = self.world.stage("evaluate", cell, {"masks": made}, suffix, state=state)
        if done:
            metrics = Metrics(cell.dataset, split, product, ("cat", "dog"), tuple(rows), curve=None)
            write_metrics(stage.path, metrics)
        self.world.plan.products.append(
            ScoredProduct(cell, product, split, evaluate=stage.fingerprint, **{"refiner": None, **more})
        )
        if done and split != "val_ood":
            write_matrices(stage, rows[0].miou or 0.0)
