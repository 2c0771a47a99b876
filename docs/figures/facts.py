"""Single values that code and configurations decide, by name, as running text shows them.

They need no results: a test computes them again. `published.toco.segmentation` is the highest result on VOC,
in percent, that the file of the method gives.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import yaml

from figures.pages import ROOT
from wsss_bench.artifacts.locks import BEAT_SECONDS, SILENT_SECONDS
from wsss_bench.artifacts.probabilities import LEAST, probability_bytes
from wsss_bench.artifacts.seeds import seed_bytes
from wsss_bench.artifacts.shards import SHARD_BYTES
from wsss_bench.bench.gpu_pool import QUICK_SECONDS
from wsss_bench.bench.parsl_launcher import IDLE_SECONDS
from wsss_bench.bench.rendezvous import PORTS, WAIT_SECONDS
from wsss_bench.bench.runner import PATIENCE_SECONDS, TRAINING_PATIENCE_SECONDS
from wsss_bench.bench.stalls import STALLED_MINUTES
from wsss_bench.metrics import boundary, object_size, stats
from wsss_bench.mini.world import CLASS_NAMES, IMAGE_SIZE, MATERIALS
from wsss_bench.mini.world.writer import SIZES
from wsss_bench.plan.costs import devices, model
from wsss_bench.plan.plan import Plan
from wsss_bench.plan.planner import make_plan
from wsss_bench.plan.sizes import ALL_LABELS, LABELS_PER_MASK
from wsss_bench.report.html.choice import PER_RULE
from wsss_bench.stages import curves, inside_epoch, measures, probe

WORDS = [
    "no",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
]
"""Small numbers as words, by their value."""


@cache
def facts() -> dict[str, str]:
    """The values by name."""
    protocol = yaml.safe_load((ROOT / "configs/data/mini.yaml").read_text(encoding="utf-8"))["protocol"]
    records = json.loads((ROOT / "src/wsss_bench/assets/mini2/measurements.json").read_text())
    measured = records["vit"]["measurements"]
    found = {
        **{f"mini.small.{stream.name.lower()}": str(count) for stream, count in SIZES["small"].items()},
        **{f"mini.vit.{split}": f"{measured[f'patch_auc/{split}']:.3f}" for split in ("val", "val_ood")},
        **{f"mini.images.{split}": str(count) for split, count in protocol["counts"].items()},
        "mini.holdout": str(protocol["holdout"]),
        "mini.classes": WORDS[len(CLASS_NAMES)],
        "mini.materials": WORDS[len(MATERIALS)],
        "mini.pixels": f"{IMAGE_SIZE}x{IMAGE_SIZE}",
        "boundary.share": f"{100 * boundary.SHARE:.0f} %",
        **{f"size.{name}": f"{100 * share:.0f} %" for name, share in object_size.BOUNDS.items()},
        "cost.convolutions": f"{devices.CONVOLUTION_SHARE:g}",
        "cost.float32": f"{devices.FLOAT32_SHARE:g}",
        "seeds.shard": f"{SHARD_BYTES / 2**20:.0f} MiB",
        "seeds.size": f"{seed_bytes(1e6, 1) / 1e3:.0f} KB",
        "probabilities.all": WORDS[ALL_LABELS],
        "probabilities.coco": _probabilities("coco", (480, 640)),
        "probabilities.least": f"{LEAST:g}",
        "probabilities.size": f"{probability_bytes(1e6, 1) / 1e3:.0f} KB",
        "probabilities.voc": _probabilities("voc", (366, 500)),
        "interval": f"{stats.LEVEL} %",
        "curves.seconds": f"{curves.SECONDS:.0f} seconds",
        "curves.points": str(measures.POINTS),
        "probe.steps": str(probe.STEPS),
        "curves.steps": f"{measures.LONGEST_INTERVAL} steps",
        "gallery.images": f"{3 * PER_RULE} images",
        "gallery.rule": str(PER_RULE),
        "cost.transformers": f"{devices.ATTENTION_SHARE:g}",
        "cost.small_card": f"{devices.SMALL_CARD:g} GiB",
        "stalled": f"{STALLED_MINUTES:g} minutes",
        "nodes.first_port": str(PORTS.start),
        "nodes.meeting": f"{WAIT_SECONDS / 60:g} minutes",
        "nodes.idle": f"{IDLE_SECONDS / 60:g} minutes",
        "nodes.quick": f"{QUICK_SECONDS / 60:g} minutes",
        "patience": f"{PATIENCE_SECONDS:g} s",
        "training_patience": f"{TRAINING_PATIENCE_SECONDS:g} s",
        "checkpoint": f"{inside_epoch.MINUTES:g} minutes",
        "lock.beat": f"{BEAT_SECONDS:g} s",
        "lock.silence": f"{SILENT_SECONDS / 60:g} minutes",
        "cost.context": f"{model.CONTEXT_BYTES / 2**30:g} GiB",
    }
    for name in ("mini", "quick", "voc", "coco"):
        plan = _plan(name)
        found[f"{name}.methods"] = WORDS[len({product.cell.row for product in plan.products})]
        found[f"{name}.stages"] = str(len(plan.stages))
    return found | dict(_published())


def _plan(name: str) -> Plan:
    with tempfile.TemporaryDirectory() as runs:
        return make_plan(ROOT / "experiments" / f"{name}.yaml", Path(runs), ROOT / "configs")


def _published() -> Iterator[tuple[str, str]]:
    """The highest published results on VOC, by method and product, and by segmenter too."""
    for path in sorted((ROOT / "configs" / "methods").glob("*.yaml")):
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        best: dict[str, float] = {}
        for one in (content.get("bench") or {}).get("paper", ()):
            if one["dataset"] == "voc":
                name = f"published.{path.stem}.{one['product']}"
                for key in {name, f"{name}.{one.get('segmenter', '')}".rstrip(".")}:
                    best[key] = max(best.get(key, 0.0), one["miou"])
        yield from ((key, f"{miou:.1f}") for key, miou in best.items())


def _probabilities(dataset: str, size: tuple[int, int]) -> str:
    """What the probabilities of val take, at one and at several scales."""
    protocol = yaml.safe_load((ROOT / f"configs/data/{dataset}.yaml").read_text())["protocol"]
    found = 2 * protocol["counts"]["val"] * probability_bytes(size[0] * size[1], LABELS_PER_MASK)
    return f"{found / 1e9:.1f} GB" if found < 1e9 else f"{found / 1e9:.0f} GB"
