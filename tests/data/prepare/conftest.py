"""The command as a user calls it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from wsss_bench.cli import main

Prepare = Callable[..., tuple[int, str, str]]


@pytest.fixture
def prepare(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Prepare:
    """Run `wsss-bench data <name>` on `<tmp>/archives` and `<tmp>/root`; returns status, stdout and stderr.

    The md5 sums of tiny archives are not the official ones, so `--no-md5` is given unless `md5` is True.
    """

    def run(name: str, *options: str, md5: bool = False) -> tuple[int, str, str]:
        places = ["--archives", str(tmp_path / "archives"), "--root", str(tmp_path / "root")]
        status = main(["data", name, *places, *([] if md5 else ["--no-md5"]), *options])
        printed = capsys.readouterr()
        return status, printed.out, printed.err

    return run
