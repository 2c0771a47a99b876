"""The command `wsss-bench contract`: checks a method, a line for each check."""

from __future__ import annotations

from wsss_bench.arguments import LineParser


def main(argv: list[str]) -> int:
    """Check a method; the exit status is 1 if a check failed."""
    parser = LineParser(
        prog="wsss-bench contract",
        description="Check that a method does what the benchmark expects of it, on the small mini world.",
    )
    parser.add_argument("method", help="YAML file of the method, or its name in configs/methods")
    parser.add_argument(
        "--only", action="append", default=[], metavar="CHECK", help="only this check (several times)"
    )
    options = parser.parse_args(argv)
    from wsss_bench.contract.run import check_method  # imports torch

    return 0 if check_method(options.method, options.only) else 1
