"""Plans and stage folders made by hand, as a finished or interrupted bench would have left them."""

from __future__ import annotations

from pathlib import Path

from wsss_bench.artifacts.files import write_json, write_manifest
from wsss_bench.artifacts.metrics import Metrics, ScoredRow, write_metrics
from wsss_bench.plan.config import DataFile, MethodFile
from wsss_bench.plan.matrix import Cell
from wsss_bench.plan.plan import Plan, ScoredProduct, Stage
from wsss_bench.plan.schema import read_as
from wsss_bench.report.leaderboard import Leaderboard, make_leaderboard
from wsss_bench.report.results import read_results

DATA = {
    "data": {"source": {"class_path": "fake.VOC"}},
    "protocol": {
        "dataset": "toy",
        "train_split": "train",
        "eval_splits": ["val", "val_ood"],
        "holdout": 2,
        "counts": {"train": 10, "val": 3, "val_ood": 3},
        "scales": [1.0],
        "crf": {},
    },
}


class World:
    """Builds a plan and the stage folders that a finished run would have left."""

    def __init__(self, root: Path, **protocol: object) -> None:
        self.root = root
        data = read_as(DataFile, {**DATA, "protocol": {**DATA["protocol"], **protocol}}, "toy.yaml")
        self.plan = Plan("toy", {}, None, {"toy": data}, with_data=lambda digests: self.plan)

    def cell(self, row: str, random_seed: int = 0, method: str | None = None, **hints: object) -> Cell:
        defaults = {"pipeline": "multi_stage", "supervision": "image", "backbone": "R50", "threshold": 0.2}
        content = {"model": {"class_path": "fake.X"}, "bench": {**defaults, **hints}}
        file = Path(f"{row}.yaml")
        return Cell(row, method or row, "toy", random_seed, read_as(MethodFile, content, file), file)

    def stage(
        self,
        kind: str,
        cell: Cell,
        inputs: dict[str, Stage],
        suffix: str = "",
        config: dict | None = None,
        **facts: object,
    ) -> Stage:
        """A complete stage, or one without its manifest where `state` is `new` or `failed`."""
        label = f"{cell.row}-toy-s{cell.random_seed}{suffix}"
        fingerprint = f"{kind}-{label}"
        path = self.root / "stages" / fingerprint
        path.mkdir(parents=True, exist_ok=True)
        keys = {role: stage.fingerprint for role, stage in inputs.items()}
        stage = Stage(kind, label, config or {}, keys, fingerprint, path)
        self.plan.stages[fingerprint] = stage
        state = facts.pop("state", "complete")
        if state == "failed":
            write_json(path / "failed.json", {"reason": "it ended with status 1"})
        if state == "complete":
            write_manifest(path, {"commit": "abc", "cpu_seconds": 1.0, "peak_memory_mb": 50.0, **facts})
        return stage

    def score(
        self,
        cell: Cell,
        product: str,
        split: str,
        rows: list[ScoredRow],
        made_by: Stage,
        crf_masks: Stage | None = None,
        **facts: object,
    ) -> Stage:
        inputs = {"seeds" if product == "seed" else "masks": made_by} | (
            {} if crf_masks is None else {"crf_masks": crf_masks}
        )
        stage = self.stage("evaluate", cell, inputs, f"-{product}-{split}", **facts)
        metrics = Metrics(cell.dataset, split, product, ("cat", "dog"), tuple(rows), curve=None)
        write_metrics(stage.path, metrics)
        refiner = rows[0].post if product == "pseudo_mask" and rows else None
        self.plan.products.append(ScoredProduct(cell, product, split, refiner, stage.fingerprint))
        return stage

    def leaderboard(self) -> Leaderboard:
        return make_leaderboard(read_results(self.plan))


def scored(
    miou: float,
    rule: str = "na",
    threshold: float | None = None,
    split: str = "toy-val",
    scales: str = "ss",
    post: str = "raw",
    n_images: int = 3,
    headline: bool = True,
) -> ScoredRow:
    shown = rule if threshold is None else f"{rule}-{threshold:.2f}"
    labels = "given" if split.endswith("train") else "none"
    return ScoredRow(
        protocol=f"{split}/n{n_images}/labels-{labels}/{scales}/{post}/thr-{shown}/last",
        image_labels=labels,
        scales=scales,
        post=post,
        rule=rule,
        threshold=threshold,
        checkpoint="last",
        n_images=n_images,
        miou=miou,
        iou=(0.9, miou, None),
        false_positive_background=0.125,
        false_negative_background=0.25,
        absent=("dog",),
        headline=headline,
    )


def seed_rows(fixed: float, heldout: float, oracle: float, chosen: float) -> list[ScoredRow]:
    train = {"split": "toy-train", "n_images": 10}
    return [
        scored(fixed, "fixed", 0.2, **train),
        scored(heldout, "heldout", chosen, headline=False, **{**train, "n_images": 8}),
        scored(oracle, "oracle", chosen + 0.05, headline=False, **train),
    ]


def readouts(raw: float, with_crf: bool = True, **values: object) -> list[ScoredRow]:
    posts = ("raw", "crf") if with_crf else ("raw",)
    return [
        scored(raw + bonus, scales=scales, post=post, headline=(scales, post) == ("ss", "raw"), **values)
        for scales, bonus in (("ss", 0.0), ("ms", 0.02))
        for post in posts
    ]
