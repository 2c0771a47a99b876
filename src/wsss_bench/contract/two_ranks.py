"""The check that two ranks train what one process trains."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import replace
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
import yaml

from wsss_bench.contract.outcome import Failure
from wsss_bench.contract.rank_pair import RankPair
from wsss_bench.contract.subject import LATE, Subject
from wsss_bench.plan.config import Deviation
from wsss_bench.stages.fit import FitCLI, check_training

TOLERANCE = 0.01
"""Largest difference as a fraction of the step: the order of sums differs, and a wrong gradient differs by
about its own size.
"""
FEWEST_MOVED = 11
"""Tensors that two steps move at least, of a method that trains so many."""
CURE = (
    "use the blocks of wsss_bench.losses.ranks: `mean_over_valid` or `mean_over_ranks` for means over valid "
    "pixels and other uneven items, `gather_rows` for contrasts in the batch, `image_dropout` for dropout, "
    "`image_noise` for random draws; if it is rounding, state bench.contract.two_ranks: {tolerance: ..., "
    "reason: ...}"
)


def two_ranks(subject: Subject, pair: Callable[[], RankPair]) -> None:
    """Two ranks with half of each batch move every parameter as one process with whole batches does.

    Two steps of SGD, at the end of a training, where all terms have started. `bench.contract.two_ranks` may
    give another tolerance with a reason.
    """
    deviation = subject.deviation("two_ranks") or Deviation(reason="none")
    tolerance = deviation.tolerance or TOLERANCE
    with TemporaryDirectory() as name:
        folder = Path(name)
        for ranks in (1, 2):
            trainer = {
                "precision": deviation.precision or "32-true",
                "devices": ranks,
                "strategy": "ddp" if ranks == 2 else "auto",
                "limit_val_batches": 0,
            }
            config = subject.config(folder / f"{ranks}", trainer=trainer)
            (folder / f"{ranks}.yaml").write_text(yaml.safe_dump(config))
        train_late(0, str(folder / "1.yaml"))
        try:
            pair().call(train_late, str(folder / "2.yaml"))
        except RuntimeError as error:  # with the traceback of a rank
            raise Failure(f"a training on two ranks stops: {str(error).strip().splitlines()[-1]}") from error
        single, double = (torch.load(folder / f"{n}.pt", weights_only=True) for n in (1, 2))
    start = subject.fresh().state_dict()
    moved = 0
    for key in single:
        # in float64 first: a flag in a buffer has no difference
        value, before, other = (state[key].double() for state in (single, start, double))
        step, difference = (value - before).norm(), (value - other).norm()
        moved += bool(step > 0)
        if not difference <= tolerance * step + tolerance * 1e-7:
            share = f"{difference / step:.1%} of its step" if step else "though one process leaves it alone"
            raise Failure(
                f"{key} differs by {share} between two ranks and one process (allowed: {tolerance:.1%}); "
                f"{CURE}"
            )
    trained = sum(parameter.requires_grad for parameter in subject.fresh().parameters())
    if moved < min(FEWEST_MOVED, trained):
        raise Failure(
            f"two steps of SGD move {moved} of {trained} parameters; check requires_grad and parameter_groups"
        )


def train_late(rank: int, config: str) -> None:
    """Two steps of a training that is nearly over; rank 0 writes the weights beside the file `config`.

    Args:
        rank: Of this process.
        config: Configuration file of the train stage.
    """
    with redirect_stdout(StringIO()):
        cli = FitCLI(["--config", config])
        check_training(cli)
    method: Any = cli.model
    method.total_steps, method.progress = LATE, 1.0
    # adaptive optimisers turn rounding of small gradients into full steps
    method.optim = replace(method.optim, name="sgd", lr=0.01, warmup_steps=0)
    groups = method.parameter_groups
    method.parameter_groups = lambda: [
        {key: value for key, value in group.items() if key != "optim"} for group in groups()
    ]
    cli.trainer.fit(method, datamodule=cli.datamodule)
    if rank == 0:
        torch.save(method.state_dict(), Path(config).with_suffix(".pt"))
