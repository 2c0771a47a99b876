"""The parts of a seed or predict stage: its options, what predicts, which images are missing, what writes."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.cli import LightningArgumentParser

from wsss_bench.artifacts.data_reads import data_reads
from wsss_bench.artifacts.files import write_json
from wsss_bench.artifacts.layout import (
    LAST,
    MASKS,
    OWN,
    PROBABILITIES,
    REFERENCES_FILE,
    SEEDS,
    readout_folder,
)
from wsss_bench.artifacts.run import StageRun, open_stage
from wsss_bench.artifacts.stage_files import check_file
from wsss_bench.callbacks import MaskWriter, PredictedMask, Progress, SeedWriter, predicted_mask
from wsss_bench.crf.densecrf import available
from wsss_bench.data.listing import checked_digests
from wsss_bench.inference import Product, predict
from wsss_bench.inference_batches import batch_size_of, batches_of
from wsss_bench.inference_config import InferenceConfig
from wsss_bench.methods.base import Method
from wsss_bench.methods.checked_maps import CheckedMaps
from wsss_bench.methods.checkpoint import load_state, read_checkpoint
from wsss_bench.published_probabilities import published_probabilities
from wsss_bench.published_readout import PublishedReadout
from wsss_bench.stages.image_files import ImageFiles
from wsss_bench.stages.lightning_cli import StageCLI, record_cost
from wsss_bench.types import InferenceSample, ScoreMaps

CHUNK_BATCHES = 4
"""Batches of images that are looked through for images of equal size: VOC has two frequent sizes."""


class Prediction(LightningModule):
    """A method together with what it predicts and how: the module that a trainer predicts with.

    Args:
        method: Method or segmenter, on any device; the trainer moves it.
        product: `seed` or `segmentation`.
        inference: Scales, windows and padding.
        published: Published read-outs of a segmentation, by folder.
        crf: Whether masks with the CRF of the protocol will be made of a segmentation.
        batch_size: Images of equal size that go through the network together, at most.
    """

    def __init__(
        self,
        method: Method,
        product: Product,
        inference: InferenceConfig,
        published: Mapping[str, PublishedReadout],
        crf: bool,
        batch_size: int,
    ) -> None:
        super().__init__()
        self.method = method
        self.product: Product = product
        self.inference = inference
        self.published = published
        self.crf = crf
        self.batch_size = batch_size
        self._first: CheckedMaps | None = CheckedMaps(method)

    def load(self, path: Path) -> None:
        """Load the checkpoint of a train stage into the method.

        Raises:
            FileNotFoundError: no such file.
            ValueError: a checkpoint of another method or of other classes.
        """
        checkpoint = read_checkpoint(path)
        self.method.on_load_checkpoint(checkpoint)
        load_state(self.method, checkpoint["state_dict"], path)

    def predict_step(
        self, chunk: list[InferenceSample], chunk_index: int
    ) -> list[ScoreMaps] | list[dict[str, PredictedMask]]:
        """Seeds of each image of a chunk, or the masks of `predict` and of each published read-out."""
        outputs: dict[int, Any] = {}
        for positions in batches_of(chunk, self.batch_size):
            found = self.predict_batch([chunk[position] for position in positions])
            outputs |= zip(positions, found, strict=True)
        return [outputs[position] for position in range(len(chunk))]

    def predict_batch(
        self, samples: list[InferenceSample]
    ) -> list[ScoreMaps] | list[dict[str, PredictedMask]]:
        """The same of images of equal size."""
        method = self._first or self.method
        if self.product == "seed":
            seeds: list[ScoreMaps] = predict(method, samples, self.product, self.inference)
            if any(len(maps.classes) for maps in seeds):  # else the method made no maps that were checked
                self._first = None
            return seeds
        masks: list[dict[str, PredictedMask]] = [{} for _ in samples]
        found = predict(method, samples, self.product, self.inference)
        self._first = None
        for sample, own, probabilities in zip(samples, masks, found, strict=True):
            for scales, maps in probabilities.items():
                own[scales] = predicted_mask(sample.image_id, maps, "present" if self.crf else "none")
        for folder, readout in self.published.items():
            published = published_probabilities(method, samples, readout, self.inference)
            for sample, own, maps in zip(samples, masks, published, strict=True):
                own[folder] = predicted_mask(sample.image_id, maps, "all" if readout.crf else "none")
        return masks


class PredictCLI(StageCLI):
    """Adds the options of prediction."""

    command = "predict"

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        super().add_arguments_to_parser(parser)
        parser.add_argument(
            "--checkpoint",
            type=str | None,
            default=None,
            help="train stage; null for methods without training",
        )
        parser.add_argument("--product", type=Product, required=True, help="seed or segmentation")
        parser.add_argument("--split", type=str, required=True, help="split to predict")
        parser.add_argument(
            "--inference", type=InferenceConfig, default=InferenceConfig(), help="scales, windows, padding"
        )
        parser.add_argument(
            "--scales",
            type=list[float],
            default=[0.75, 1.0, 1.25],
            help="scales of multi-scale masks; []: none of these",
        )
        parser.add_argument(
            "--readouts",
            type=dict[str, PublishedReadout],
            default={},
            help="published read-outs of a segmentation, by name",
        )
        parser.add_argument(
            "--crf",
            type=bool,
            default=False,
            help="write the probabilities that `wsss-bench crf` makes masks with CRF from",
        )


def check_prediction(cli: PredictCLI) -> None:
    """Check that the method makes the product, and that the split exists.

    Raises:
        FileNotFoundError, ValueError: with what to change.
    """
    cli.check_claims()
    config, kind = cli.config_init, type(cli.model)
    if not kind.makes(config.product):
        raise ValueError(f"{kind.__name__} makes no {config.product}; choose another product or method")
    inference_of(cli)
    cli.datamodule.source.ids(config.split)


def inference_of(cli: PredictCLI) -> InferenceConfig:
    """How the method is applied, with what the data set decides: scales and background."""
    config = cli.config_init
    return replace(
        config.inference,
        multi_scales=tuple(config.scales),
        background=cli.datamodule.source.has_background,
    )


def opened(cli: PredictCLI) -> AbstractContextManager[StageRun]:
    """The folder of the stage, opened."""
    plain = cli.plain_config()
    data = checked_digests(cli.datamodule.source, data_reads("predict", plain), cli.info.data, cli.out)
    kind = "seed" if cli.config.product == "seed" else "predict"
    return open_stage(cli.out, kind, plain, cli.info, data)


class SplitPrediction:
    """The prediction of one split: what is missing, what makes it, and what writes it.

    Args:
        cli: Parsed configuration with method, data module and trainer.
        run: The open stage; None on ranks other than 0.

    Attributes:
        missing: Images that are not complete.
        writer: Callback that writes their files.
    """

    writer: SeedWriter | MaskWriter

    def __init__(self, cli: PredictCLI, run: StageRun | None) -> None:
        config = cli.config_init
        self.cli, self.run = cli, run
        self.inference = inference_of(cli)
        self._crf = config.crf and available()
        self._published = {
            readout_folder(OWN, name): readout
            for name, readout in config.readouts.items()
            if not readout.crf or available()
        }
        if self._published and config.product == "seed":
            raise ValueError("readouts apply to product `segmentation`; leave them out for seeds")
        if config.product == "seed":
            self.writer = SeedWriter(cli.out / SEEDS)
            self._files = ImageFiles(seeds=cli.out / SEEDS)
        else:
            self.writer = MaskWriter(cli.out / MASKS, cli.out / PROBABILITIES, self._published)
            self._files = self._segmentation_files()
        self._ids = cli.datamodule.source.ids(config.split)
        self.missing = [image_id for image_id in self._ids if not self._files.is_done(image_id)]
        if run is not None:
            print(f"{len(self._ids) - len(self.missing)} of {len(self._ids)} images are complete", flush=True)
            run.record(image_count=len(self._ids), crf=self._crf)
        self._checkpoint = self._find_checkpoint()
        self._write_references()

    def progress(self) -> list[Callback]:
        """The callback that shows the progress of the stage, where it is open."""
        return [] if self.run is None else [Progress(self.run, len(self.missing))]

    def load_images(self) -> None:
        """Let the data module load the missing images."""
        config = self.cli.config_init
        chunk_size = 1 if self.batch_size == 1 else CHUNK_BATCHES * self.batch_size
        self.cli.datamodule.predict_on(
            config.split, config.product == "seed", self.missing, self._references, chunk_size
        )

    @property
    def batch_size(self) -> int:
        """Images of equal size that go through the network together, at most."""
        device = self.cli.trainer.strategy.root_device
        return batch_size_of(self.inference, device, self.cli.model.independent_images)

    def module(self) -> Prediction:
        """The method with its weights, ready to predict."""
        product = self.cli.config_init.product
        prediction = Prediction(
            self.cli.model, product, self.inference, self._published, self._crf, self.batch_size
        )
        if self._checkpoint is not None:
            prediction.load(self._checkpoint)
        return prediction

    def require_all(self) -> None:
        """Check that the files of all images of the split are there and whole.

        Raises:
            ValueError: some are not.
        """
        self._files.require_all(self._ids)

    def record_cost(self, trainer: Trainer) -> None:
        """Record what the stage has cost, with the trainer that it ran on."""
        if self.run is not None:
            record_cost(self.run, trainer, self.cli.model)

    def _segmentation_files(self) -> ImageFiles:
        scales = ("ss", "ms") if self.inference.multi_scales else ("ss",)
        without = [name for name, readout in self._published.items() if not readout.crf]
        with_crf = [name for name, readout in self._published.items() if readout.crf]
        return ImageFiles(
            masks=[
                self.cli.out / MASKS / name
                for name in [*(readout_folder(s, "raw") for s in scales), *without]
            ],
            probabilities=self.cli.out / PROBABILITIES,
            for_crf=[*(scales if self._crf else ()), *with_crf],
        )

    def _find_checkpoint(self) -> Path | None:
        folder = self.cli.config_init.checkpoint
        if not folder:
            return None
        checkpoint = Path(folder) / LAST
        if self.missing:
            check_file(Path(folder), LAST)
        if not checkpoint.is_file():
            raise FileNotFoundError(
                f"no checkpoint at {checkpoint}; run the train stage first, or set checkpoint: null"
            )
        return checkpoint

    @property
    def _references(self) -> int:
        return self.inference.references if self.cli.config_init.product == "seed" else 0

    def _write_references(self) -> None:
        if self._references and self.run is not None:
            names = self.cli.datamodule.class_names
            table = self.cli.datamodule.reference_table(self.cli.config_init.split, self._references)
            drawn = {i: {names[c]: ids for c, ids in classes.items()} for i, classes in table.items()}
            write_json(self.cli.out / REFERENCES_FILE, drawn)
