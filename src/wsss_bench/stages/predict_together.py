"""Several prediction stages in one process: their methods share a frozen network and see the same images.

`wsss-bench predict --config A --together B C` predicts as three commands would and writes the same files.
Each image is read once, and the shared network sees each of its views once. A stage counts an equal share of
the time.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from torch.nn import ModuleList

from wsss_bench.artifacts.identity import describe, differences
from wsss_bench.artifacts.layout import TOGETHER
from wsss_bench.callbacks import PlainSignals
from wsss_bench.inference_batches import batches_of
from wsss_bench.methods.shared_network import SharesNetwork
from wsss_bench.processes import ranks_end_with_this_process
from wsss_bench.stages.lightning_cli import callbacks_of
from wsss_bench.stages.prediction import PredictCLI, Prediction, SplitPrediction, check_prediction, opened
from wsss_bench.types import InferenceSample


class JointPrediction(LightningModule):
    """Predictions whose methods share a network: the module that a trainer predicts with.

    Args:
        members: The predictions; all take the network of the first.

    Raises:
        ValueError: they have no network in common.
    """

    def __init__(self, members: Sequence[Prediction]) -> None:
        super().__init__()
        first, *others = members
        for other in others:
            shared_by(other).share_network(first.method)
        self.first = first
        self.members = ModuleList(members)

    def predict_step(self, chunk: list[InferenceSample], chunk_index: int) -> list[list[Any]]:
        """For each member what it predicts of the images of a chunk."""
        outputs: list[dict[int, Any]] = [{} for _ in self.members]
        for positions in batches_of(chunk, self.first.batch_size):
            samples = [chunk[position] for position in positions]
            with shared_by(self.first).remembering():
                for member, found in zip(self.members, outputs, strict=True):
                    assert isinstance(member, Prediction)
                    found |= zip(positions, member.predict_batch(samples), strict=True)
        return [[found[position] for position in range(len(chunk))] for found in outputs]


def shared_by(member: Prediction) -> SharesNetwork:
    """The method of a member.

    Raises:
        ValueError: it shares no network.
    """
    method = member.method
    if not isinstance(method, SharesNetwork):
        raise ValueError(
            f"{type(method).__name__} shares no network with other methods; predict its stage alone"
        )
    return method


class OfMember(Callback):
    """Gives a callback the outputs of one member.

    Args:
        number: Of the member.
        callback: Progress or writer of its stage.
    """

    def __init__(self, number: int, callback: Callback) -> None:
        self.number = number
        self.callback = callback

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.callback.on_predict_start(trainer, pl_module)

    def on_predict_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, *indices: int
    ) -> None:
        self.callback.on_predict_batch_end(trainer, pl_module, outputs[self.number], batch, *indices)

    def on_predict_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.callback.on_predict_end(trainer, pl_module)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        self.callback.on_exception(trainer, pl_module, exception)


def is_meant(argv: Sequence[str]) -> bool:
    """Whether a command line predicts several stages."""
    return TOGETHER in argv


def main(argv: list[str]) -> int:
    """Predict the stages of a command line `--config FILE --together FILE...`."""
    place = argv.index(TOGETHER)
    clis = [PredictCLI(argv[:place]), *(PredictCLI(["--config", file]) for file in argv[place + 1 :])]
    check_alike([cli.plain_config() for cli in clis])
    for cli in clis:
        check_prediction(cli)
        if cli.trainer.world_size > 1:
            raise ValueError(f"{TOGETHER} is for stages of one device each; run these stages one by one")
    with ExitStack() as stages:
        runs = [stages.enter_context(opened(cli)) for cli in clis]
        for run in runs:
            run.shared_by = len(runs)
        splits = [SplitPrediction(cli, run) for cli, run in zip(clis, runs, strict=True)]
        # stages of which different images are left have nothing to share
        for missing in dict.fromkeys(tuple(split.missing) for split in splits):
            members = [split for split in splits if tuple(split.missing) == missing]
            if missing:
                predict_members(members)
        for split in splits:
            split.require_all()
            split.record_cost(split.cli.trainer)
    return 0


def check_alike(configs: Sequence[dict[str, Any]]) -> None:
    """Check that stages see the same images in the same way: all are given those of the first.

    Raises:
        ValueError: they do not; the message names the keys that differ.
    """
    first, *others = (
        {key: value for key, value in config.items() if key not in ("model", "readouts")}
        for config in configs
    )
    for other in others:
        if differing := differences(first, other):
            raise ValueError(
                f"{TOGETHER} is for stages that differ in their model and read-outs only; other: "
                f"{describe(differing, first['out'], other['out'])}. Run them one by one"
            )


def predict_members(members: Sequence[SplitPrediction]) -> None:
    """Predict stages of which the same images are missing, with the trainer and the images of the first."""
    first = members[0]
    callbacks: list[Callback] = [
        OfMember(number, callback) for number, split in enumerate(members) for callback in split.progress()
    ]
    callbacks += [OfMember(number, split.writer) for number, split in enumerate(members)]
    callbacks_of(first.cli.trainer).extend([*callbacks, PlainSignals()])
    first.load_images()
    prediction = JointPrediction([split.module() for split in members])
    with ranks_end_with_this_process():
        first.cli.trainer.predict(prediction, datamodule=first.cli.datamodule, return_predictions=False)
