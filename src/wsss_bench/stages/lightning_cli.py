"""Command-line parser of fit and predict: LightningCLI with method, data module and stage options."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import torch
import yaml
from jsonargparse import Namespace
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from lightning.pytorch.utilities import rank_zero_only

from wsss_bench.artifacts.layout import LIGHTNING
from wsss_bench.artifacts.run import StageInfo, StageRun
from wsss_bench.data.datamodule import WSSSDataModule
from wsss_bench.methods.base import Method
from wsss_bench.renamed import given_contents
from wsss_bench.stage_help import FULL
from wsss_bench.stages.claims import check_claims
from wsss_bench.stages.cluster import check_world_size, slurm_plugins
from wsss_bench.stages.parser import Instantiators, accept
from wsss_bench.stages.planned import only_file, planned_stage

# keep Lightning's tips and device tables out of the log of a stage
for known in (
    "does not have many workers",
    "LeafSpec.*deprecated",
    "in eval mode at",
    "used to create the checkpoint",
    "your dataloader is not resumable",  # its sampler goes on where the training was
    "No positive samples found in target",
):
    warnings.filterwarnings("ignore", message=f".*{known}")
for chatty in (
    "lightning.pytorch.utilities.rank_zero",
    "lightning.pytorch.trainer.connectors.checkpoint_connector",  # on what a written checkpoint leaves out
    "lightning.fabric.utilities.seed",
):
    logging.getLogger(chatty).setLevel(logging.WARNING)

OTHER_NAMES = {"-c": "--config", FULL: "--help"}
"""Options of the command line by another name; `--help` itself is the short help, and does not come here."""


class StageCLI(LightningCLI):
    """Parses one stage's configuration and builds method, data module and trainer.

    Args:
        argv: Command line, usually `--config <file>`, or the content of a configuration file.
        build: False checks the configuration without building anything.
        instantiators: Functions that build classes in place of their constructors.

    Attributes:
        command: The command of the stage.
        info: What the plan records about the stage.

    Raises:
        ValueError: the configuration is not the planned one, or the world size is not.
    """

    command: ClassVar[str]
    info: StageInfo

    def __init__(
        self, argv: list[str] | dict[str, Any], build: bool = True, instantiators: Instantiators | None = None
    ) -> None:
        if not isinstance(argv, dict):
            argv = [OTHER_NAMES.get(word, word) for word in argv]
        self._argv = argv
        self._build = build
        self._instantiators = instantiators or {}
        super().__init__(
            Method,
            WSSSDataModule,
            subclass_mode_model=True,
            save_config_callback=None,
            seed_everything_default=0,
            run=False,
            args=argv,
            auto_configure_optimizers=False,
            load_from_checkpoint_support=False,
            parser_kwargs={
                "exit_on_error": False,
                "prog": f"wsss-bench {self.command}",
                "allow_abbrev": False,
            },
            trainer_defaults={
                "logger": False,
                "enable_checkpointing": False,
                "enable_progress_bar": False,
                "enable_model_summary": False,
                "use_distributed_sampler": False,
                "num_sanity_val_steps": 0,
            },
        )

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        parser.add_argument("--out", type=Path, required=True, help="stage folder to write")
        parser.add_argument(
            "--stage", type=StageInfo, default=StageInfo(), help="facts of the stage from the plan"
        )
        parser.add_argument(
            "--bench", type=dict, default={}, help="hints for `wsss-bench bench`; not used here"
        )
        parser.add_argument(
            "--protocol", type=dict, default={}, help="protocol of the data set; used by bench only"
        )
        for kind, instantiator in self._instantiators.items():
            parser.add_instantiator(instantiator, kind)
        parser.link_arguments("seed_everything", "data.random_seed")
        parser.link_arguments("data.class_names", "model.init_args.class_names", apply_on="instantiate")

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        args = accept(args)
        self.config = parser.parse_object(args) if isinstance(args, dict) else parser.parse_args(args)
        keep_integers(self.config.trainer, args)

    def before_instantiate_classes(self) -> None:
        if self._build:
            given = self.plain_config()
            if isinstance(self._argv, dict):  # a check of the bench, which writes the folder's plan later
                self.info, self._planned = StageInfo(**(given.get("stage") or {})), given
            else:
                alone = only_file(self._argv, self.parser)
                self.info, self._planned = planned_stage(self.out, given, self._resolve, alone)
            # not the working directory: Lightning loads any hpc_ckpt_*.ckpt that it finds there on a cluster
            self.config.trainer.default_root_dir = str(self.out / LIGHTNING)

    def instantiate_classes(self) -> None:
        if self._build:
            super().instantiate_classes()
            check_world_size(self.trainer, self._planned["trainer"])

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """The trainer; what Lightning says about a wrong argument is passed on with its place."""
        try:
            plugins = slurm_plugins(self.config_init.trainer.plugins)
            # Lightning refuses a ModelCheckpoint among the callbacks without this argument
            checkpoints = self.config_init.trainer.enable_checkpointing or has_checkpoint(
                self.config_init.trainer.callbacks
            )
            return super().instantiate_trainer(plugins=plugins, enable_checkpointing=checkpoints, **kwargs)
        except (ValueError, TypeError) as error:
            raise ValueError(f"trainer: {error}; correct this argument") from error

    def check_claims(self) -> None:
        """Check that the class of the method is what the `bench:` block says, if one is given.

        Raises:
            ValueError: they disagree.
        """
        if self.config.bench:
            files = [place for place, content in given_contents(self._argv) if "bench" in (content or {})]
            file = files[-1].removesuffix(": ") if files else "this configuration"
            check_claims(type(self.model), self.config.bench, self.datamodule.view, file)

    @property
    def out(self) -> Path:
        return Path(self.config.out)

    def plain_config(self) -> dict[str, Any]:
        """The resolved configuration in JSON types."""
        return self._plain(self.config)

    def _resolve(self, content: dict[str, Any]) -> dict[str, Any]:
        """What the content of a configuration file resolves to by itself."""
        return self._plain(self.parser.parse_object(content, env=False))

    def _plain(self, config: Namespace) -> dict[str, Any]:
        return yaml.safe_load(self.parser.dump(config, skip_unset=False, skip_validation=True))


def keep_integers(trainer: Namespace, given: list[str] | dict[str, Any]) -> None:
    """Undo that the parser made an integer a float: for `limit_train_batches`, 1 is one batch and 1.0 is all.

    `typing` keeps `Union[int, float]` in the order in which the process used it first, so that the type
    that is tried first depends on what was imported before.

    Args:
        trainer: The parsed arguments of the trainer; changed in place.
        given: The command line or the content of a configuration file that was parsed.
    """
    for _, content in given_contents(given):
        arguments = content.get("trainer") if isinstance(content, dict) else None
        for key, value in arguments.items() if isinstance(arguments, dict) else ():
            if type(value) is int and type(trainer.get(key)) is float:
                trainer[key] = value


def has_checkpoint(callbacks: Callback | Sequence[Callback] | None) -> bool:
    """Whether one of the given callbacks writes checkpoints of its own."""
    given = callbacks if isinstance(callbacks, Sequence) else [callbacks]
    return any(isinstance(callback, Checkpoint) for callback in given)


def is_first_rank() -> bool:
    """Whether this process has rank 0, which is the only one that opens the stage folder."""
    return getattr(rank_zero_only, "rank", 0) == 0


def record_cost(run: StageRun, trainer: Trainer, method: Method) -> None:
    """Add the number of trainable parameters to the manifest, and on GPUs the time and memory that were used.

    GPU seconds are the wall seconds of all attempts times the number of GPUs. An attempt that finds nothing
    left to do records the same facts.
    """
    run.record(params=sum(p.numel() for p in method.parameters() if p.requires_grad))
    device = trainer.strategy.root_device
    if device.type == "cuda":
        seconds = run.cost()["wall_seconds"] * trainer.world_size
        memory = torch.cuda.max_memory_allocated(device) / 2**20
        run.record(gpu_seconds=round(seconds, 3), peak_memory_mb=round(memory, 1))


def callbacks_of(trainer: Trainer) -> list[Callback]:
    """List of the trainer's callbacks, to which more can be added before it runs."""
    return trainer.callbacks  # type: ignore[attr-defined]
