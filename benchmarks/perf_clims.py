"""CPU time of a CLIMS training step, here and in a literal re-implementation of the published loop.

The published loop resizes the maps of all classes, masks the images pair by pair, encodes the object regions
twice (for OTM and CBS), encodes every prompt at every step, and accumulates gradients in the weights of CLIP.
Both sides use the same network, images, CLIP and losses. They alternate, and the median ratio of their CPU
times is printed.
"""

from __future__ import annotations

import copy
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("WANDB_MODE", "disabled")

import torch
from records import recorded
from torch import Tensor
from torch.nn import functional as F

from wsss_bench.methods.clims.improved import CLIMS
from wsss_bench.methods.clims.prompts import clims_prompts
from wsss_bench.methods.optim import build_optimizer
from wsss_bench.mini.world.writer import write_mini_world
from wsss_bench.nn.clip import CLIP
from wsss_bench.plan.reader import read_configs
from wsss_bench.stages.fit import FitCLI
from wsss_bench.types import ImageBatch

ROOT = Path(__file__).parents[1]
ROUNDS = 5


def build(out: Path) -> tuple[CLIMS, list[ImageBatch]]:
    """CLIMS in its mini-world configuration, and one batch per round."""
    folder = read_configs(ROOT / "configs")
    content = folder.method("clims", "mini", folder.trainer("cpu"))
    source = folder.data("mini").source
    cli = FitCLI(
        {
            "seed_everything": 0,
            "model": {"class_path": content.model.class_path, "init_args": content.model.init_args},
            "data": {**content.data, "source": source},
            "trainer": content.trainer,
            "out": str(out),
        }
    )
    batches = iter(cli.datamodule.train_dataloader())
    return cli.model.train(), [next(batches) for _ in range(ROUNDS + 1)]


class PublishedLoop:
    """The loss of one step, written as the published training script computes it."""

    def __init__(self, method: CLIMS) -> None:
        self.method = method
        self.clip = CLIP("package:mini/clip")  # both encoders, with gradients in the weights
        self.prompts = clims_prompts("mini", method.class_names)

    def training_loss(self, batch: ImageBatch) -> Tensor:
        method, size = self.method, self.clip.image_size
        pixels = method.clip_normalize(batch.image)
        maps = method._class_maps(batch.image).sigmoid()
        positive = batch.labels.reshape(-1).nonzero()[:, 0].tolist()
        count = maps.shape[1]
        large = F.interpolate(maps, (size, size), mode="bilinear", align_corners=True).reshape(
            -1, 1, size, size
        )
        small = F.interpolate(pixels, (size, size), mode="bilinear", align_corners=True)
        objects = torch.stack([large[index] * small[index // count] for index in positive])
        backgrounds = torch.stack([(1 - large[index]) * small[index // count] for index in positive])
        prompts = [self.prompts.class_prompts[index % count] for index in positive]
        otm = -self._similarity(objects, prompts).clamp(1e-4, 0.9999).log().mean()
        btm = -(1 - self._similarity(backgrounds, prompts).clamp(1e-4, 0.9999)).log().mean()
        s_ob = self._embed(objects) @ self.clip.encode_text(self.prompts.background_prompts).T
        cbs = -(1 - s_ob[s_ob > method.threshold]).log().sum()
        weights = method.loss_weights
        total = weights.otm * otm + weights.btm * btm + weights.cbs * cbs
        return total + weights.reg * maps.mean()

    def _similarity(self, regions: Tensor, prompts: list[str]) -> Tensor:
        """`(M,)` cosines of `(M, 3, S, S)` regions and their prompts."""
        return (self._embed(regions) * self.clip.encode_text(prompts)).sum(dim=1)

    def _embed(self, regions: Tensor) -> Tensor:
        # all tokens in all blocks, as published; CLIP.encode_image skips patch tokens in the last block
        model = self.clip.model
        return F.normalize(model.visual_projection(model.vision_model(regions).pooler_output), dim=-1)


def seconds(loss_of: Callable[[ImageBatch], Tensor], method: CLIMS, batch: ImageBatch) -> tuple[float, float]:
    """CPU seconds of one optimiser step, and its loss."""
    optimizer = build_optimizer(method.parameter_groups(), method.optim)
    started = time.process_time()
    loss = loss_of(batch)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return time.process_time() - started, loss.item()


def main() -> None:
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        os.environ["WSSS_DATA"] = name
        write_mini_world(Path(name) / "mini", "full", 0, 2)
        method, batches = build(Path(name) / "out")
        published = PublishedLoop(copy.deepcopy(method))

        def ours(batch: ImageBatch) -> Tensor:
            return torch.stack(list(method.training_loss(batch).values())).sum()

        rounds = []
        for batch in batches:
            our_time, loss = seconds(ours, method, batch)
            published_time, reference = seconds(published.training_loss, published.method, batch)
            if not rounds and abs(loss - reference) > 1e-5 * abs(reference):
                raise SystemExit(f"the two sides differ: loss {loss} here, {reference} in the published loop")
            rounds.append((our_time, published_time))
    rounds = rounds[1:]  # the first round includes one-time setup
    our_time, published_time = (statistics.median(side) * 1000 for side in zip(*rounds, strict=True))
    ratio = statistics.median(slow / fast for fast, slow in rounds)
    with recorded(__file__) as record:
        record(
            "training step of CLIMS on the mini world against the published loop, CPU time, equal loss",
            f"{ratio:.2f}x as fast: {our_time:.0f} ms, {published_time:.0f} ms",
            "2x",
        )


if __name__ == "__main__":
    main()
