"""Checks a documented command as far as can be told without running it: the program's own parsers read it."""

from __future__ import annotations

import argparse
import configparser
import os
import re
import shlex
import subprocess
from dataclasses import replace
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import paths
import pytest
from documented import REST, Command

from wsss_bench.arguments import LineParser
from wsss_bench.cli import COMMANDS
from wsss_bench.plan.again import stages_to_run_again
from wsss_bench.plan.costs.devices import named_device
from wsss_bench.plan.plan import StageFolder
from wsss_bench.plan.planner import make_plan, plan_experiment
from wsss_bench.plan.reader import read_files
from wsss_bench.plan.search_path import find_config
from wsss_bench.plan.state import states_of
from wsss_bench.shipped import with_shipped_configs
from wsss_bench.stage_help import short_help

PROGRAM = "wsss-bench"
IMAGE = "--image"
"""With it `predict` has a parser of its own."""
STAGES = ("fit", "predict", "crf", "refine", "evaluate")
"""Commands whose options are those of functions and classes, for which torch is imported."""
EXAMPLES = ("foo", "gwrp", "leaves", "mine", "my_method", "ramp", "recipes")
"""Methods and experiments that a page makes up."""
PLACEHOLDERS = {
    "<name>": "mini",
    "<stage>": "...",
    "A/": "runs/stages/.../",
    "B/": "runs/stages/.../",
    "C/": "runs/stages/.../",
}
FOLDERS = ("benchmarks", "configs", "docs", "experiments", "notebooks", "src", "tests")


class Parsed(BaseException):
    """Ends a command when its line is parsed."""

    def __init__(self, options: argparse.Namespace | None = None) -> None:
        self.options = options or argparse.Namespace()


class Checks:
    """Checks of commands, in the folder of the repository.

    Args:
        runs: A folder for the plans of stages that commands name.
        monkeypatch: Makes parsers end the command that calls them, until the test ends.
    """

    def __init__(self, runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.runs = runs
        self.patch = monkeypatch
        monkeypatch.chdir(paths.ROOT)

    def check(self, command: Command) -> None:
        """Raise an error, or `SystemExit`, if a command is wrong."""
        name, *words = words_of(command)
        for word in words:
            check_path(word.rpartition("=")[2])
        if name == "make":
            self._make(words, command)
        elif name == "pip":
            check_extras(words)
        elif name != PROGRAM:
            check_script(words)
        elif imports_torch(command) and words[0] in STAGES and IMAGE not in words:
            self._stage(words[0], words[1:], command)
        else:
            self._light([word for word in words if word != REST], command.whole)

    def _make(self, words: list[str], command: Command) -> None:
        """`make` itself says what it would run; the commands of this program among that are checked too."""
        known = set(re.findall(r"\$\((?:or \$\(|if \$\()?([A-Z_]+)", (paths.ROOT / "Makefile").read_text()))
        given = {word.partition("=")[0] for word in words if "=" in word}
        assert given <= known, f"the Makefile has no {given - known}; it has {sorted(known)}"
        environment = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
        dry = ["make", "--dry-run", "--no-print-directory", *words]
        done = subprocess.run(dry, cwd=paths.ROOT, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        for line in re.findall(rf"^\S*/({PROGRAM} .*)", done.stdout, re.MULTILINE):
            self.check(replace(command, words=tuple(shlex.split(line))))

    def _light(self, words: list[str], whole: bool) -> None:
        def parse(parser: LineParser, argv: list[str] | None = None) -> None:
            if not whole:
                demand_nothing(parser)
            raise Parsed(argparse.ArgumentParser.parse_args(parser, argv))

        self.patch.setattr(LineParser, "parse_args", parse)
        if words:
            check_names(until_parsed(words), self.runs)

    def _stage(self, name: str, words: list[str], command: Command) -> None:
        from wsss_bench.stages.lightning_cli import StageCLI
        from wsss_bench.stages.parser import FunctionParser, accept

        def parse_function(parser: FunctionParser, argv: list[str]) -> None:
            parser.parser.parse_args(accept(argv, parser.function.__name__))
            raise Parsed

        def parsed(cli: StageCLI) -> None:
            raise Parsed

        self.patch.setattr(FunctionParser, "run", parse_function)
        self.patch.setattr(StageCLI, "before_instantiate_classes", parsed)
        any_plan = f"--config {self._plan(name, 'runs/stages/.../plan.yaml')}"
        line = " ".join(self._plan(name, word) for word in words).replace(f"--config {REST}", REST)
        own, *others = line.replace(REST, any_plan).partition("--together")[::2]
        for given in [own, *(f"--config {file}" for file in " ".join(others).split())]:
            until_parsed([name, *given.split()])

    def _plan(self, command: str, word: str) -> str:
        """A word; in the place of the plan of a stage, one of a planned stage of that name and command."""
        if not word.endswith("/plan.yaml"):
            return word
        wanted = word.removeprefix("runs/stages/").removesuffix("/plan.yaml").replace(REST, "*")
        plan = plan_experiment(read_files(Path("voc")), StageFolder(self.runs), absent=frozenset())
        fitting = [
            stage
            for stage in plan.stages.values()
            if stage.command == command and Path(stage.path.name).match(wanted)
        ]
        assert fitting, f"no stage of voc is a {wanted} that `{PROGRAM} {command}` runs"
        stage = min(fitting, key=lambda stage: len(stage.path.name))
        stage.write_plan()
        return str(stage.path / "plan.yaml")


def words_of(command: Command) -> list[str]:
    """The words of a command without placeholders; `wsss-bench` for the ways to call it through Python."""
    words = list(command.words)
    for placeholder, value in PLACEHOLDERS.items():
        words = [re.sub(rf"^{placeholder}|(?<=/){placeholder}", value, word) for word in words]
    words = ["1" if word == "N" else word for word in words]
    if words[0].startswith("python") and "wsss_bench" in words:
        words = [PROGRAM, *words[words.index("wsss_bench") + 1 :]]
    return [words[0].rpartition("/")[2], *words[1:]]


def imports_torch(command: Command) -> bool:
    """Whether torch is imported for the parser of a command."""
    words = words_of(command)
    alone = words[2:] in ([], ["--help"])
    return words[0] == PROGRAM and words[1:2] in [[name] for name in (*STAGES, "pretrain")] and not alone


def until_parsed(words: list[str]) -> argparse.Namespace:
    """Start a command of the program, which ends when its line is parsed, and give its options."""
    name, *rest = words
    assert name in COMMANDS, f"there is no command {name!r}"
    if (IMAGE not in rest and short_help(name, rest)) or (name in STAGES and not rest):
        return argparse.Namespace()
    try:
        import_module(COMMANDS[name][0]).main(with_shipped_configs(rest))
    except Parsed as found:
        return found.options
    except SystemExit as end:
        if not end.code:  # after its help
            return argparse.Namespace()
        raise
    raise AssertionError(f"{words} was run, not only parsed")


def demand_nothing(parser: argparse.ArgumentParser) -> None:
    """Let a part of a command line be parsed."""
    for group in parser._mutually_exclusive_groups:
        group.required = False
    for action in parser._actions:
        action.required = False
        if isinstance(action, argparse._SubParsersAction):
            for command in action.choices.values():
                demand_nothing(command)


def check_names(options: argparse.Namespace, runs: Path) -> None:
    """What is named without a path: experiments with their rows and stages, methods, data sets, devices."""
    named = vars(options)
    for option, kind in (("method", "methods"), ("like", "methods"), ("data", "data"), ("config", "data")):
        name = Path(named.get(option) or "")
        if name.name and name.stem not in EXAMPLES:
            assert find_config(kind, name).is_file(), f"there is no {name}"
    if named.get("experiment") and Path(named["experiment"]).stem not in EXAMPLES:
        methods = [name for name in named["methods"] or () if name not in EXAMPLES]
        plan = make_plan(named["experiment"], runs, named["configs"], methods or None, named["set"])
        stages_to_run_again(plan, named.get("again", ()), states_of(plan))
    if named.get("on"):
        named_device(named["on"])


def check_path(path: str) -> None:
    """A path that starts in this repository leads to something in it."""
    path = path.rstrip("/")
    if path.partition("/")[0] in FOLDERS and Path(path).stem not in EXAMPLES:
        assert (paths.ROOT / path).exists(), f"there is no {path}"


def check_script(words: list[str]) -> None:
    """Of `python FILE --option`, the file has the option; of `python -m MODULE`, the module exists."""
    if words[:1] == ["-m"]:
        assert find_spec(words[1]), f"there is no module {words[1]}"
        return
    file, *rest = words
    text = (paths.ROOT / file).read_text()
    for option in (word.partition("=")[0] for word in rest if word.startswith("--")):
        assert f'"{option}"' in text, f"{file} has no option {option}"


def check_extras(words: list[str]) -> None:
    """Of `pip install wsss_bench[extra]`, the extra exists."""
    setup = configparser.ConfigParser()
    setup.read(paths.ROOT / "setup.cfg")
    for extra in re.findall(r"wsss_bench\[(\w+)\]", " ".join(words)):
        assert extra in setup["options.extras_require"], f"setup.cfg has no extra {extra}"
