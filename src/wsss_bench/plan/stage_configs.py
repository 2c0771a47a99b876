"""The configurations of stages: what the cells of a plan have in common. `planner.py` says which stages a cell has."""

from __future__ import annotations

import json
from typing import Any

from wsss_bench.plan.config import NetworkSpec, Protocol
from wsss_bench.plan.matrix import Cell
from wsss_bench.plan.plan import Plan, Stage, StageFolder, fingerprint_of
from wsss_bench.plan.yaml_files import merge


class StageConfigs:
    """Writes configurations of stages and adds the stages to a plan."""

    def __init__(self, plan: Plan, folder: StageFolder) -> None:
        self.plan = plan
        self.folder = folder

    def sections(self, cell: Cell) -> dict[str, Any]:
        """What `fit` and `predict` both take."""
        content = cell.content
        return self.network(cell, NetworkSpec(content.model, content.data, content.trainer))

    def network(self, cell: Cell, spec: NetworkSpec) -> dict[str, Any]:
        """A network, its data and its trainer."""
        return {
            "seed_everything": cell.random_seed,
            "model": {"class_path": spec.model.class_path, "init_args": spec.model.init_args},
            "data": merge(spec.data, self.plan.datasets[cell.dataset].data),
            "trainer": spec.trainer,
        }

    def evaluation(self, cell: Cell, split: str, product: str) -> dict[str, Any]:
        """What is scored, and on which images."""
        protocol, source = self.data(cell)
        return {
            "source": source,
            "dataset": protocol.dataset,
            "split": split,
            "product": product,
            "count": protocol.counts[split],
            "checkpoint_rule": "last",
        }

    def training_source(self, cell: Cell) -> dict[str, Any]:
        """The source of seeds and pseudo masks: the data set, with the extra images that the method has in training."""
        _, source = self.data(cell)
        extra_images = cell.content.data.get("extra_images")
        if not extra_images:
            return source
        arguments = {"main": source, "split": self.training_split(cell), "extra_images": extra_images}
        return {"class_path": "wsss_bench.data.sources.combined.CombinedSource", "init_args": arguments}

    def training_split(self, cell: Cell) -> str:
        """The split that networks are trained on; it may hold more images than the one that is scored."""
        data = self.plan.datasets[cell.dataset]
        return data.data.get("train_split", data.protocol.train_split)

    def data(self, cell: Cell) -> tuple[Protocol, dict[str, Any]]:
        """Protocol and source of the data set of a cell."""
        data = self.plan.datasets[cell.dataset]
        return data.protocol, data.source

    def stage(self, kind: str, title: str, config: dict[str, Any], reads: dict[str, Stage | None]) -> Stage:
        """The stage of the plan with this configuration, added if it is new."""
        inputs = {role: stage.fingerprint for role, stage in reads.items() if stage is not None}
        fingerprint = fingerprint_of(kind, config, inputs)
        if fingerprint not in self.plan.stages:
            path = self.folder.path(kind, title, fingerprint)
            info = {
                "experiment": self.plan.experiment,
                "title": title,
                "kind": kind,
                "fingerprint": fingerprint,
                "inputs": inputs,
            }
            config = json.loads(
                json.dumps({**config, "out": str(path), "stage": info})
            )  # no shared parts: no YAML anchors
            self.plan.stages[fingerprint] = Stage(kind, title, config, inputs, fingerprint, path)
        return self.plan.stages[fingerprint]


def title_of(cell: Cell, suffix: str | None = None) -> str:
    """Row, data set, seed, and what else tells a stage of a cell apart."""
    return "-".join(part for part in (cell.row, cell.dataset, f"s{cell.random_seed}", suffix) if part)


def scales_of(cell: Cell) -> str:
    """`ms` where seeds are made at several scales, else `ss`."""
    return "ms" if len(cell.content.inference.get("scales") or [1.0]) > 1 else "ss"
