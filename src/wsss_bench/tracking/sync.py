"""`wsss-bench sync [EXPERIMENT]`: uploads the runs that were written offline, with W&B's own tool."""

from __future__ import annotations

import netrc
import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import urlparse

from wsss_bench.arguments import LineParser, add_matrix_arguments
from wsss_bench.artifacts.layout import STAGES, WANDB, shortened
from wsss_bench.artifacts.locks import Locks
from wsss_bench.plan.planner import make_plan

OFFLINE = "offline-run-*/run-*.wandb"
"""The file of an offline run, in a folder `wandb`."""
SYNCED = ".synced"
"""End of the name of the file that W&B puts beside an uploaded one."""


def main(argv: list[str]) -> int:
    """Upload the offline runs of an experiment, or all.

    Returns:
        The exit status of `wandb sync`.

    Raises:
        PermissionError: there is no login, and no terminal to ask for one.
    """
    parser = LineParser(
        prog="wsss-bench sync", description="Upload runs of W&B that were written offline (`wandb sync`)."
    )
    add_matrix_arguments(parser, optional=True)
    parser.add_argument("--dry-run", action="store_true", help="only list them, and say what is missing")
    options = parser.parse_args(argv)
    if options.experiment is None:
        folders = [*options.runs.glob(f"{STAGES}/*/{WANDB}"), *options.runs.glob(f"*/{WANDB}")]
    else:
        plan = make_plan(options.experiment, options.runs, options.configs, options.methods, options.set)
        stages = [stage.path for stage in plan.stages.values()]
        folders = [folder / WANDB for folder in [*stages, options.runs / plan.experiment]]
    running = [folder for folder in folders if is_running(folder.parent)]
    if running:
        print(f"left out, since these stages are running: {shortened([f.parent.name for f in running])}")
    found = offline_runs(folder for folder in folders if folder not in running)
    if not found:
        print(f"there is nothing to upload: {why_nothing()}")
        return 0
    problem = login_problem()
    if options.dry_run:
        print(f"would upload {len(found)} runs of W&B:")
        print("\n".join(f"  {run}" for run in found))
        if problem:
            print(f"note: {problem}")
        return 0
    if problem and not sys.stdin.isatty():  # on a terminal W&B asks for the key
        raise PermissionError(problem)
    return subprocess.run([sys.executable, "-m", "wandb", "sync", *map(str, found)]).returncode


def offline_runs(folders: Iterable[Path]) -> list[Path]:
    """The folders of the offline runs that are not uploaded yet, the earlier one of the same run first."""
    files = (file for folder in folders for file in sorted(folder.glob(OFFLINE)))
    return [file.parent for file in files if not file.with_name(file.name + SYNCED).exists()]


def is_running(stage: Path) -> bool:
    """Whether a process works in a stage folder; half a run would count as uploaded."""
    return Locks("sync").holder_of(stage) is not None


def why_nothing() -> str:
    """Why there are no offline runs."""
    reasons = {
        "disabled": "WANDB_MODE is disabled here, and no runs are written then",
        "online": "WANDB_MODE is online here, and runs are at the server at once then",
    }
    otherwise = "all runs are uploaded already, or none were written (a stage writes its run while it works)"
    return reasons.get(os.environ.get("WANDB_MODE", ""), otherwise)


def login_problem() -> str:
    """What is missing to reach the server; empty if there is a key for it."""
    import wandb

    server = wandb.setup().settings.base_url
    if is_logged_in(server):
        return ""
    return f"no login for {server}; run `wandb login`, or set WANDB_API_KEY"


def is_logged_in(server: str) -> bool:
    """Whether a key for a server is set or stored; it is not tried."""
    if os.environ.get("WANDB_API_KEY") or os.environ.get("WANDB_IDENTITY_TOKEN_FILE"):
        return True
    given = os.environ.get("NETRC")
    places = [Path(given)] if given else [Path.home() / ".netrc", Path.home() / "_netrc"]
    try:
        return any(
            place.is_file() and netrc.netrc(place).authenticators(urlparse(server).hostname or "")
            for place in places
        )
    except (OSError, netrc.NetrcParseError):
        return False
