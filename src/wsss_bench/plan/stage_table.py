"""The unique stages of a plan."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from wsss_bench.artifacts.data_reads import DataRead, data_reads
from wsss_bench.artifacts.identity import fingerprint_of
from wsss_bench.artifacts.layout import COMMANDS
from wsss_bench.plan.plan import Stage, StageFolder


class StageTable:
    """Stages by fingerprint, inputs before those that read them.

    Cells share stages: a stage keeps the title, the folder and the facts that it got when it was first added.

    Args:
        experiment: Name of the experiment, recorded in the stages.
        folder: Where stage folders are.
        data: Digests of the data, where they are known.
    """

    def __init__(self, experiment: str, folder: StageFolder, data: Mapping[DataRead, str]) -> None:
        self.stages: dict[str, Stage] = {}
        self.data: dict[DataRead, str | None] = {}
        self._known_data = data
        self._experiment = experiment
        self._folder = folder

    def stage(
        self,
        kind: str,
        title: str,
        config: dict[str, Any],
        reads: Mapping[str, Stage | None],
        prediction: Mapping[str, Any] | None = None,
        shares: str = "",
        facts: Mapping[str, Any] | None = None,
    ) -> Stage:
        """The stage with this configuration and these inputs, added if it is new.

        Args:
            kind: As in `Stage`.
            title: Used if the stage is new.
            config: What its command takes, except for `out` and `stage`.
            reads: The stages that it reads, by role; None where there is none.
            prediction: Of a training: how its method predicts, as `StageInfo` records it.
            shares: As in `Stage`.
            facts: Used if the stage is new, as `StageInfo` records them.
        """
        inputs = {role: stage.fingerprint for role, stage in reads.items() if stage is not None}
        found = {read: self._known_data.get(read) for read in data_reads(COMMANDS[kind], config)}
        self.data.update(found)
        data = {read.name: digest for read, digest in found.items() if digest is not None}
        fingerprint = fingerprint_of(kind, config, inputs, data)
        if fingerprint not in self.stages:
            path = self._folder.path(kind, title, fingerprint)
            info = {
                "experiment": self._experiment,
                "title": title,
                "kind": kind,
                "fingerprint": fingerprint,
                "inputs": inputs,
                "data": data,
                **({"prediction": prediction} if prediction else {}),
                **({"facts": facts} if facts else {}),
            }
            # a copy without shared parts: the YAML file of a stage then has no anchors
            own = json.loads(json.dumps({**config, "out": str(path), "stage": info}))
            self.stages[fingerprint] = Stage(kind, title, own, inputs, fingerprint, path, shares)
        return self.stages[fingerprint]
