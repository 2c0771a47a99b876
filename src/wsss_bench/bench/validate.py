"""Checks the configurations of all stages that will run, before the first one starts."""

from __future__ import annotations

import copy
import json
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

from wsss_bench.artifacts.data_reads import DataRead, data_reads
from wsss_bench.artifacts.files import read_json, write_json
from wsss_bench.artifacts.layout import LOG_FILE
from wsss_bench.bench.launchers import Job, Launcher, run_to_end
from wsss_bench.bench.running import tail
from wsss_bench.data.check import load_source
from wsss_bench.data.truth import require_masks
from wsss_bench.errors import explain
from wsss_bench.plan.plan import Plan, Stage

SHOWN_NAMES = 5
Depth = Literal["parse", "build", "build if there is data"]
"""How a stage is checked: parsed only; with what it needs built; or so if its data exists."""


def check_stages(arguments: list[str]) -> int:
    """Check the stages of a JSON file and write the errors to another. Runs in a process of its own.

    Everything is parsed first, which is fast; what the stages need is built if nothing is wrong.

    Args:
        arguments: The file to read and the file to write.
    """
    from wsss_bench.stages.check import TryOut, check, check_class  # imports torch
    from wsss_bench.stages.hub_weights import missing_weights

    stages = read_json(arguments[0])
    try_out, masks = TryOut(), _Masks()
    complaints = (
        _complaints(stages, lambda stage: check(stage["command"], stage["config"]))
        or _complaints(
            [stage for stage in stages if stage["method"]],
            lambda stage: check_class(stage["config"], **stage["method"]),
        )
        or _for_stages((sentence, s["name"]) for s in stages for sentence in missing_weights(s["config"]))
        or _complaints(stages, masks.check)
        or _complaints(
            [stage for stage in stages if _can_be_built(stage)],
            lambda stage: try_out(stage["command"], stage["config"]),
        )
    )
    write_json(arguments[1], complaints)
    return 0


def _complaints(stages: list[dict[str, Any]], check: Callable[[dict[str, Any]], None]) -> list[str]:
    """What is wrong, with the stages that it is wrong with."""
    found: list[tuple[str, str]] = []
    for stage in stages:
        try:
            check(copy.deepcopy(stage))
        except Exception as error:  # noqa: PERF203 (each check costs far more)
            # a bug, perhaps of an own class, keeps its traceback
            sentence = explain(error) or f"unexpected error\n{traceback.format_exc()}"
            found.append((sentence, stage["name"]))
    return _for_stages(found)


def _for_stages(found: Iterable[tuple[str, str]]) -> list[str]:
    """Each sentence once, with the names of the stages that it is about."""
    stages: dict[str, list[str]] = {}
    for sentence, name in found:
        stages.setdefault(sentence, []).append(name)
    return [f"{_listed(names)}: {sentence}" for sentence, names in stages.items()]


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - SHOWN_NAMES} more" if len(names) > SHOWN_NAMES else ""
    return f"{', '.join(names[:SHOWN_NAMES])}{more}"


def source_of(config: dict[str, Any]) -> Any:
    """Class and arguments of the source that a stage reads."""
    return config.get("source") or config.get("data", {}).get("source")


def _can_be_built(stage: dict[str, Any]) -> bool:
    """Whether what a stage needs is built: not before its data are made, where `depth` leaves this open."""
    if stage["depth"] != "build if there is data":
        return bool(stage["depth"] == "build")
    try:
        load_source(source_of(stage["config"]))
    except Exception as error:  # of the source's own code; the parser wraps it
        cause: BaseException = error
        while cause.__cause__ is not None:
            cause = cause.__cause__
        return not isinstance(cause, FileNotFoundError)
    return True


class _Masks:
    """Checks that the masks exist that stages read; also where what a stage needs cannot be built.

    Each split is looked at once, for all stages that read its masks.
    """

    def __init__(self) -> None:
        self._found: dict[DataRead, str] = {}

    def check(self, stage: dict[str, Any]) -> None:
        """Raise `ValueError` for a stage whose masks cannot be used."""
        config = stage["config"]
        if not isinstance(config.get("data", {}).get("view", ""), str):
            return  # only the code of an own view knows what it reads
        for read in data_reads(stage["command"], config):
            if read.part == "masks":
                if read not in self._found:
                    self._found[read] = self._look(read)
                if self._found[read]:
                    raise ValueError(self._found[read])

    def _look(self, read: DataRead) -> str:
        try:
            source = load_source(json.loads(read.source))
            ids = source.ids(read.split)
        except Exception:  # of the source's own code: what is built next says so, if the data should exist
            return ""
        try:
            require_masks(source, ids, read.split)
        except (OSError, ValueError) as error:
            return explain(error) or str(error)
        return ""


def methods_of(plan: Plan) -> dict[str, dict[str, Any]]:
    """File and `bench:` block of the method of each stage that builds one, by fingerprint."""
    found = {}
    for product in plan.products:
        content, file = product.cell.content, str(product.cell.file)
        for stage in plan.chain(product.evaluate) if product.evaluate else ():
            if stage.config.get("model", {}).get("class_path") == content.model.class_path:
                found[stage.fingerprint] = {"file": file, "bench": asdict(content.bench)}
    return found


def validate(
    stages: list[Stage],
    launcher: Launcher,
    depth: Callable[[Stage], Depth] = lambda stage: "build",
    methods: Mapping[str, Mapping[str, Any]] | None = None,
) -> None:
    """Check `stages` in one process of `launcher`, whose target must be `check_stages`.

    Args:
        stages: The stages.
        launcher: Starts the process.
        depth: How a stage is checked.
        methods: What the files of methods say about their classes, by fingerprint of a stage (`methods_of`).

    Raises:
        ValueError: all messages of all stages.
    """
    methods = methods or {}
    if not stages:
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        question, answer = folder / "stages.json", folder / "messages.json"
        question.write_text(
            json.dumps(
                [
                    {
                        "name": stage.name,
                        "command": stage.command,
                        "config": stage.config,
                        "depth": depth(stage),
                        "method": methods.get(stage.fingerprint),
                    }
                    for stage in stages
                ]
            )
        )
        status = run_to_end(launcher, Job([str(question), str(answer)], folder))
        if status != 0 or not answer.is_file():
            print(tail(folder / LOG_FILE), file=sys.stderr)
            raise ValueError("the configurations could not be checked; the lines above say why")
        messages = read_json(answer)
    if messages:
        raise ValueError("nothing was started, because these stages cannot run:\n  " + "\n  ".join(messages))
