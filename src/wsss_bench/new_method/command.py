"""`wsss-bench new-method foo`: writes the two files of a new method, which runs as it is."""

from __future__ import annotations

import shlex
from pathlib import Path

from wsss_bench.arguments import LineParser
from wsss_bench.artifacts.files import write_bytes
from wsss_bench.new_method.files import method_files
from wsss_bench.new_method.names import check_name
from wsss_bench.plan.config_folder import ConfigFolder
from wsss_bench.plan.reader import read_configs
from wsss_bench.plan.schema import ConfigError, nearest
from wsss_bench.shipped import CONFIGS


def main(argv: list[str]) -> int:
    """Write the files and say what to run next."""
    parser = LineParser(prog="wsss-bench new-method", description="Write the two files of a new method.")
    parser.add_argument("name", help="name of the method, such as foo or my_cam")
    parser.add_argument("--like", metavar="METHOD", help="shipped method to start from, such as cam")
    parser.add_argument(
        "--into", type=Path, default=Path(), metavar="DIR", help="folder to write to (default: this one)"
    )
    options = parser.parse_args(argv)
    shipped = read_configs(CONFIGS)
    check_name(options.name, shipped.methods())
    if options.like is not None and options.like not in shipped.methods():
        raise ConfigError(
            f"--like: there is no shipped method {options.like!r}; {nearest(options.like, shipped.methods())}"
        )
    files = method_files(options.name, options.like, options.into, shipped)
    for path, text in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(path, text.encode())
    print(f"written: {', '.join(map(str, files))}")
    place = f"cd {shlex.quote(str(options.into))} && " if options.into != Path() else ""
    experiment = "mini_openvocab" if _learns_from_captions(options.like, shipped) else "mini"
    print(f"next: {place}wsss-bench bench {experiment} --methods {options.name}")
    return 0


def _learns_from_captions(like: str | None, shipped: ConfigFolder) -> bool:
    return like is not None and shipped.method(like, "mini", {}).bench.learns_from_captions
