"""Fake stages that write the files of real ones without computing anything, and a bench that runs them."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

import yaml

from wsss_bench.artifacts import stage_files
from wsss_bench.artifacts.files import write_manifest
from wsss_bench.artifacts.layout import INPUTS, LAST
from wsss_bench.artifacts.metrics import Metrics, ScoredRow, write_metrics
from wsss_bench.artifacts.source_code import SourceCode, roots_of

stage_files.NOT_RECORDED |= {"attempts.txt"}  # what the tests count is no result
CHECKPOINT = [str(LAST)]
PICTURES = [f"masks/{k}.png" for k in range(4)]
RESULTS = {
    "train": CHECKPOINT,
    "affinity": CHECKPOINT,
    "segment": CHECKPOINT,
    "seed": [f"seeds/{k}.npz" for k in range(4)],
    "refine": PICTURES,
    "predict": [*PICTURES, "probabilities/0-00000.probabilities"],
    "crf": PICTURES,
    "evaluate": [],
}
"""Files of a fake stage, by its kind."""


def run_stage(arguments: list[str]) -> int:
    """The target of a launcher; the model's `init_args` make it fail, sleep, ignore SIGTERM, kill itself."""
    for file in [arguments[2], *arguments[4:]]:  # fit --config FILE; predict --config FILE --together FILE...
        run_one(file)
    return 0


def run_one(file: str) -> None:
    """Run the stage of a configuration file."""
    config = yaml.safe_load(Path(file).read_text())
    out, info = Path(config["out"]), config["stage"]
    kind = out.name.split("-")[0]
    behaviour = config.get("model", {}).get("init_args", {})
    if behaviour.get("stubborn"):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    with open(out / "attempts.txt", "a") as file:
        file.write(f"{os.getpid()}\n")
    if kind == behaviour.get("at", "train"):
        time.sleep(behaviour.get("sleep", 0.0))
        if behaviour.get("signal"):
            os.kill(os.getpid(), behaviour["signal"])
        if "fail" in behaviour:
            raise ValueError(behaviour["fail"])
    for place in filter(None, map(config.get, INPUTS)):
        stage_files.check_file(Path(place), LAST)
    for name in RESULTS[kind]:
        if not (out / name).is_file():
            (out / name).parent.mkdir(exist_ok=True)
            (out / name).write_text(f"{name} {info}")
    print(f"{kind} of {info['title']} is done")
    if kind == "evaluate":
        write_metrics(out, metrics(config))
    if behaviour.get("forget"):
        return
    roots = roots_of("", config)[1:]  # the classes: modules of the tests, if they exist
    write_manifest(
        out,
        {
            "kind": kind,
            "title": info["title"],
            "fingerprint": info["fingerprint"],
            "inputs": info["inputs"],
            "wall_seconds": 2.0,
            "cpu_seconds": 1.0,
            "peak_memory_mb": 100.0,
            "params": 1000,
            "crf": True,
            "commit": "abc",
            "code": {"roots": roots, "modules": SourceCode().digests(roots)},
            "read": stage_files.inputs_read(config),
            "files": stage_files.record_files(out),
            "finished": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        },
    )


def metrics(config: dict) -> Metrics:
    """Scores that follow from the fingerprint of the stage."""
    miou = int(config["stage"]["fingerprint"][:4], 16) / 0xFFFF
    prefix = f"{config['dataset']}-{config['split']}/n{config['count']}/labels-{config['image_labels']}"
    rules = ["fixed", "heldout", "oracle"] if config["product"] == "seed" else ["na"]
    readouts = [(config["scales"], config["post"])]
    if config["product"] == "segmentation":
        readouts = [("ss", "raw"), ("ss", "crf"), ("ms", "raw"), ("ms", "crf")]
    rows = []
    for scales, post in readouts:
        for rule in rules:
            value = {"fixed": config["threshold"], "heldout": round(miou, 2), "oracle": 0.4, "na": None}[rule]
            shown = rule if value is None else f"{rule}-{value:.2f}"
            ranks = (scales, post) in (("ss", "raw"), readouts[0])
            rows.append(
                ScoredRow(
                    protocol=f"{prefix}/{scales}/{post}/thr-{shown}/last",
                    image_labels=config["image_labels"],
                    scales=scales,
                    post=post,
                    rule=rule,
                    threshold=value,
                    checkpoint="last",
                    n_images=config["count"],
                    miou=miou,
                    iou=(0.9, miou, None),
                    false_positive_background=0.1,
                    false_negative_background=0.2,
                    absent=("dog",),
                    headline=rule == "fixed" or (rule == "na" and ranks),
                )
            )
    return Metrics(
        config["dataset"], config["split"], config["product"], ("cat", "dog"), tuple(rows), curve=None
    )


if __name__ == "__main__":  # a bench of fake stages, for tests that kill it
    from fakes import run_stage as target  # by its importable name, for the forked processes

    from wsss_bench.bench import runner
    from wsss_bench.bench.launchers import LocalLauncher
    from wsss_bench.bench.run_bench import run_bench
    from wsss_bench.plan.planner import make_plan

    runner.LOOK_SECONDS = 0.2
    experiment, runs = Path(sys.argv[1]), Path(sys.argv[2])
    sys.exit(run_bench(make_plan(experiment, runs), runs, jobs=2, launcher=LocalLauncher(target, preload=())))
