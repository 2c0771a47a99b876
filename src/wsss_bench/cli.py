"""`wsss-bench <command> ...`: each command is the `main(argv)` of a module, imported when it is used."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Sequence
from difflib import get_close_matches
from importlib import import_module
from itertools import pairwise

from wsss_bench import __version__, closed_pipe
from wsss_bench.errors import explain
from wsss_bench.parser_errors import is_parser_error
from wsss_bench.processes import end_with_first_rank
from wsss_bench.shipped import with_shipped_configs
from wsss_bench.stage_help import short_help

COMMANDS = {
    "data": ("wsss_bench.data.command", "make, check or configure a data set"),
    "pretrain": ("wsss_bench.mini.weights.command", "make the weights of the mini world again"),
    "fit": ("wsss_bench.stages.fit", "train a method"),
    "predict": ("wsss_bench.stages.predict", "write seeds or masks of a split, or of an --image"),
    "crf": ("wsss_bench.stages.crf", "make masks with CRF from predicted probabilities"),
    "refine": ("wsss_bench.stages.refine", "turn seeds into pseudo masks"),
    "evaluate": ("wsss_bench.stages.evaluate", "score seeds or masks under a protocol"),
    "score": ("wsss_bench.exchange.score", "score seeds or masks on a data set by its name"),
    "import": ("wsss_bench.exchange.import_command", "turn CAMs or masks of another repository into a stage"),
    "export": (
        "wsss_bench.exchange.export_command",
        "write masks for VOC's server or other repositories",
    ),
    "bench": ("wsss_bench.bench.command", "run a benchmark matrix and print its table"),
    "doctor": ("wsss_bench.doctor.command", "check GPUs, disk, weights and data before a bench"),
    "weights": ("wsss_bench.bench.weights", "fetch the pretrained weights of an experiment"),
    "contract": ("wsss_bench.contract.command", "check a method of your own on the small mini world"),
    "schema": ("wsss_bench.json_schema.command", "print JSON schemas of the YAML files, for editors"),
    "prune": ("wsss_bench.bench.prune", "remove seeds and masks that a finished matrix no longer needs"),
    "table": ("wsss_bench.report.command", "print the table of what is done"),
    "report": ("wsss_bench.report.html.command", "write a page with scores, figures and pictures"),
    "sync": ("wsss_bench.tracking.sync", "upload runs of W&B that were written offline"),
    "dashboard": ("wsss_bench.tracking.dashboard", "make a workspace of W&B for an experiment"),
    "new-method": ("wsss_bench.new_method.command", "write the two files of a new method"),
}


def usage() -> str:
    """The help text, with one line per command."""
    rows = "\n".join(f"  {name:<12}{text}" for name, (_, text) in COMMANDS.items())
    return (
        f"usage: wsss-bench <command> [options]\n\n{rows}\n\n"
        "`wsss-bench <command> --help` shows the options of a command, `wsss-bench --version` the version."
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return the exit status.

    It is 1 after an error, 2 for a wrong command line, 130 after Ctrl-C, and 141 if nobody reads the output
    any more (`| head`). An error that a user can mend is printed as one line on stderr, without a traceback.
    A bug keeps its traceback.
    """
    try:
        try:
            status = _run(argv)
        except SystemExit:  # of a parser, after its help or its complaint
            _flush()
            raise
        _flush()
        return status
    except BrokenPipeError:
        if not closed_pipe.discard_unread():
            raise
        return closed_pipe.EXIT_STATUS


def _run(argv: Sequence[str] | None) -> int:
    end_with_first_rank()  # before the imports, which take longer than a rank may outlive the first one
    # the processes that a command starts shall not import from the working directory (Python 3.11 and later)
    os.environ.setdefault("PYTHONSAFEPATH", "1")
    arguments = list(sys.argv[1:] if argv is None else argv)
    if not arguments or arguments[0] in ("-h", "--help"):
        print(usage())
        return 0
    if arguments[0] == "--version":
        print(f"wsss-bench {__version__}")
        return 0
    name, *rest = arguments
    if name not in COMMANDS:
        close = "".join(f"; did you mean {known!r}?" for known in get_close_matches(name, COMMANDS, n=1))
        print(
            f"wsss-bench: unknown command {name!r}; expected one of {', '.join(COMMANDS)}{close}",
            file=sys.stderr,
        )
        return 2
    # with --image, predict has a parser and a help of its own
    if "--image" not in rest and (help_text := short_help(name, rest)):
        print(help_text, end="")
        return 0
    rest = with_shipped_configs(rest)
    try:
        return import_module(COMMANDS[name][0]).main(rest)
    except BrokenPipeError:
        raise  # of stdout, or a bug
    except KeyboardInterrupt as stop:
        print(f"wsss-bench {name}: stopped", file=sys.stderr)
        return getattr(stop, "exit_status", 130)  # 128 plus the signal, if the bench caught another one
    except Exception as error:
        sentence = explain(error)
        if sentence is None:
            raise
        if os.environ.get("WSSS_TRACEBACK"):  # set by the bench: log files of stages get the traceback
            traceback.print_exc()
        print(
            f"wsss-bench {name}: {_files(rest) if is_parser_error(error) else ''}{sentence}", file=sys.stderr
        )
        return 1


def _flush() -> None:
    """Write what waits to be printed: at the end of Python a closed pipe would be complained of."""
    sys.stdout.flush()
    sys.stderr.flush()


def _files(arguments: list[str]) -> str:
    """The configuration files of a command line, as the start of a message about their content."""
    words = [word for argument in arguments for word in argument.split("=", 1)]
    files = [file for option, file in pairwise(words) if option == "--config"]
    return f"{', '.join(files)}: " if files else ""
