"""What is written and removed in the folder of a stage before its process starts."""

from __future__ import annotations

from collections.abc import Sequence

from wsss_bench.artifacts.layout import BEGUN_FILE, LOG_FILE, PLAN_FILE, TOGETHER, find_json
from wsss_bench.artifacts.stage_files import inputs_read, remove_stage
from wsss_bench.plan.plan import Stage


def together(companions: Sequence[Stage]) -> list[str]:
    """Arguments that let the command of a stage run further stages, too."""
    files = [str(companion.path / PLAN_FILE) for companion in companions]
    return [TOGETHER, *files] if files else []


def note_in_log(stage: Stage, line: str) -> None:
    """Add a line to the log of a stage that does not write one itself."""
    with open(stage.path / LOG_FILE, "a") as log:
        log.write(f"{line}\n")


def begin_anew_if_inputs_changed(stage: Stage) -> None:
    """Remove an interrupted stage, locked, if an input was made again since it began, with other files.

    Its results so far belong to the old input. The log of the new attempt says so.
    """
    read = find_json(stage.path / BEGUN_FILE).get("read", {})
    now = inputs_read(stage.config)
    changed = [role for role in read if role in now and read[role] != now[role]]
    if changed:
        remove_stage(stage.path)
        stage.path.mkdir(parents=True)
        (stage.path / LOG_FILE).write_text(
            f"begins anew: {', '.join(changed)} was made again since the interrupted attempt\n"
        )
