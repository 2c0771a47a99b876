"""Measures what networks and images cost and writes `src/wsss_bench/plan/costs/measured.json`.

`python benchmarks/costs/measure.py` refreshes the file in some minutes on one core, without data, weights or
network.
`--only TEXT` measures the networks of the files whose names contain the text, and keeps the others.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
from pathlib import Path
from typing import Any

os.environ |= {"OMP_NUM_THREADS": "1", "WANDB_MODE": "disabled", "NO_ALBUMENTATIONS_UPDATE": "1"}

import torch
from images import measure_images
from networks import WORLDS, measure_networks

from wsss_bench.artifacts.files import read_json, write_json
from wsss_bench.plan.reader import read_configs

ROOT = Path(__file__).parents[2]
FILE = ROOT / "src" / "wsss_bench" / "plan" / "costs" / "measured.json"


def main() -> None:
    """Measure, and write the file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", metavar="TEXT", help="part of the names of configuration files")
    only = parser.parse_args().only
    torch.set_num_threads(1)
    folder = read_configs(ROOT / "configs")
    before = read_json(FILE) if FILE.is_file() else {"networks": [], "images": []}
    new = measure_networks(folder, folder.trainer("cpu"), only)
    measured = [_key(entry) for entry in new]
    kept = [entry for entry in before["networks"] if only and _key(entry) not in measured]
    write([*kept, *new], before["images"])
    if not only:
        write(new, measure_images(folder, {name: WORLDS[name] for name in ("voc", "mini")}))


def write(networks: list[dict[str, Any]], images: list[dict[str, Any]]) -> None:
    """Write the file, with the version of torch and the date."""
    facts = {"torch": torch.__version__, "date": datetime.date.today().isoformat()}
    content = {"command": "python benchmarks/costs/measure.py", **facts}
    write_json(FILE, {**content, "networks": networks, "images": images})


def _key(entry: dict[str, Any]) -> str:
    return json.dumps([entry["class_path"], entry["settings"]], sort_keys=True)


if __name__ == "__main__":
    main()
