"""Every option in inline code of README and docs is one of a command."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator
from importlib import import_module

import documented
import paths
import pytest

from wsss_bench.arguments import LineParser
from wsss_bench.cli import COMMANDS

pytestmark = pytest.mark.slow  # the parsers of stages import torch

SHORT_HELP = ("--help_all",)
OF_OTHERS = ("--requeue",)
"""Options of SLURM."""


class Made(BaseException):
    """Ends a command when its parser is made."""

    def __init__(self, parser: argparse.ArgumentParser) -> None:
        self.parser = parser


def options_in(text: str) -> Iterator[tuple[int, str]]:
    """Options that inline code starts with or lists, with the numbers of their lines."""
    for number, code, in_block in documented.code(text):
        if code.startswith("--") and not in_block:
            for option in re.findall(r"(?<![\w-])--[a-z][\w.-]*", code):
                yield number, option


def options_of(parser: argparse.ArgumentParser) -> set[str]:
    """Options of a parser and of its commands."""
    found = set(parser._option_string_actions)
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            found |= set().union(*map(options_of, action.choices.values()))
    return found


@pytest.fixture(scope="module")
def known() -> set[str]:
    """The options of all commands."""
    from wsss_bench.stages.lightning_cli import StageCLI
    from wsss_bench.stages.parser import FunctionParser

    def made(parser: argparse.ArgumentParser, *arguments: object) -> None:
        raise Made(parser)

    found = {*SHORT_HELP, *OF_OTHERS}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(LineParser, "parse_args", made)
        patch.setattr(StageCLI, "parse_arguments", lambda cli, parser, argv: made(parser))
        patch.setattr(FunctionParser, "run", lambda stage, argv: made(stage.parser))
        for module, argv in [
            *((module, []) for module, _ in COMMANDS.values()),
            (COMMANDS["predict"][0], ["--image"]),
        ]:
            with pytest.raises(Made) as caught:
                import_module(module).main(argv)
            found |= options_of(caught.value.parser)
    return found


def is_known(option: str, known: set[str]) -> bool:
    """Whether there is this option, or one of a class in the place of which it sets an argument."""
    above = option.rpartition(".")[0]
    return option in known or (("." in above or above == "--model") and is_known(above, known))


@pytest.mark.parametrize("page", documented.PAGES, ids=lambda page: page.relative_to(paths.ROOT).as_posix())
def test_options_in_inline_code_exist(page, known):
    unknown = [found for found in options_in(page.read_text()) if not is_known(found[1], known)]
    assert not unknown


def test_options_of_all_kinds_are_known_and_others_are_not(known):
    for option in (
        "--dry-run",
        "--trainer.max_epochs",
        "--trainer.logger.save_dir",
        "--model.init_args.lr",
        "--workers",
    ):
        assert is_known(option, known), option
    for option in ("--dry_run", "--trainer.max_epoch", "--epochs", "--data.batch.size"):
        assert not is_known(option, known), option
    assert list(options_in("`--a-b` and `x --c`,\n`--d.e=1 --f`\n")) == [
        (1, "--a-b"),
        (2, "--d.e"),
        (2, "--f"),
    ]
