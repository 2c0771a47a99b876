"""Measures the networks of all shipped methods, segmenters and refiners."""

from __future__ import annotations

import copy
import inspect
import time
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from counting import Count, count
from noise import clip_without_weights
from scipy.optimize import nnls

from wsss_bench.data.datamodule import WSSSDataModule
from wsss_bench.inference import logits_of, seeds_of
from wsss_bench.methods.base import Method
from wsss_bench.own_modules import import_class
from wsss_bench.plan.config_folder import METHODS, REFINE, SEGMENTERS, ConfigFolder
from wsss_bench.plan.costs.networks import settings_of
from wsss_bench.stages.fit import FitCLI

WORLDS = {"voc": ("voc", (375, 500)), "coco": ("coco", (480, 640)), "mini": ("mini", (96, 96))}
"""Vocabulary and picture size of the data sets whose overlays are measured."""
IMAGES = 1
PAIRED = (2, 4)
"""Images of the measured batches; captions are compared with each other, so that two sizes are measured."""
NEED_LARGE = (".single_stage.", ".walk.")
LATE = 0.9
"""Share of the training that is done when a step is measured: all of its losses are switched on."""


@dataclass
class Subject:
    """A network that is trained or applied, with the files that name it.

    Args:
        config: Of its train stage.
        files: Configuration files with the same architecture.
        points: Measured training steps: images, megapixels of a crop, classes, cost.
        forward: Measured forward passes of each product: images, megapixels, cost.
        in_float32: Share of the FLOP of the step and of each product that is float32 in mixed precision.
    """

    config: dict[str, Any]
    files: list[str]
    points: list[tuple[int, float, int, Count]] = field(default_factory=list)
    forward: dict[str, list[tuple[int, float, Count]]] = field(default_factory=dict)
    in_float32: dict[str, float] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)


def shipped(folder: ConfigFolder, trainer: dict[str, Any]) -> Iterator[tuple[str, str, Any]]:
    """File, data set and content of all networks that are shipped, on all measured data sets."""
    for dataset in WORLDS:
        for name in folder.names(METHODS):
            yield f"methods/{name}", dataset, folder.method(name, dataset, trainer)
        for name in folder.names(SEGMENTERS):
            yield f"segmenters/{name}", dataset, folder.segmenter(name, dataset, trainer)
        for name in folder.names(REFINE):
            network = folder.refiner(name, dataset, trainer).network
            if network is not None:
                yield f"refine/{name}", dataset, network


def measure_networks(folder: ConfigFolder, trainer: dict[str, Any], only: str = "") -> list[dict[str, Any]]:
    """The entries of all architectures; `only` keeps files whose name contains it."""
    subjects: dict[str, Subject] = {}
    for file, dataset, content in shipped(folder, trainer):
        if only not in file:
            continue
        config = config_of(dataset, content)
        key = repr((content.model.class_path, sorted(settings_of(content.model.init_args).items())))
        subject = subjects.setdefault(key, Subject(config, []))
        subject.files += [file] if file not in subject.files else []
        first = not subject.facts
        started = time.process_time()
        if first or (dataset == "coco" and len({classes for _, _, classes, _ in subject.points}) == 1):
            try:
                _measure(subject, config, whole=first)
            except ValueError as error:
                if first:
                    raise
                print(f"{file} has no settings for {dataset}: {error.__cause__ or error}"[:200], flush=True)
            print(f"{file} on {dataset}: {time.process_time() - started:.0f} s", flush=True)
    return [_entry(subject) for subject in subjects.values()]


def config_of(dataset: str, content: Any) -> dict[str, Any]:
    vocabulary, size = WORLDS[dataset]
    model = {"class_path": content.model.class_path, "init_args": copy.deepcopy(content.model.init_args)}
    arguments = model["init_args"]
    if dataset != "mini":
        if "weights" in inspect.signature(import_class(content.model.class_path)).parameters:
            arguments["weights"] = None
        if "nouns" in arguments:
            arguments["nouns"] = "mini"
    source = {"class_path": "noise.Noise", "init_args": {"classes": vocabulary, "size": list(size)}}
    return {
        "seed_everything": 0,
        "model": model,
        "data": {**content.data, "source": source, "val_split": None, "num_workers": 0},
        "trainer": {**content.trainer, "max_steps": 1, "max_epochs": 1, "limit_val_batches": 0},
        "out": "unused",
    }


def _measure(subject: Subject, config: dict[str, Any], whole: bool) -> None:
    method, data = build(config)
    crop = data.transform.crop_size
    # small crops are quick; some hold the local crops of their losses, or the radius of their pairs
    is_large = any(part in config["model"]["class_path"] for part in NEED_LARGE)
    sides = (128, 160, 192) if is_large else (64, 96, 128)
    classes = len(method.class_names)
    images = PAIRED[0] if data.view == "caption" else IMAGES
    runs = [(images, sides[0])]
    if whole:
        runs += [(images, side) for side in sides[1:]]
        runs += [(PAIRED[1], sides[0])] if data.view == "caption" else []
        _facts(subject, method, data)
    kept = [*method.parameters(), *method.buffers()]
    if method.batch_type is not None:
        for number, side in runs:
            batch = _batch(data, number, side)
            cost = count(lambda batch=batch: _step(method, batch), kept)
            subject.points.append((number, (side / 1000) ** 2, classes, cost))
    if not whole:
        return
    if method.batch_type is not None:
        _measure_mixed_step(subject, method, data, sides[:2], kept)
    method.eval()
    references = references_of(config, data) if config["model"]["class_path"].find("mcis") >= 0 else ()
    labels = torch.zeros(1, classes)
    labels[0, :2] = 1
    for product in ("seed", "segmentation"):
        if not method.makes(product):
            continue
        for side in sides:
            image = torch.rand(2, 3, side, side)
            with torch.no_grad():
                run = (
                    (lambda image=image: seeds_of(method, image, labels.expand(2, -1), references))
                    if product == "seed"
                    else (lambda image=image: logits_of(method, image))
                )
                subject.forward.setdefault(product, []).append((2, (side / 1000) ** 2, count(run, kept)))
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
            subject.in_float32[product] = count(run, kept).float32_share
    _rates(subject, method, data, crop, sides[-1])


def _measure_mixed_step(
    subject: Subject, method: Method, data: WSSSDataModule, sides: Sequence[int], kept: list[Any]
) -> None:
    """What of a step stays in float32 in mixed precision; copies of weights, which all sizes share, aside."""
    counts, points = [], subject.points
    for side in sides:
        batch = _batch(data, points[0][0], side)
        counts.append(count(lambda batch=batch: _step(method, batch, mixed=True), kept))
    grown = points[1][3].bytes - points[0][3].bytes
    saved = (counts[1].bytes - counts[0].bytes) / grown if grown else 1.0
    subject.facts["bf16_share"] = round(saved, 3)
    subject.in_float32["step"] = counts[1].float32_share


def build(config: dict[str, Any]) -> tuple[Method, WSSSDataModule]:
    with clip_without_weights(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        cli = FitCLI(copy.deepcopy(config))
    method: Method = cli.model.train()
    method.total_steps = 100_000
    method.progress = LATE
    if hasattr(method, "contrastive_from_epoch"):
        method.contrastive_from_epoch = 0
    return method, cli.datamodule


def _batch(data: WSSSDataModule, images: int, side: int) -> Any:
    """A training batch of another size."""
    data.transform, data.global_batch_size = replace(data.transform, crop_size=side), images
    data.__dict__.pop("_train_view", None)  # it was built for the size before
    return next(iter(data.train_dataloader()))


def _step(method: Method, batch: Any, mixed: bool = False) -> None:
    torch.manual_seed(0)
    method.zero_grad()
    with torch.autocast("cpu", torch.bfloat16, enabled=mixed):
        losses = method.training_loss(batch)
    torch.stack([loss.float() for loss in losses.values()]).sum().backward()


def references_of(config: dict[str, Any], data: WSSSDataModule) -> Any:
    data.predict_on("train", labelled=True, ids=["train0"], references=3)
    return next(iter(data.predict_dataloader()))[0].references


def _facts(subject: Subject, method: Method, data: WSSSDataModule) -> None:
    trained = sum(p.numel() for p in method.parameters() if p.requires_grad)
    subject.facts |= {"parameters": sum(p.numel() for p in method.parameters()), "trained": trained}
    if method.batch_type is None:
        return
    view = data._train_view
    view[0, 0]
    started, number = time.process_time(), 8
    for index in range(number):
        view[0, index]
    seconds = (time.process_time() - started) / number
    subject.facts["loading"] = {"seconds": round(seconds, 5), "side": data.transform.crop_size}


def _rates(subject: Subject, method: Method, data: WSSSDataModule, crop: int, side: int) -> None:
    """CPU rate of one thread: of a training step, or of a forward pass where nothing is trained."""
    if method.batch_type is None:
        cost = subject.forward["seed"][-1][2]
        image, labels = torch.rand(2, 3, side, side), torch.ones(2, len(method.class_names))
        with torch.no_grad():
            started = time.process_time()
            seeds_of(method, image, labels)
            seconds = time.process_time() - started
        subject.facts["cpu_rate"] = round(cost.flop / seconds)
        return
    method.train()
    # the rate of a tiny network depends on the size of the batch
    measured, _, _, cost = subject.points[2]
    images = 16 if crop < 128 else measured
    batch = _batch(data, images, side)
    started = time.process_time()
    _step(method, batch)
    seconds = time.process_time() - started
    subject.facts["cpu_rate"] = round(cost.flop * images / measured / seconds)


TERMS = ("image", "pixel", "pixel2", "pair_pixel", "class_pixel")


def _fit(points: list[tuple[int, float, int, float]]) -> dict[str, float]:
    """Least relative squares of a cost in images B, megapixels P and classes C, all terms >= 0.

    `image` B + `pixel` B P + `pixel2` B P^2 (attention) + `pair_pixel` B^2 P (each image with each text) +
    `class_pixel` B P C (maps at image size).
    """
    rows = np.array([[b, b * p, b * p * p, b * b * p, b * p * c] for b, p, c, _ in points])
    if len({c for _, _, c, _ in points}) < 2:
        rows[:, 4] = 0
    if len({b for b, _, _, _ in points}) < 2:
        rows[:, 3] = 0
    target = np.array([cost for *_, cost in points], float)
    if not target.any():
        return {}
    scale = rows.max(axis=0) + (rows.max(axis=0) == 0)
    found = nnls(rows / scale / target[:, None], np.ones(len(target)))[0] / scale
    counts = found * rows.max(axis=0) > 1e-4 * target.max()
    return {
        name: float(f"{value:.6g}") for name, value, used in zip(TERMS, found, counts, strict=True) if used
    }


def _entry(subject: Subject) -> dict[str, Any]:
    model = subject.config["model"]
    entry = {
        "class_path": model["class_path"],
        "settings": settings_of(model["init_args"]),
        "files": subject.files,
        **subject.facts,
    }
    if subject.points:
        entry["step"] = {
            "flop": _fit([(b, p, c, cost.flop) for b, p, c, cost in subject.points]),
            "saved_bytes": _fit([(b, p, c, cost.bytes) for b, p, c, cost in subject.points]),
            "calls": max(cost.calls for *_, cost in subject.points),
            "float32_share": round(subject.in_float32["step"], 3),
        }
    entry["forward"] = {
        product: {
            "flop": _fit([(b, p, 0, cost.flop) for b, p, cost in points]),
            "calls": max(cost.calls for *_, cost in points),
            "float32_share": round(subject.in_float32[product], 3),
        }
        for product, points in subject.forward.items()
    }
    return entry
