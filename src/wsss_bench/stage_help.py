"""The short help of `fit` and `predict`.

Their full help (`--help_all`) lists every argument of Lightning's trainer and of the data module, for which
torch and Lightning are imported: ten seconds of a core. This one says what is asked most and imports nothing.
"""

from __future__ import annotations

FORM = """usage: wsss-bench {command} --config FILE [--config FILE ...] --out FOLDER [--KEY VALUE ...]

{description}

Every key of the YAML files is an option too, written with dots: --trainer.max_epochs 1. Later options win.

{options}

more:
  --help_all                        all options with types and default values, some seconds
  --model.help CLASS                the init_args of a method, for instance wsss_bench.methods.cam.CAM
  --data.source.help CLASS          the init_args of a source, for instance wsss_bench.data.sources.voc.VOC
  --trainer.logger.help CLASS       the init_args of a logger; the same for --trainer.callbacks.help
  --print_config                    print the resolved configuration and stop; neither data nor folder is used

`wsss-bench schema` lets an editor complete and check the keys. docs/debugging.md: breakpoints, short runs.
"""
SHARED = """options:
  --config FILE                     YAML file with the keys below; may be given several times
  --out FOLDER                      stage folder to write
  --seed_everything N               random seed (default: 0)
  --model CLASS                     method, segmenter or network of a refiner; --model.KEY: its init_args
  --data.KEY VALUE                  data module: source, view, transform, global_batch_size, num_workers, ...
  --trainer.KEY VALUE               trainer of Lightning: max_epochs, devices, precision, logger, callbacks,
                                    fast_dev_run, limit_train_batches, overfit_batches, ...
"""
FIT = """  --warm_start STAGE                train stage to take initial weights from
  --masks STAGE                     refine stage with the pseudo masks to train on
  --checkpoint_minutes N            between checkpoints inside an epoch (default: 10)

from a plan, without effect here:
  --stage, --bench, --protocol, --inference"""
PREDICT = """  --checkpoint STAGE                train stage; null for a method without training
  --product seed|segmentation       what is predicted
  --split SPLIT                     split that is predicted
  --inference.KEY VALUE             scales, flip, windows and padding
  --scales [S, ...]                 scales of multi-scale masks
  --readouts {NAME: ...}            published read-outs of a segmentation
  --crf true                        write the probabilities that `wsss-bench crf` takes

from a plan, without effect here:
  --stage, --bench, --protocol"""
SHORT = {
    "fit": FORM.format(command="fit", description="Train a method.", options=SHARED + FIT),
    "predict": FORM.format(
        command="predict",
        description="Write the seeds or masks of a split with a trained method.",
        options=SHARED + PREDICT,
    ),
}
"""By command; the other commands print their full help at once."""
FULL = "--help_all"


def short_help(command: str, arguments: list[str]) -> str | None:
    """The short help, if it is asked for."""
    return SHORT.get(command) if {"-h", "--help"} & set(arguments) else None
