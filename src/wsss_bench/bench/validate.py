"""Checks the configurations of all stages that will run, before the first one starts."""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from wsss_bench.artifacts.files import read_json, write_json
from wsss_bench.artifacts.layout import LOG_FILE
from wsss_bench.bench.launchers import Job, Launcher
from wsss_bench.bench.runner import tail
from wsss_bench.plan.plan import Stage


def check_stages(arguments: list[str]) -> int:
    """Check the stages of a JSON file and write the errors to another. Runs in a process of its own.

    Args:
        arguments: The file to read and the file to write.
    """
    from wsss_bench.stages.check import check  # imports torch

    def complaint(stage: dict[str, Any]) -> str | None:
        try:
            check(stage["command"], stage["config"])
        except ValueError as error:
            return f"{stage['name']}: {error}"
        return None

    complaints = (complaint(stage) for stage in read_json(arguments[0]))
    write_json(arguments[1], [text for text in complaints if text])
    return 0


def validate(stages: list[Stage], launcher: Launcher) -> None:
    """Check `stages` in one process of `launcher`, whose target must be `check_stages`.

    Raises:
        ValueError: all messages of all stages.
    """
    if not stages:
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        question, answer = folder / "stages.json", folder / "messages.json"
        question.write_text(
            json.dumps(
                [{"name": stage.name, "command": stage.command, "config": stage.config} for stage in stages]
            )
        )
        running = launcher.start(Job([str(question), str(answer)], folder))
        try:
            while (status := running.exit_status) is None:
                time.sleep(0.05)
        except KeyboardInterrupt:
            running.kill()
            raise
        if status != 0 or not answer.is_file():
            print(tail(folder / LOG_FILE), file=sys.stderr)
            raise ValueError("the configurations could not be checked; the lines above say why")
        messages = read_json(answer)
    if messages:
        raise ValueError("nothing was started, because these stages cannot run:\n  " + "\n  ".join(messages))
