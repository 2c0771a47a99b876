"""Overhead of the suite: a training step against a bare PyTorch loop, seed inference against bare forward
passes.

Both sides use the same model and data in the same process and alternate; the median ratio is printed.
"""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from pathlib import Path

os.environ.setdefault("WANDB_MODE", "offline")  # as users run it

import numpy as np
import torch
from records import recorded

from wsss_bench.artifacts.run import StageInfo, open_stage
from wsss_bench.inference import predict
from wsss_bench.inference_config import InferenceConfig
from wsss_bench.methods.optim import build_optimizer, build_schedule
from wsss_bench.mini.world.writer import write_mini_world
from wsss_bench.plan.reader import read_configs
from wsss_bench.stages.fit import FitCLI, fit

ROOT = Path(__file__).parents[1]
ROUNDS = 3
EPOCHS = 1
IMAGES = 40


def config_of(out: Path) -> dict:
    """Configuration of a train stage: CAM on the mini world, one epoch of 62 steps, no validation."""
    folder = read_configs(ROOT / "configs")
    content = folder.method("cam", "mini", folder.trainer("cpu"))
    source = folder.data("mini").source
    return {
        "seed_everything": 0,
        "model": {"class_path": content.model.class_path, "init_args": content.model.init_args},
        "data": {**content.data, "source": source},
        "trainer": {**content.trainer, "max_epochs": EPOCHS, "limit_val_batches": 0},
        "out": str(out),
    }


def suite_seconds(out: Path) -> float:
    """CPU seconds per training step in the suite: Lightning, logging, NaN check, checkpoints."""
    cli = FitCLI(config_of(out))
    with open_stage(out, "train", {}, StageInfo()) as run:
        started = time.process_time()
        fit(cli.trainer, cli.model, cli, run)
        return (time.process_time() - started) / cli.trainer.global_step


def bare_seconds(out: Path) -> float:
    """CPU seconds per training step in a plain loop over the same batches."""
    cli = FitCLI(config_of(out))
    started, steps = time.process_time(), 0
    # the lists and labels of the images are read here on both sides
    method, loader = cli.model.train(), cli.datamodule.train_dataloader()
    optimizer = build_optimizer(method.parameter_groups(), method.optim)
    schedule = build_schedule(optimizer, method.optim, EPOCHS * len(loader))
    for epoch in range(EPOCHS):
        loader.sampler.set_epoch(epoch)
        for batch in loader:
            loss = sum(method.training_loss(batch).values())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            steps += 1
    return (time.process_time() - started) / steps


def inference_ratio(out: Path) -> float:
    """Time of bare forward passes over the same pixels, divided by that of multi-scale seed inference."""
    cli = FitCLI(config_of(out))
    method, source = cli.model.eval(), cli.datamodule.source
    config = InferenceConfig(scales=(1.0, 0.5, 1.5, 2.0))
    cli.datamodule.predict_on("train", labelled=True, ids=source.ids("train")[:IMAGES])
    samples = [sample for batch in cli.datamodule.predict_dataloader() for sample in batch]
    images = [torch.rand(2, 3, round(96 * s), round(96 * s)) for s in config.scales]
    ratios = []
    with torch.inference_mode():
        for _ in range(ROUNDS):
            started = time.process_time()
            for _ in samples:
                for image in images:
                    method.seed_maps(image)
            bare = time.process_time() - started
            started = time.process_time()
            for sample in samples:
                predict(method, [sample], "seed", config)
            ratios.append(bare / (time.process_time() - started))
    return statistics.median(ratios)


def main() -> None:
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ["WSSS_DATA"] = name
        write_mini_world(folder / "mini", "full", 0, 2)
        pairs = [(suite_seconds(folder / f"s{i}"), bare_seconds(folder / f"b{i}")) for i in range(ROUNDS)]
        suite, bare = np.median(np.array(pairs), axis=0) * 1000
        ratio = statistics.median(a / b for a, b in pairs)
        with recorded(__file__) as record:
            record(
                "training step of CAM with all around it against a bare loop, CPU time",
                f"{ratio:.2f}x: {suite:.1f} ms, {bare:.1f} ms",
                "1.05x",
            )
            speed = inference_ratio(folder / "i")
            record(
                "seed inference of CAM against its bare forward passes",
                f"{speed:.2f}x of their speed",
                "0.9x",
            )


if __name__ == "__main__":
    main()
