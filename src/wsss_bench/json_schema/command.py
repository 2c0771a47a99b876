"""`wsss-bench schema KIND`: the JSON schema of a kind of YAML file, for editors."""

from __future__ import annotations

import json
from pathlib import Path

from wsss_bench.arguments import LineParser
from wsss_bench.artifacts.files import write_json
from wsss_bench.plan.reader import read_configs
from wsss_bench.shipped import CONFIGS

OVERLAYS = ("method-overlay", "refiner-overlay", "segmenter-overlay")
KINDS = ("experiment", "method", "data", "refiner", "segmenter", "trainer", "cluster", *OVERLAYS)


def main(argv: list[str]) -> int:
    """Print the schema of one kind, or write those of all kinds."""
    parser = LineParser(
        prog="wsss-bench schema",
        description="Print the JSON schema of a kind of YAML file; editors complete and check keys with it.",
    )
    parser.add_argument("kind", nargs="?", choices=KINDS, help="kind of file")
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="write all kinds as FOLDER/<kind>.json")
    parser.add_argument(
        "--configs",
        type=Path,
        help="own folder of configurations; the schemas have its names and classes and the shipped ones "
        "(default: `configs` in the working directory)",
    )
    options = parser.parse_args(argv)
    if (options.kind is None) == (options.out is None):
        parser.error(f"give a kind ({', '.join(KINDS)}), or --out FOLDER for all of them")
    if options.configs is not None and not options.configs.is_dir():
        parser.error(
            f"--configs: {options.configs} is no folder; name the one with methods/, data/ and so on"
        )
    from wsss_bench.json_schema.documents import Documents  # imports torch

    own = options.configs or Path(CONFIGS.name)
    folders = [CONFIGS] if own.resolve() == CONFIGS else [own, CONFIGS]
    schemas = Documents(read_configs(*folders)).all()
    if options.out is None:
        print(json.dumps(schemas[options.kind], indent=1))
        return 0
    for kind, schema in schemas.items():
        write_json(options.out / f"{kind}.json", schema)
    print(f"written to {options.out}: {', '.join(f'{kind}.json' for kind in schemas)}")
    return 0
