"""The seed and predict stages: `wsss-bench predict --config FILE` writes seeds or masks of one split.

Images whose files are complete are not computed again, so an interrupted stage continues where it stopped.
With several ranks each predicts a share; the stage is complete when all have ended and every image is there.

On a GPU, images of equal size go through the network together (`inference.batch_size`). They are looked for
among the images of a chunk; results are handed on in the order of the images.
"""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

from wsss_bench.artifacts.run import StageRun
from wsss_bench.callbacks import PlainSignals
from wsss_bench.processes import ranks_end_with_this_process
from wsss_bench.stages import predict_image, predict_together
from wsss_bench.stages.lightning_cli import callbacks_of, is_first_rank
from wsss_bench.stages.parser import Instantiators
from wsss_bench.stages.prediction import PredictCLI, SplitPrediction, check_prediction, opened
from wsss_bench.stages.ranks import Ranks


def parse(config: dict[str, Any]) -> None:
    """Check the configuration of a stage without building anything."""
    PredictCLI(config, build=False)


def try_out(config: dict[str, Any], instantiators: Instantiators) -> None:
    """Build what the stage needs and check what can be known before it runs."""
    check_prediction(PredictCLI(config, instantiators=instantiators))


def main(argv: list[str]) -> int:
    """Predict one split, or single images; see `wsss-bench predict --help` and `... --image --help`."""
    if predict_image.is_meant(argv):
        return predict_image.main(argv)
    if predict_together.is_meant(argv):
        return predict_together.main(argv)
    cli = PredictCLI(argv)
    check_prediction(cli)
    with opened(cli) if is_first_rank() else nullcontext() as run:
        predict_split(cli, run)
    return 0


def predict_split(cli: PredictCLI, run: StageRun | None) -> None:
    """Predict the missing images of the split.

    Args:
        cli: Parsed configuration with method, data module and trainer.
        run: The open stage; None on ranks other than 0.

    Raises:
        FileNotFoundError: the train stage has no checkpoint.
        ValueError: the checkpoint is of another method or of other classes, another rank failed, or an image
            is missing at the end.
    """
    split = SplitPrediction(cli, run)
    ranks = Ranks()
    callbacks_of(cli.trainer).extend([*split.progress(), PlainSignals(), ranks, split.writer])
    if split.missing:
        split.load_images()
        prediction = split.module()
        with ranks_end_with_this_process():
            cli.trainer.predict(prediction, datamodule=cli.datamodule, return_predictions=False)
    ranks.finish(split.require_all)
    split.record_cost(cli.trainer)
