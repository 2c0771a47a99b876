"""CPU time saved in a training step of MCIS by computing the anchor features once, at an equal loss.

The published loop passes the anchor through the backbone once for each of its four pairs, which makes eight
backbone passes. The suite computes the anchor features once, which makes five. Both sides alternate in one
process on the same batch. The median ratio of CPU times is printed for two networks: the published one (with
random weights), and that of the mini world, where the encoder is frozen and co-attention, which is the same
on both sides, takes most of the time.
"""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from pathlib import Path

os.environ.setdefault("WANDB_MODE", "disabled")

import torch
from records import Record, recorded
from torch import Tensor

from wsss_bench.methods.mcis.losses import (
    classification_loss,
    common_and_unshared_labels,
    contrastive_coattention_loss,
)
from wsss_bench.methods.mcis.mcis import MCIS
from wsss_bench.mini.world.writer import write_mini_world
from wsss_bench.plan.reader import read_configs
from wsss_bench.stages.fit import FitCLI
from wsss_bench.types import PairBatch

ROOT = Path(__file__).parents[1]
ROUNDS = 4


def literal_loss(method: MCIS, batch: PairBatch) -> dict[str, Tensor]:
    """The same loss terms, pair by pair, as the published training loop computes them."""

    def mean(maps: Tensor) -> Tensor:
        return maps.mean(dim=(2, 3))

    labels, partner_labels = batch.first.labels, batch.second.labels
    common, *unshared = common_and_unshared_labels(labels, partner_labels)
    losses = {}
    pairs = {"": (batch.second.image, partner_labels, common)}
    pairs |= {f"_{name}": (view, labels, labels) for name, view in batch.self_views.items()}
    for name, (image, second_labels, common_labels) in pairs.items():
        features = [method.features(batch.first.image), method.features(image)]
        attended = method.coattention(*features)
        losses[f"basic{name}"] = classification_loss(
            [mean(method.head(f)) for f in features], [labels, second_labels]
        )
        losses[f"common{name}"] = classification_loss(
            [mean(method.coattention.common_class_maps(g)) for g in attended], [common_labels] * 2
        )
        unshared_logits = [
            mean(method.coattention.unshared_class_maps(f, g))
            for f, g in zip(features, attended, strict=True)
        ]
        if not name:
            losses["contrast"] = sum(
                contrastive_coattention_loss(*pair) for pair in zip(unshared_logits, unshared, strict=True)
            )
    return losses


def measured(loss: Tensor, method: MCIS, started: float) -> float:
    """Seconds of forward and backward pass."""
    method.zero_grad()
    loss.backward()
    return time.process_time() - started


def compare(title: str, changes: dict[str, object], world: str, record: Record, asked: str = "") -> None:
    """Print and keep the ratio for the network of `mcis.mini.yaml` with `changes`, on two anchors."""
    folder = read_configs(ROOT / "configs")
    content = folder.method("mcis", "mini", folder.trainer("cpu"))
    cli = FitCLI(
        {
            "seed_everything": 0,
            "model": {
                "class_path": content.model.class_path,
                "init_args": {**content.model.init_args, **changes},
            },
            "data": {**content.data, "source": folder.data("mini").source, "global_batch_size": 2},
            "trainer": content.trainer,
            "out": f"{world}/out",
        }
    )
    method, batch = cli.model.train(), next(iter(cli.datamodule.train_dataloader()))
    ratios = []
    for _ in range(ROUNDS):
        started = time.process_time()
        literal = sum(literal_loss(method, batch).values())
        slow = measured(literal, method, started)
        started = time.process_time()
        shared = sum(method.training_loss(batch).values())
        ratios.append(slow / measured(shared, method, started))
        torch.testing.assert_close(literal, shared, rtol=1e-5, atol=0)
    record(
        f"training step of MCIS with shared anchor features against eight passes, {title}, equal loss",
        f"{statistics.median(ratios):.2f}x",
        asked,
    )


def main() -> None:
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as world:
        os.environ["WSSS_DATA"] = world
        write_mini_world(Path(world) / "mini", "small", 0, 2)
        published = {"backbone": "vgg16", "weights": None, "width": 512, "frozen_stages": 0}
        with recorded(__file__) as record:
            compare("VGG-16 at 96 pixels", published, world, record, "1.4x")
            compare("mini network with its fixed encoder", {}, world, record)


if __name__ == "__main__":
    main()
