"""Holds a stage that is run by hand to its plan: what is in a planned folder is what the plan says."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import yaml
from jsonargparse import ArgumentParser

from wsss_bench.artifacts.files import is_complete, read_manifest
from wsss_bench.artifacts.identity import describe, differences, fingerprint_of
from wsss_bench.artifacts.layout import PLAN_FILE, READ, how_to_mend
from wsss_bench.artifacts.pruning import pruned_folders
from wsss_bench.artifacts.run import StageInfo

Config = dict[str, Any]
STRICTLY = ("accelerator", "trainer.accelerator", "trainer.strategy")
"""Keys that an interrupted stage may change, and a planned one may not: the fingerprint holds them."""


def planned_stage(
    out: Path, config: Config, resolve: Callable[[Config], Config], alone: Path | None = None
) -> tuple[StageInfo, Config]:
    """The facts of a stage from its plan, and the planned configuration.

    A folder without a plan is a stage that was started by hand. Where its options came from a plan, it keeps
    title and experiment, but not the fingerprint: its results never count as planned ones.

    Args:
        out: The stage folder.
        config: The resolved configuration of this run, in JSON types.
        resolve: Resolves the content of a configuration file, without options of the command line and without
            environment variables.
        alone: The file that the configuration comes from, if it comes from nothing else (`only_file`).

    Raises:
        ValueError: `plan.yaml` was edited, or the configuration differs from it; or a stage that is read is
            not complete, was pruned, or is not the planned one.
    """
    info = StageInfo(**(config.get("stage") or {}))
    plan = _read_plan(out / PLAN_FILE)
    if plan is None:
        return replace(info, fingerprint="", data={}), config
    planned = StageInfo(**plan["stage"])
    if fingerprint_of(planned.kind, plan, planned.inputs, planned.data) != planned.fingerprint:
        raise ValueError(
            f"{out / PLAN_FILE} was edited: it does not have the fingerprint that it was planned with. Run "
            "the bench again, which writes it anew; for a stage of your own, copy it and add --out with "
            "another folder"
        )
    # resolving takes a third of a second, which the stages of a bench save
    expected = config if alone is not None and alone.samefile(out / PLAN_FILE) else resolve(plan)
    differing = differences(expected, config, strictly=STRICTLY)
    if asdict(info) != asdict(planned):
        given, wanted = asdict(info), asdict(planned)
        differing |= {
            f"stage.{key}": (wanted[key], given[key])
            for key in ("kind", "fingerprint", "inputs", "data")
            if wanted[key] != given[key]
        }
    if differing:
        raise ValueError(
            f"{out} is planned with another configuration: {describe(differing, 'planned', 'given')}. Leave "
            "these options out, or add --out with another folder, which makes a stage of your own"
        )
    for role, fingerprint in planned.inputs.items():
        _require_input(role, Path(expected[role]), fingerprint)
    return planned, expected


def only_file(argv: Sequence[str] | Config, parser: ArgumentParser) -> Path | None:
    """The file of a command line that is nothing but `--config FILE`; None for any other one."""
    if isinstance(argv, dict) or len(argv) != 2 or argv[0] != "--config" or parser.default_env:
        return None
    return Path(argv[1]) if Path(argv[1]).is_file() else None


def _require_input(role: str, stage: Path, fingerprint: str) -> None:
    """Refuse a stage that is still running or was interrupted, and one that is not the planned one."""
    if not is_complete(stage):
        raise ValueError(f"{role}: the stage {stage} is not complete; run it first, or run the bench")
    folder = READ.get(role)
    if folder in pruned_folders(stage):
        raise ValueError(f"{role}: {stage / str(folder)} was pruned; {how_to_mend(stage / str(folder))}")
    found = str(read_manifest(stage).get("fingerprint"))
    if found != fingerprint:
        raise ValueError(
            f"{role}: {stage} holds the stage {found[:8]!r}, the plan names {fingerprint[:8]!r}; move it "
            "away and run the bench again"
        )


def _read_plan(path: Path) -> Config | None:
    """The content of a plan; None if there is none, or if the file is no plan of a stage."""
    if not path.is_file():
        return None
    content = yaml.safe_load(path.read_text())
    stage = content.get("stage") if isinstance(content, dict) else None
    return content if isinstance(stage, dict) and stage.get("fingerprint") else None
