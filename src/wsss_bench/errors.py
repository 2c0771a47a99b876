"""Turns an error that a user can mend into one sentence; the boundary of the command line.

Three kinds of errors have a sentence: those that this package raises on purpose, whose message says what to
change; those of the parsers of configurations (`parser_errors`); and those of the file system, of memory and
of other packages that have words of their own here. Anything else is a bug and keeps its traceback. This
module imports no other package, so that the command line starts fast.
"""

from __future__ import annotations

import csv
import errno
import io
import json
import opcode
import re
import traceback
from pathlib import Path
from typing import NamedTuple

import yaml

from wsss_bench.parser_errors import is_own, is_parser_error, parser_sentence

RAISE = opcode.opmap["RAISE_VARARGS"]
FILE_SYSTEM = {
    errno.ENOENT: "{} does not exist; check the path",
    errno.EACCES: "no permission for {}; change its owner or mode, or name another place",
    errno.EPERM: "{} may not be changed; change its owner or mode, or name another place",
    errno.EROFS: "{} is on a read-only file system; name a place that can be written",
    errno.ENOTDIR: "{} leads through a file where a folder is expected; check the path",
    errno.EISDIR: "{} is a folder where a file is expected; name the file in it",
    errno.EEXIST: "{} exists already; remove it or name another place",
    errno.ENOTEMPTY: "{} is not empty; empty it or name another place",
    errno.ENOSPC: "the disk is full ({}); free some space and run the same command again",
    errno.EDQUOT: "the disk quota is used up ({}); free some space and run the same command again",
    errno.EFBIG: "{} is larger than the file system or `ulimit -f` allows; name another place",
    errno.ENOLCK: "the file system of {} gives no locks (NFS without lockd?); use a folder on another one",
    errno.EOPNOTSUPP: "the file system of {} does not support this operation; use a folder on another one",
    errno.ENOSYS: "the file system of {} does not support this operation; use a folder on another one",
    errno.EMFILE: "too many open files ({}); raise `ulimit -n` or lower data.num_workers",
    errno.ENFILE: "too many open files on this machine ({}); end other programs or try again",
    errno.ENAMETOOLONG: "the name {} is too long for the file system; shorten it",
    errno.ELOOP: "{} is a link that leads back to itself; remove it",
    errno.EIO: "{} cannot be read or written (input/output error); check the disk",
    errno.ESTALE: "{} is gone from the network file system; check the mount and try again",
    errno.ENOMEM: "out of memory ({}); use fewer jobs or workers, or a machine with more memory",
    errno.EAGAIN: "no more processes or resources ({}); raise `ulimit -u` or use fewer jobs and workers",
    errno.EADDRINUSE: "the port of the first rank is in use ({}); set MASTER_PORT to a free one",
    errno.ECONNREFUSED: "no connection ({}); are all ranks running, and do they agree on MASTER_ADDR?",
    errno.EINVAL: "{} is not a valid name or value here; check it",
}
"""Sentence of an `OSError`, by its number; `{}` stands for the file."""


class Foreign(NamedTuple):
    """An error of another package, found by its class and its message, and what to do about it."""

    kind: str
    message: str
    advice: str


NO_GPU = "set the experiment's `trainer: cpu`, or check the driver and CUDA_VISIBLE_DEVICES"
FOREIGN = (
    Foreign(
        "OutOfMemoryError",
        "",
        "out of GPU memory; lower data.global_batch_size or the crop size, or use more devices",
    ),
    Foreign(
        "RuntimeError",
        "can't allocate memory|CUDA out of memory",
        "out of memory; use fewer jobs or workers, or smaller batches",
    ),
    Foreign("MemoryError", "", "out of memory; use fewer jobs or workers, or smaller images and batches"),
    Foreign(
        "_ArrayMemoryError", "", "out of memory; use fewer jobs or workers, or smaller images and batches"
    ),
    Foreign(
        "RuntimeError",
        r"DataLoader worker .*(killed|exited)",
        "the process lacked memory or shared memory (/dev/shm); lower data.num_workers",
    ),
    Foreign("RuntimeError", "No CUDA GPUs|no NVIDIA driver|CUDA driver|not compiled with CUDA", NO_GPU),
    Foreign("AcceleratorError", "driver version|no CUDA-capable|busy or unavailable|invalid device", NO_GPU),
    Foreign("AssertionError", "not compiled with CUDA", NO_GPU),
    Foreign(
        "MisconfigurationException",
        "Accelerator.*can not run on your system|requested gpu|No supported gpu",
        NO_GPU,
    ),
    Foreign("MisconfigurationException", "", "correct this argument of `trainer`"),
    Foreign("RuntimeError", r"^Unknown model", "name a model of timm, for instance resnet50.tv_in1k"),
    Foreign(
        "RuntimeError",
        r"^Invalid pretrained tag|No pretrained weights",
        "name weights that timm has, or a file",
    ),
    Foreign("SafetensorError", "", "the file of weights is broken or of another format; download it again"),
    Foreign(
        "OSError",
        "valid model identifier|couldn't connect|[Cc]an't load|does not appear to have|not a valid JSON",
        "give a hub name, a folder or package:mini/clip; without network, download the model first",
    ),
    Foreign("HFValidationError", "", "give a hub name, a folder or package:mini/clip"),
    Foreign("ConnectionError", "", "there is no network; download the files on a machine that has one"),
    Foreign(
        "BdbQuit",
        "",
        "the debugger was left at a breakpoint; in a bench, where there is no terminal for it, this is so at "
        "once: run the stage by hand, as docs/debugging.md says",
    ),
    Foreign("ModuleNotFoundError", r"HINT: Try running", "install it, or name another class"),
    Foreign("UsageError", "", "set WANDB_MODE=offline, or log in with `wandb login`"),
    Foreign("CommError", "", "set WANDB_MODE=offline, or check the connection to the W&B server"),
    Foreign("DecompressionBombError", "", "the image is too large to be decoded safely; reduce it"),
    Foreign("BadZipFile", "", "the file is broken; make or copy it again"),
    Foreign(
        "InductorError",
        "InvalidCxxCompiler|Failed to find C compiler|Cannot find a working triton",
        "make a C++ compiler known on this machine (CXX), or leave CompiledNetworks out of trainer.callbacks",
    ),
    Foreign("BrokenProcessPool", "", "a worker process died (out of memory?); use fewer workers"),
    Foreign("DistNetworkError", "", "the ranks do not find each other; check MASTER_ADDR and MASTER_PORT"),
    Foreign(
        "DistBackendError", "", "the ranks lost each other; the log of the rank that failed first says why"
    ),
)
"""Searched in this order."""
LONGEST_MESSAGE = 300
WORKER = re.compile(r"^Caught (\w+) in .*worker process \d+\.", re.DOTALL)


def explain(error: BaseException) -> str | None:
    """The sentence for an error that a user can mend; None for any other, whose traceback must be seen."""
    if is_parser_error(error):
        root = error
        # what this package says about the error of another one says more than that
        while root.__cause__ is not None and not is_deliberate(root):
            root = root.__cause__
        if is_own(root):
            return parser_sentence(error)
        said = explain(root)
        return None if said is None else parser_sentence(error, said)
    if is_deliberate(error):
        return str(error)
    if isinstance(error, OSError) and error.errno in FILE_SYSTEM:
        names = [str(name) for name in (error.filename, error.filename2) if name is not None]
        place = " -> ".join(names) or file_of(error) or error.strerror or "the file"
        return FILE_SYSTEM[error.errno].format(place)
    if isinstance(error, UnicodeDecodeError):
        return f"{_file(error)}is not UTF-8 text (byte {error.start}: {error.reason}); save it as UTF-8"
    if isinstance(error, yaml.YAMLError):
        return f"{file_of(error)} {yaml_problem(error)}".strip()
    if isinstance(error, json.JSONDecodeError):
        return f"{_file(error)}is not valid JSON ({error}); restore it or make it again"
    if isinstance(error, csv.Error):
        return f"{_file(error)}is not a csv table ({error}); save it again"
    return _of_worker(error) or _foreign(error)


def is_deliberate(error: BaseException) -> bool:
    """Whether a `raise` statement of this package raised the error, so that its message is for users."""
    if isinstance(error, (AssertionError, NotImplementedError)) or not isinstance(error, Exception):
        return False
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is None or not trace.tb_frame.f_globals.get("__name__", "").startswith("wsss_bench"):
        return False
    return trace.tb_frame.f_code.co_code[trace.tb_lasti] == RAISE


def yaml_problem(error: yaml.YAMLError) -> str:
    """What is wrong in a YAML text, with its line."""
    mark = getattr(error, "problem_mark", None)
    if mark is None:
        return f"is not valid YAML: {_line(error)}"
    problem = " ".join(filter(None, [error.context, error.problem]))  # type: ignore[attr-defined]
    return f"line {mark.line + 1}, column {mark.column + 1}: not valid YAML ({problem}); correct this line"


def file_of(error: BaseException) -> str:
    """The file that was being read: the innermost path or open file among the variables of the calls."""
    found = ""
    for frame, _ in traceback.walk_tb(error.__traceback__):
        for value in list(frame.f_locals.values()):
            if isinstance(value, Path):
                found = str(value)
            elif isinstance(value, (io.TextIOWrapper, io.BufferedReader)) and isinstance(value.name, str):
                found = value.name
    return found


def _file(error: BaseException) -> str:
    name = file_of(error)
    return f"{name} " if name else "the file "


def _of_worker(error: BaseException) -> str | None:
    """The message of an error that this package raised in a worker process of a data loader."""
    if WORKER.match(str(error)) is None:
        return None
    trace = str(error)
    call = re.findall(r'File ".*?wsss_bench.*?", line \d+, in .*\n\s*(.*)\n', trace)
    kind = WORKER.match(trace)
    _, found, message = trace.rpartition(f"\n{kind[1]}: ") if kind else ("", "", "")
    return message.strip() if found and call and call[-1].startswith("raise ") else None


def _foreign(error: BaseException) -> str | None:
    kinds = {kind.__name__ for kind in type(error).__mro__}
    for known in FOREIGN:
        if known.kind in kinds and re.search(known.message, str(error)):
            message = _line(error)
            return f"{message}; {known.advice}" if message else known.advice
    return None


def _line(error: BaseException) -> str:
    text = " ".join(str(error).split()).rstrip(".;")
    return text if len(text) <= LONGEST_MESSAGE else f"{text[:LONGEST_MESSAGE]} ..."
