"""How a run of W&B is opened, and what happens when W&B fails.

`WANDB_MODE=online` sends a run to a server, `offline` (the default) writes it into a folder that
`wsss-bench sync` uploads, with the same content, and `disabled` writes nothing.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wsss_bench.artifacts.layout import WANDB
from wsss_bench.artifacts.run import FACTS

PROJECT = "wsss_bench"
CONSOLE = "wrap"
"""How W&B copies the output of a stage. Its default puts a terminal of its own in the place of a log file or
pipe, so that other packages print colours and progress bars there."""
SETTINGS: dict[str, Any] = {"x_save_requirements": False, "init_timeout": 30}
"""Settings of every run. W&B would list all installed packages at each start, which takes longer than to
score 60 masks; `stage.json` has the versions of those that can change a result. It would wait 90 seconds for
a server that does not answer."""
LONGEST_ID, LONGEST_TAG = 128, 64
"""Characters that W&B takes."""


@dataclass(frozen=True)
class RunHeader:
    """What a run is found by.

    Args:
        id: Two runs with the same id are the same run.
        name: For people.
        group: The cell that a stage belongs to.
        job_type: Kind of the stage, `cell` or `leaderboard`.
        tags: The experiments that it belongs to.
        config: What runs are grouped and filtered by, in JSON types.
    """

    id: str
    name: str
    group: str
    job_type: str
    tags: tuple[str, ...]
    config: dict[str, Any]


def mode() -> str:
    """`offline`, `online` or `disabled`, from `WANDB_MODE`.

    Raises:
        ValueError: it is something else.
    """
    value = os.environ.get("WANDB_MODE", "offline")
    if value not in ("offline", "online", "disabled"):
        raise ValueError(f"WANDB_MODE is offline, online or disabled; got {value!r}")
    return value


def project() -> str:
    """The project of all runs."""
    return os.environ.get("WANDB_PROJECT", PROJECT)


def run_id(name: str) -> str:
    """A name as W&B takes it for an id. The end stays, where fingerprint and random seed are."""
    return re.sub(r"[^\w.\-]", "-", name)[-LONGEST_ID:]


def tag_of(experiment: str) -> str:
    """The tag of the runs of an experiment."""
    return f"experiment:{experiment}"[:LONGEST_TAG]


def facts_of(
    facts: Mapping[str, Any], stage: str, protocol: str | None, commit: str | None
) -> dict[str, Any]:
    """The keys that the config of every run has; None where there is nothing to say."""
    known = {name: facts.get(name) for name in FACTS}
    return {**known, "stage": stage, "protocol": protocol, "commit": commit}


def open_run(folder: Path, header: RunHeader, *, goes_on: bool, **settings: Any) -> Any:
    """Open a run whose files are in `<folder>/wandb`.

    If no server can be reached, this run and all further ones of this process are written offline.

    Args:
        folder: Folder of a stage or of an experiment.
        header: The run.
        goes_on: Whether it continues an earlier run with the same id, as a stage does; else it replaces it.
        **settings: Of W&B, besides `SETTINGS`.
    """
    import wandb

    (folder / WANDB).mkdir(parents=True, exist_ok=True)
    arguments: dict[str, Any] = {
        "project": project(),
        "id": header.id,
        "name": header.name,
        "group": header.group,
        "job_type": header.job_type,
        "tags": header.tags,
        "config": header.config,
        "dir": str(folder),
        "settings": wandb.Settings(**SETTINGS, **settings),
    }
    if mode() == "online":
        try:
            return wandb.init(**arguments, mode="online", resume="allow" if goes_on else None)
        except Exception as error:
            print(
                f"W&B cannot be reached ({error}); this run is written offline: `wsss-bench sync` uploads it",
                flush=True,
            )
            wandb.teardown()  # the failed run keeps the id
            os.environ["WANDB_MODE"] = "offline"  # waiting once is enough
    return wandb.init(**arguments, mode="offline")


@contextmanager
def harmless(what: str) -> Iterator[None]:
    """Print an error of W&B in place of raising it, since no result depends on W&B.

    Args:
        what: What W&B then lacks.
    """
    try:
        yield
    except Exception as error:
        print(
            f"W&B has no {what} ({type(error).__name__}: {error}); no result depends on it. "
            "WANDB_MODE=disabled leaves W&B out",
            flush=True,
        )
