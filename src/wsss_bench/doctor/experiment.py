"""Checks of what an experiment needs: weights and data."""

from __future__ import annotations

from pathlib import Path

from wsss_bench.artifacts.layout import shortened
from wsss_bench.data.check import load_source
from wsss_bench.doctor.verdict import Verdict
from wsss_bench.plan.config import DataFile
from wsss_bench.plan.plan import Plan, distinct
from wsss_bench.stages.hub_weights import weights_of
from wsss_bench.variables import expand_variables


def weights(plan: Plan) -> Verdict:
    """Whether pretrained weights are on this machine."""
    found = {
        one: None for stage in distinct(plan.stages.values()) for one in weights_of(stage.config.get("model"))
    }
    missing = [str(one) for one in found if not one.is_here]
    if missing:
        return Verdict(
            "warning",
            f"{len(missing)} of {len(found)} are not here ({shortened(missing, 3)}); they are downloaded "
            f"when they are first used, or now by `wsss-bench weights {plan.experiment}`",
        )
    return Verdict(
        "ok", f"{len(found)} pretrained weights are here" if found else "none is needed from a hub"
    )


def data(file: DataFile) -> Verdict:
    """Whether a data set is in place, with as many images as the protocol says, and one can be read."""
    protocol = file.protocol
    root = Path(expand_variables(str(file.source.get("init_args", {}).get("root", ""))))
    if protocol.prepare and not root.is_dir():
        return Verdict("ok", f"is made by the bench (wsss-bench {' '.join(protocol.prepare)})")
    source = load_source(file.source)
    counts = {split: len(source.ids(split)) for split in protocol.counts}
    if wrong := {
        split: (counts[split], count) for split, count in protocol.counts.items() if counts[split] != count
    }:
        said = ", ".join(
            f"{split} has {found} images, {count} expected" for split, (found, count) in wrong.items()
        )
        return Verdict("error", f"{said}; `wsss-bench data check --config {protocol.dataset}` looks closer")
    for split in protocol.counts:
        source.image(source.ids(split)[0])
    return Verdict("ok", ", ".join(f"{split} {count}" for split, count in counts.items()))
