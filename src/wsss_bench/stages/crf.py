"""The crf stage: `wsss-bench crf --config FILE` makes masks with CRF from predicted probabilities.

It needs no GPU and no torch. Masks that exist and are readable are not computed again. Images are shared
among processes, one on each core; the kernels of an image are made once for all read-outs with the same CRF.
`--together` makes the masks of several predictions of the same images in one process, with common kernels;
a stage then counts an equal share of the time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Any

from wsss_bench.artifacts.data_reads import data_reads
from wsss_bench.artifacts.layout import MASKS, OWN, PROBABILITIES, TOGETHER, readout_folder, require_files
from wsss_bench.artifacts.probabilities import probability_ids, readouts_in
from wsss_bench.artifacts.run import StageInfo, StageRun, open_stage
from wsss_bench.crf.densecrf import CRFConfig, available
from wsss_bench.crf.pool import ImagePool
from wsss_bench.crf.readouts import MadeMasks, ReadoutCRF, write_masks_with_crf
from wsss_bench.data.listing import checked_digests
from wsss_bench.data.sources.base import Source
from wsss_bench.stages.image_files import ImageFiles
from wsss_bench.stages.parser import BY_HAND, FunctionParser, Instantiators

USUAL = CRFConfig()
STANDARD = ("ss", "ms")
"""Read-outs with the CRF of the protocol."""


def crf(
    source: Source,
    split: str,
    probabilities: Path,
    out: Path,
    crf: CRFConfig | None = USUAL,
    readouts: Mapping[str, ReadoutCRF] = {},
    workers: int | None = None,
    stage: StageInfo = BY_HAND,
    *,
    resolved: dict[str, Any],
) -> None:
    """Make masks with CRF of a split.

    Args:
        source: Source of the images; its masks are not used.
        split: Split that was predicted.
        probabilities: Predict stage that has the probabilities (predicted with `crf: true`).
        out: Stage folder to write: masks/ss-crf, masks/ms-crf and masks/own-<name>.
        crf: The data set's CRF, of the single-scale and of the multi-scale masks; null: none of these.
        readouts: CRFs of published read-outs, by name.
        workers: Number of processes; 0 works in this one; null takes `WSSS_WORKERS`, or all available cores.
        stage: Facts of the stage from the plan.
        resolved: These options, for the manifest.
    """
    make_masks([CRFStage(source, split, probabilities, out, crf, readouts, stage, resolved)], workers)


class CRFStage:
    """The masks of one prediction. The arguments are those of `crf`.

    Attributes:
        ids: All images of the split.

    Raises:
        FileNotFoundError: there are no probabilities of an image.
        ValueError: a read-out is not there, or none is wanted.
    """

    def __init__(
        self,
        source: Source,
        split: str,
        probabilities: Path,
        out: Path,
        crf: CRFConfig | None,
        readouts: Mapping[str, ReadoutCRF],
        stage: StageInfo,
        resolved: dict[str, Any],
    ) -> None:
        self.source, self.out = source, Path(out)
        self.ids = source.ids(split)
        self._stage, self._resolved = stage, resolved
        folder = Path(probabilities) / PROBABILITIES
        published = {readout_folder(OWN, name): settings for name, settings in readouts.items()}
        wanted: list[tuple[str, str, ReadoutCRF]] = []
        if available():
            there = _readouts_of(folder)
            if lacking := [name for name in published if name not in there]:
                raise ValueError(
                    f"{folder} has no read-out {', '.join(lacking)}, only {', '.join(there)}; predict it "
                    "with the same read-outs"
                )
            if crf is not None:
                usual = ReadoutCRF(crf)
                wanted = [(name, readout_folder(name, "crf"), usual) for name in STANDARD if name in there]
            wanted += [(name, name, settings) for name, settings in published.items()]
            if not wanted:
                raise ValueError(f"no mask of {', '.join(there)} is asked for; give --crf or --readouts")
            present = probability_ids(folder)
            require_files([name for name in self.ids if name not in present], PROBABILITIES, folder, split)
        self.made = MadeMasks(folder, self.out / MASKS, wanted)
        self._files = ImageFiles(masks=[self.made.masks / name for _, name, _ in wanted])

    def opened(self) -> AbstractContextManager[StageRun]:
        """The folder of the stage, opened."""
        reads = data_reads("crf", self._resolved)
        data = checked_digests(self.source, reads, self._stage.data, self.out)
        return open_stage(self.out, "crf", self._resolved, self._stage, data)

    def missing(self) -> set[str]:
        """Images without all of their masks."""
        return {image_id for image_id in self.ids if not self._files.is_done(image_id)}

    def finish(self, run: StageRun) -> None:
        """Check that all masks are there and whole.

        Raises:
            ValueError: some are not.
        """
        self._files.require_all(self.ids)
        run.record(image_count=len(self.ids), crf=bool(self.made.readouts))


def make_masks(stages: Sequence[CRFStage], workers: int | None) -> None:
    """Make the masks of stages of the same images."""
    first = stages[0]
    if not available():
        print("the module pydensecrf is not installed: there are no masks with CRF", flush=True)
    with ExitStack() as opened:
        runs = [opened.enter_context(stage.opened()) for stage in stages]
        for run in runs:
            run.shared_by = len(runs)
        missing = [stage.missing() for stage in stages]
        with ImagePool(workers if any(missing) else 0) as pool:
            for number, image_id in enumerate(first.ids, 1):
                made = [one.made for one, some in zip(stages, missing, strict=True) if image_id in some]
                if made:
                    pool.run(image_id, write_masks_with_crf, first.source.image(image_id), image_id, made)
                for run in runs:
                    run.progress(number, len(first.ids), "images")
        for stage, run in zip(stages, runs, strict=True):
            stage.finish(run)


def _readouts_of(folder: Path) -> list[str]:
    if there := readouts_in(folder):
        return there
    raise FileNotFoundError(
        f"{folder} holds no probabilities for a CRF; predict a segmentation with --crf true, where "
        "pydensecrf is installed"
    )


def parse(config: dict[str, Any]) -> None:
    """Check the configuration of a stage without building anything."""
    FunctionParser(crf).parse(config)


def try_out(config: dict[str, Any], instantiators: Instantiators) -> None:
    """Build what the stage needs and check what can be known before it runs."""
    built = FunctionParser(crf).build(config, instantiators)
    built.source.ids(built.split)
    if built.crf is not None:
        ReadoutCRF(built.crf)


def main(argv: list[str]) -> int:
    """Make masks with CRF of one split; see `wsss-bench crf --help`."""
    if TOGETHER not in argv:
        FunctionParser(crf).run(argv)
        return 0
    place = argv.index(TOGETHER)
    commands = [argv[:place], *(["--config", file] for file in argv[place + 1 :])]
    arguments = [FunctionParser(crf).arguments(command) for command in commands]
    images = {key: arguments[0]["resolved"][key] for key in ("source", "split")}
    for one in arguments:
        if differing := {key: one["resolved"][key] for key in images if one["resolved"][key] != images[key]}:
            raise ValueError(
                f"{TOGETHER} is for stages of the same images; {one['out']} has {differing}, not {images}. "
                "Run them one by one"
            )
    workers = [one.pop("workers") for one in arguments]
    make_masks([CRFStage(**one) for one in arguments], workers[0])
    return 0
