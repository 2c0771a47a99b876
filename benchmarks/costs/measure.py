"""Measures what networks and images cost and writes `src/wsss_bench/plan/costs/measured.json`.

`python benchmarks/costs/measure.py` refreshes the file: some minutes on one core, no data, weights or network.
`--only TEXT` prints the networks of the files whose name contains the text, and writes nothing.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
from pathlib import Path

os.environ |= {"OMP_NUM_THREADS": "1", "WANDB_MODE": "disabled", "NO_ALBUMENTATIONS_UPDATE": "1"}

import torch
from images import measure_images
from networks import WORLDS, measure_networks

from wsss_bench.artifacts.files import write_json
from wsss_bench.plan.reader import read_configs

ROOT = Path(__file__).parents[2]
FILE = ROOT / "src" / "wsss_bench" / "plan" / "costs" / "measured.json"


def main() -> None:
    """Measure, and write or print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", metavar="TEXT")
    only = parser.parse_args().only
    torch.set_num_threads(1)
    folder = read_configs(ROOT / "configs")
    networks = measure_networks(folder, folder.trainer("cpu"), only)
    if only:
        print(json.dumps(networks, indent=1))
        return
    write_json(
        FILE,
        {
            "command": "python benchmarks/costs/measure.py",
            "torch": torch.__version__,
            "date": datetime.date.today().isoformat(),
            "networks": networks,
            "images": measure_images(folder, {name: WORLDS[name] for name in ("voc", "mini")}),
        },
    )


if __name__ == "__main__":
    main()
