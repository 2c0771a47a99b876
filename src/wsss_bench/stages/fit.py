"""The train stage: `wsss-bench fit --config FILE` trains a method, a segmenter or the network of a refiner.

It resumes from `checkpoints/last.ckpt`, which is written at the end of each epoch, every ten minutes, and on
SIGTERM and SIGUSR1; the result equals that of an uninterrupted run. If that file is damaged, it resumes from
the one before, or starts again. With `trainer.max_epochs: 0` the checkpoint holds the initial weights.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

from jsonargparse.typing import PositiveFloat
from lightning.pytorch import Trainer
from lightning.pytorch.cli import LightningArgumentParser
from lightning.pytorch.loggers import Logger
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from wsss_bench.artifacts.data_reads import data_reads
from wsss_bench.artifacts.files import write_atomically
from wsss_bench.artifacts.layout import CONFIG_FILE, CURVES, LAST, MASKS
from wsss_bench.artifacts.run import StageRun, open_stage
from wsss_bench.artifacts.stage_files import check_file
from wsss_bench.callbacks import Progress
from wsss_bench.data.listing import checked_digests
from wsss_bench.methods.base import Method
from wsss_bench.methods.checkpoint import check_checkpoint, read_checkpoint
from wsss_bench.methods.image_prediction import PredictionSettings
from wsss_bench.processes import ranks_end_with_this_process
from wsss_bench.stages.checkpoint_identity import CheckpointIdentity
from wsss_bench.stages.checkpoints import (
    AtomicCheckpointIO,
    LastCheckpoint,
    keep_newest,
    newest_checkpoint,
)
from wsss_bench.stages.claims import view_problem
from wsss_bench.stages.curves import Curves
from wsss_bench.stages.inside_epoch import MINUTES, InsideEpoch, TrainingStopped
from wsss_bench.stages.lightning_cli import StageCLI, callbacks_of, is_first_rank, record_cost
from wsss_bench.stages.measures import StepMeasures
from wsss_bench.stages.parser import Instantiators
from wsss_bench.tracking.training import tracked_training

BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)
"""Layers that are nothing but BatchNorm."""


class FitCLI(StageCLI):
    """Adds the options of training."""

    command = "fit"

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        super().add_arguments_to_parser(parser)
        parser.add_argument(
            "--warm_start", type=str | None, default=None, help="train stage to take initial weights from"
        )
        parser.add_argument(
            "--masks", type=str | None, default=None, help="refine stage with the pseudo masks to train on"
        )
        parser.add_argument("--inference", type=dict, default={}, help="used by predict only")
        parser.add_argument(
            "--checkpoint_minutes",
            type=PositiveFloat,
            default=MINUTES,
            help="minutes between two checkpoints inside an epoch",
        )


def parse(config: dict[str, Any]) -> None:
    """Check the configuration of a stage without building anything."""
    FitCLI(config, build=False)


def try_out(config: dict[str, Any], instantiators: Instantiators) -> None:
    """Build what the stage needs and check what can be known before it runs."""
    check_training(FitCLI(config, instantiators=instantiators))


def main(argv: list[str]) -> int:
    """Train one method; see `wsss-bench fit --help`.

    Returns:
        0 if the training is complete. After a signal that ended it, 143 on rank 0, which is the exit status
        of the stage; 0 on other ranks, since Lightning kills all of them when one fails.
    """
    cli = FitCLI(argv)
    check_training(cli)
    stage: AbstractContextManager[StageRun | None] = nullcontext()
    if is_first_rank():
        config = cli.plain_config()
        reads = data_reads("fit", config)
        data = checked_digests(cli.datamodule.source, reads, cli.info.data, cli.out)
        stage = open_stage(cli.out, "train", config, cli.info, data)
    try:
        with stage as run:
            fit(cli.trainer, cli.model, cli, run)
    except TrainingStopped as stop:
        if not is_first_rank():
            return 0
        print(stop.sentence, flush=True)
        return stop.exit_status
    return 0


def check_training(cli: FitCLI) -> None:
    """Check that method, trainer and data fit together; pseudo masks become the masks of the data.

    The method gets what its checkpoints hold besides weights: its arguments as they are written, and how it
    predicts.

    Raises:
        FileNotFoundError, ValueError: with what to change.
    """
    cli.check_claims()
    trainer = cli.trainer
    if trainer.accumulate_grad_batches != 1:
        raise ValueError(
            f"trainer.accumulate_grad_batches is {trainer.accumulate_grad_batches}, but "
            f"data.global_batch_size {cli.datamodule.global_batch_size} counts the images of an optimiser "
            "step, which would then be more; leave it at 1 and set data.global_batch_size"
        )
    if cli.config.trainer.sync_batchnorm:
        refuse_norms_with_activation(cli.model)
    if trainer.max_epochs in (None, -1) and trainer.max_steps == -1:
        raise ValueError("the training has no end; set trainer.max_epochs or trainer.max_steps")
    if cli.model.batch_type is None:
        raise ValueError(f"{type(cli.model).__name__} does not train; use it with `wsss-bench predict`")
    if found := view_problem(type(cli.model), cli.datamodule.view):
        raise ValueError(found)
    cli.model.hparams.update(cli.plain_config()["model"]["init_args"])
    cli.model.prediction_settings = prediction_settings(cli)
    if cli.config.masks:
        cli.datamodule.train_on(Path(cli.config.masks) / MASKS)
    cli.datamodule.check_training(trainer.num_devices * trainer.num_nodes, bool(trainer.limit_val_batches))


def prediction_settings(cli: FitCLI) -> PredictionSettings:
    """How the trained method predicts: as planned, or as the files of method and data say.

    Raises:
        ValueError, TypeError: `inference`, `bench.threshold` or `protocol.scales` cannot be used.
    """
    planned, config = cli.info.prediction, cli.config
    inference = {**planned.get("inference", {}), **config.inference}
    if "scales" in config.protocol:
        inference["multi_scales"] = config.protocol["scales"]
    threshold = config.bench.get("threshold", planned.get("threshold"))
    inference["background"] = cli.datamodule.source.has_background
    precision = str(cli.trainer.precision)
    return PredictionSettings.from_plain(
        {"inference": inference, "threshold": threshold, "precision": precision}
    )


def refuse_norms_with_activation(method: Method) -> None:
    """Check that `trainer.sync_batchnorm` leaves the network what it is.

    It puts a plain SyncBatchNorm in the place of every BatchNorm. Layers of timm that are a BatchNorm with an
    activation would lose it in training, and have it in prediction.

    Raises:
        ValueError: the method has such layers.
    """
    for module in method.modules():
        if isinstance(module, _BatchNorm) and type(module) not in BATCH_NORMS:
            raise ValueError(
                f"trainer.sync_batchnorm would remove the activations of {type(module).__name__} layers of "
                f"{type(method).__name__}; leave it out, or use a backbone with plain BatchNorm (a ResNet)"
            )


def fit(trainer: Trainer, method: Method, cli: FitCLI, run: StageRun | None) -> None:
    """Train a method, from its newest usable checkpoint if there is one.

    Args:
        trainer: Trainer that is not running yet.
        method: Method, segmenter or network of a refiner.
        cli: Parsed configuration, with the data module.
        run: The open stage; None on ranks other than 0.
    """
    last = cli.out / LAST
    newest, complaints = newest_checkpoint(cli.out, method.on_load_checkpoint)
    if run is not None:
        for complaint in complaints:
            print(complaint, flush=True)
    if cli.config.warm_start and newest is None:
        check_file(Path(cli.config.warm_start), LAST)
        warm_start(method, Path(cli.config.warm_start) / LAST)
    trainer.strategy.checkpoint_io = AtomicCheckpointIO()
    own_loggers = list(trainer.loggers)
    measures = StepMeasures(chooses_interval=cli.config.trainer.log_every_n_steps is None)
    curves = Curves(cli.out / CURVES if run is not None else None, measures)
    trainer.loggers = [*own_loggers, curves]
    last_checkpoint = LastCheckpoint(last)
    callbacks_of(trainer).insert(0, InsideEpoch(last_checkpoint, cli.config.checkpoint_minutes))
    callbacks_of(trainer).extend([measures, curves, last_checkpoint])  # in this order
    tracked: AbstractContextManager[Logger | None] = nullcontext()
    if run is not None:
        write_atomically(cli.out / CONFIG_FILE, lambda f: f.write(cli.parser.dump(cli.config).encode()))
        callbacks_of(trainer).extend((CheckpointIdentity(run.identity), Progress(run)))
        if not own_loggers and not cli.config.trainer.fast_dev_run:
            tracked = tracked_training(cli.out, cli.info, cli.plain_config())
    with tracked as logger, ranks_end_with_this_process():
        trainer.loggers = [*trainer.loggers, *([logger] if logger is not None else [])]
        trainer.fit(method, datamodule=cli.datamodule, ckpt_path=newest, weights_only=True)
    if trainer.max_epochs == 0:  # no epoch ends, so no checkpoint is written yet
        trainer.save_checkpoint(last)
    if run is not None:
        keep_newest(cli.out, newest)
        record_cost(run, trainer, method)
        run.record(
            image_count=len(cli.datamodule.source.ids(cli.datamodule.train_split)),
            world_size=trainer.world_size,
            precision=str(trainer.precision),
            steps=trainer.global_step,
        )


def warm_start(method: Method, path: Path) -> None:
    """Load the weights of another train stage where name and shape agree; other parameters keep their values.

    Raises:
        FileNotFoundError: the checkpoint does not exist.
        ValueError: it is of other classes, or has no tensor in common with the method.
    """
    checkpoint = read_checkpoint(path)
    check_checkpoint(checkpoint, None, None if method.open_vocabulary else method.class_names)
    own = method.state_dict()
    fitting = {k: v for k, v in checkpoint["state_dict"].items() if k in own and own[k].shape == v.shape}
    if not fitting:
        raise ValueError(
            f"warm_start: {path} and {type(method).__name__} have no tensor in common; use a related method"
        )
    method.load_state_dict(fitting, strict=False)
    print(f"warm start: {len(fitting)} of {len(own)} tensors from {path}", flush=True)
