"""`wsss-bench pretrain`: train the weights of the mini world again, or measure existing weights."""

from __future__ import annotations

import argparse
import json
import os
import resource
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from wsss_bench.arguments import LineParser
from wsss_bench.mini.weights.classifier import RESNET, save_classifier, train_resnet
from wsss_bench.mini.weights.clip import ClipRecipe, save_clip, train_clip
from wsss_bench.mini.weights.evaluation_images import EvaluationImages, make_evaluation_images
from wsss_bench.mini.weights.measurements import measure_classifier, measure_clip, measure_localisation
from wsss_bench.mini.weights.record import changed_files, read_records, write_record
from wsss_bench.mini.weights.vit import VIT, train_vit
from wsss_bench.mini.weights.web_images import BROAD, TYPICAL, Web, make_web_images
from wsss_bench.mini.world.scenes import Stream
from wsss_bench.nn.weights import locate

SHIPPED = ("package:mini", "package:mini2")
WORLD_SEED = 0  # random seed of the mini world that is measured on, the default one
TRAIN = {"resnet": train_resnet, "vit": train_vit}
# Version 2 learns from a web with typical scenery, version 1 from the web of captions.
RECIPES = {
    2: {"resnet": RESNET, "vit": VIT},
    1: {"resnet": replace(RESNET, web=BROAD), "vit": replace(VIT, web=BROAD, steps=2000)},
}
WEBS = {web.name: web for web in (BROAD, TYPICAL)}
# Numbers of images: val and val_ood each, for the background threshold, and web images that no training used.
VAL_IMAGES, TUNING_IMAGES, HELD_OUT_IMAGES = 300, 150, 1500


def main(argv: list[str]) -> int:
    """Run the command; `argv` without the program's and the subcommand's name. Returns the exit status."""
    parser = LineParser(prog="wsss-bench pretrain", description=__doc__)
    commands = parser.add_subparsers(dest="name", required=True)
    for name in ("clip", *TRAIN):
        train = commands.add_parser(name, help=f"train the small {name} on generated images with captions")
        train.add_argument(
            "--out", type=Path, default=Path("pretrained"), help="folder to write to (default: %(default)s)"
        )
        train.add_argument("--seed", type=int, default=0, help="random seed (default: %(default)s)")
        train.add_argument("--steps", type=int, help="number of steps (default: as for the shipped weights)")
        if name != "clip":
            train.add_argument(
                "--version",
                type=int,
                choices=sorted(RECIPES),
                default=max(RECIPES),
                help="of the mini world whose weights are made (default: %(default)s)",
            )
    report = commands.add_parser("report", help="check the sha256 of the files and measure again")
    report.add_argument(
        "--out", type=Path, help="folder with measurements.json (default: all shipped weights)"
    )
    arguments = parser.parse_args(argv)

    # One thread: two threads of one process slow each other down if other processes are busy.
    torch.set_num_threads(1)
    if arguments.name == "report":
        folders = [arguments.out] if arguments.out else [Path(locate(name)) for name in SHIPPED]
        return max(map(_report, folders))
    arguments.out.mkdir(parents=True, exist_ok=True)
    recipe = _train(arguments)
    measurements = measure(arguments.out, arguments.name, arguments.seed, WEBS[recipe["web"]])
    write_record(arguments.out, arguments.name, recipe, measurements)
    print(json.dumps(measurements, indent=2))
    return 0


def measure(folder: Path, name: str, random_seed: int, web: Web) -> dict[str, float]:
    """Measure weights.

    Args:
        folder: Folder with the weights.
        name: `clip`, `resnet` or `vit`.
        random_seed: Random seed of the pretraining. The held-out web images are made with another one.
        web: The web of the pretraining.
    """
    processes = os.cpu_count() or 1
    held_out = make_web_images(random_seed + 1, HELD_OUT_IMAGES, processes, web=web)
    if name == "resnet":
        return measure_classifier(folder, name, held_out)
    splits: dict[str, EvaluationImages] = {
        "val": make_evaluation_images(WORLD_SEED, Stream.VAL, VAL_IMAGES, processes),
        "val_ood": make_evaluation_images(WORLD_SEED, Stream.VAL_OOD, VAL_IMAGES, processes),
    }
    if name == "vit":
        return measure_classifier(folder, name, held_out) | measure_localisation(folder, name, splits)
    tuning = make_evaluation_images(WORLD_SEED, Stream.TUNING, TUNING_IMAGES, processes)
    return measure_clip(str(folder / "clip"), splits, tuning, held_out)


def _train(arguments: argparse.Namespace) -> dict[str, Any]:
    name, random_seed = arguments.name, arguments.seed
    recipe = ClipRecipe() if name == "clip" else RECIPES[arguments.version][name]
    if arguments.steps is not None:
        recipe = replace(recipe, steps=arguments.steps)
    web = BROAD if isinstance(recipe, ClipRecipe) else recipe.web
    images = make_web_images(random_seed, recipe.web_images, os.cpu_count() or 1, web=web)
    version = ""
    if isinstance(recipe, ClipRecipe):
        save_clip(*train_clip(images, recipe, random_seed), arguments.out / "clip")
    else:
        save_classifier(TRAIN[name](images, recipe, random_seed), recipe, arguments.out, name)
        version = f" --version {arguments.version}"
    return {
        "command": f"wsss-bench pretrain {name} --seed {random_seed} --steps {recipe.steps}{version}",
        "web": web.name,
        "seed": random_seed,
        "steps": recipe.steps,
        "batch": recipe.batch,
        "samples": recipe.steps * recipe.batch,
        "lr": recipe.lr,
        "web_images": recipe.web_images,
        "cpu_seconds": round(_cpu_seconds()),
    }


def _cpu_seconds() -> float:
    """CPU time of this process and of its finished worker processes."""
    usages = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def _report(folder: Path) -> int:
    records = read_records(folder)
    if not records:
        raise SystemExit(
            f"{folder} has no measurements.json; make weights with `wsss-bench pretrain clip --out {folder}`"
        )
    status = 0
    for name, record in records.items():
        recipe = record["recipe"]
        for file in changed_files(folder, name):
            print(f"{folder / file}: sha256 is not the recorded one; run `{recipe['command']}` again")
            status = 1
        web = WEBS[recipe.get("web", BROAD.name)]  # records of earlier versions do not name it
        again = measure(folder, name, recipe["seed"], web)
        for key, value in record["measurements"].items():
            print(f"{folder.name}/{name:8s} {key:32s} recorded {value:8.4f}  measured {again[key]:8.4f}")
    return status
