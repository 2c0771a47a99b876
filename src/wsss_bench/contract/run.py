"""Runs the checks of a method and prints a line for each."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from wsss_bench.contract.building import import_method, place_of
from wsss_bench.contract.checks import CHECKS, run_check
from wsss_bench.contract.configuration import find_method
from wsss_bench.contract.outcome import LeftOut
from wsss_bench.contract.rank_pair import RankPair
from wsss_bench.contract.subject import Subject
from wsss_bench.contract.world import cached_world
from wsss_bench.errors import explain
from wsss_bench.plan.schema import nearest


def check_method(method: str, only: Sequence[str]) -> bool:
    """Run checks on a method; False if one failed.

    Args:
        method: Its YAML file, or its name.
        only: Names of checks; all if empty.

    Raises:
        ValueError, FileNotFoundError, ConfigError: the method cannot be built, its file is not valid, or a
            check does not exist.
    """
    refuse_unknown(only, "--only")
    path, content = find_method(method)
    names = only or list(CHECKS)
    refuse_unknown(content.bench.contract, f"{path}: bench.contract")
    print(f"contract of {path}: {len(names)} checks on the small mini world", flush=True)
    os.environ["WANDB_MODE"] = "disabled"  # the trial stages are nothing to look at
    logging.disable(logging.WARNING)  # Lightning's tips would stand between the lines
    try:
        import_method(content.model.class_path)
        subject = Subject(str(path), content, cached_world())
        with contextlib.redirect_stdout(io.StringIO()):
            _ = subject.kind  # builds it
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    started = time.monotonic()
    with TemporaryDirectory() as folder:
        pair = RankPair(Path(folder) / "store")
        try:
            failed = [name for name in names if not report(name, subject, pair)]
        finally:
            pair.close()
    seconds = time.monotonic() - started
    verdict = f"{len(failed)} of {len(names)} checks failed" if failed else "the method meets the contract"
    print(f"{verdict} ({seconds:.0f} s)")
    return not failed


def refuse_unknown(names: Iterable[str], place: str) -> None:
    """Check names of checks.

    Raises:
        ValueError: a name of no check.
    """
    for name in names:
        if name not in CHECKS:
            raise ValueError(f"{place}: there is no check {name!r}; {nearest(name, list(CHECKS))}")


def report(name: str, subject: Subject, pair: RankPair) -> bool:
    """Run a check and print its line; False if it failed."""
    started = time.monotonic()
    printed = io.StringIO()
    if sys.stdout.isatty():
        print(f"  ...       {name}", end="\r", flush=True)
    try:
        with contextlib.redirect_stdout(printed):
            run_check(name, subject, lambda: pair)
        outcome, sentence = "ok", _allowed(name, subject)
    except LeftOut as reason:
        outcome, sentence = "left out", f": {reason}"
    except Exception as error:  # of the method's own code
        outcome, sentence = "failed", f": {explain(error) or place_of(error)}"
    seconds = time.monotonic() - started
    print(f"  {outcome:<10}{name} ({seconds:.1f} s){sentence}", flush=True)
    return outcome != "failed"


def _allowed(name: str, subject: Subject) -> str:
    deviation = subject.deviation(name)
    if deviation is None:
        return ""
    settings = {
        "tolerance": deviation.tolerance,
        "precision": deviation.precision,
        "waits": deviation.waits,
    }
    given = ", ".join(f"{key} {value}" for key, value in settings.items() if value is not None)
    return f": with {given}, since {deviation.reason}"
