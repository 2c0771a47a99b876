"""Follows a page of docs/start in a small checkout: writes its files, runs its commands in one shell."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from itertools import takewhile
from pathlib import Path

import paths
import yaml
from page_blocks import Command, File, Page, missing

CHECKOUT = ("Makefile", "setup.cfg", "pyproject.toml", "constraints", "configs", "experiments", "src")
COUNTS = {"train": 40, "val": 16, "val_ood": 16}
MARK = "<<< step {} >>>"


def small_checkout(root: Path, mini_data: Path) -> Path:
    """A copy of the repository whose `make install` is done, with the small mini world and CAM in one epoch.

    Args:
        root: A new folder.
        mini_data: The folder with the small mini world in it.
    """
    ignored = shutil.ignore_patterns("__pycache__", "*.egg-info")
    for name in CHECKOUT:
        copy = shutil.copytree if (paths.ROOT / name).is_dir() else shutil.copy
        options = {"symlinks": True, "ignore": ignored} if copy is shutil.copytree else {}
        root.mkdir(exist_ok=True)
        copy(paths.ROOT / name, root / name, **options)
    (root / "data").mkdir()
    (root / "data/mini").symlink_to(mini_data / "mini")
    _change(root / "configs/data/mini.yaml", protocol={"counts": COUNTS, "holdout": 10, "prepare": []})
    _change(root / "configs/methods/cam.mini.yaml", trainer={"max_epochs": 1})
    programs = root / ".venv/bin"
    programs.mkdir(parents=True)
    for name, arguments in (("python", ""), ("wsss-bench", "-m wsss_bench ")):
        (programs / name).write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} {arguments}"$@"\n')
        (programs / name).chmod(0o755)
    (root / ".venv/.installed").touch()
    return root


def _change(path: Path, **parts: dict[str, object]) -> None:
    content = yaml.safe_load(path.read_text())
    for name, part in parts.items():
        content[name] |= part
    path.write_text(yaml.safe_dump(content, sort_keys=False))


def follow(page: Page, checkout: Path) -> dict[Command, str]:
    """Do what a page says, and check what it says of it.

    Returns:
        What each command printed, on stdout and stderr.

    Raises:
        AssertionError: a command failed, a line was not printed, or a file or option does not exist.
    """
    script = ["set -e"]
    for number, step in enumerate(page.steps):
        if isinstance(step, File):
            script.append(_writing(step, checkout, number))
        else:
            script += [f"echo {shlex.quote(MARK.format(number))}", step.text]
    environment = {key: value for key, value in os.environ.items() if key != "WSSS_DATA"}
    environment |= {"PYTHONPATH": str(checkout / "src"), "COLUMNS": "120"}
    done = subprocess.run(
        ["bash", "-c", "\n".join(script)],
        cwd=checkout,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stdout[-4000:]
    _, *printed = re.split(f"^{MARK.format(r'[0-9]+')}\n", done.stdout, flags=re.MULTILINE)
    commands = [step for step in page.steps if isinstance(step, Command)]
    followed = dict(zip(commands, printed, strict=True))
    for command, output in followed.items():
        lines = missing(command.shown, output)
        assert not lines, f"$ {command.text}\ndoes not print {lines}, but\n{output[-4000:]}"
    _check_prose(page, checkout, environment)
    return followed


def _writing(file: File, checkout: Path, number: int) -> str:
    """The command that writes a file of the page; its text lies beside the checkout until then."""
    text = checkout.with_name(f"{checkout.name}-block-{number}")
    text.write_text(file.text)
    return f"mkdir -p {shlex.quote(str(Path(file.name).parent))}; cp {text} {shlex.quote(file.name)}"


def _check_prose(page: Page, checkout: Path, environment: dict[str, str]) -> None:
    """What the prose names is there: files, commands with their options, options of the blocks."""
    absent = [name for name in page.files_named if not list(checkout.glob(name))]
    assert not absent, f"the page names {absent}"
    run = " ".join(step.text for step in page.steps if isinstance(step, Command)).split()
    unknown = page.options_named - set(run)
    assert not unknown, f"no command of the page has {unknown}"
    for command in page.commands_named:
        program, *words = command.split()
        named = [word for word in words if word.startswith("--")]
        if program == "make":
            asked = ["make", *words, "--dry-run"]
        else:
            asked = [
                ".venv/bin/wsss-bench",
                *takewhile(lambda word: not word.startswith("-"), words),
                "--help",
            ]
        known = subprocess.run(asked, cwd=checkout, env=environment, capture_output=True, text=True)
        assert known.returncode == 0, f"{command}: {known.stderr}"
        assert all(word in known.stdout for word in named), f"{command}: {known.stdout}"
