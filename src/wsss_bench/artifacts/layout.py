"""Names of the files and folders in a stage folder, and what must be there before a stage reads them."""

from __future__ import annotations

import glob
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

MANIFEST = "stage.json"
"""What a stage was made of; written last, so that its presence means that the stage is complete."""

PLAN_FILE = "plan.yaml"
"""The configuration that the bench starts a stage with."""
CONFIG_FILE = "config.yaml"
"""The configuration of a train stage with all default values filled in."""
LOG_FILE = "log.txt"
"""Output of a stage that the bench started."""
CURVES = "curves.csv"
"""Losses, learning rates and monitored metrics of a training, against the step (`stages.curves`)."""
PROGRESS = "progress.json"
"""How far a stage is, and what it has cost so far."""
FAILURE_FILE = "failed.json"
"""Why the last attempt of a stage failed; written by the bench."""
IDENTITY_FILE = "identity.json"
"""What decides the result of a stage (`artifacts.identity`); written before its first result."""
LIGHTNING = "lightning"
"""Lightning's own folder in a stage. Nothing is written there, so that it finds no checkpoint in it."""
WANDB = "wandb"
"""Folder of the W&B run of a stage."""
REFERENCES_FILE = "references.json"
"""The images that a seed stage compared each image with."""
STAGES = "stages"
"""Folder of all stages, in the folder of all results."""
DATA_FOLDER = ".data"
"""Folder of the digests of data files, in the folder of all results."""
SEEDS = "seeds"
"""Folder of the seeds in a seed stage (`artifacts.seeds`)."""
MASKS = "masks"
"""Folder of `<image id>.png` files in a refine stage; in a predict or crf stage, of a folder for each
read-out."""
PROBABILITIES = "probabilities"
"""Folder of the probabilities in a predict stage, for the CRF (`artifacts.probabilities`)."""
LAST = Path("checkpoints") / "last.ckpt"
"""The checkpoint of a train stage."""
FILES = "files.json"
"""Size and sha256 of each file that a complete stage wrote."""
PRUNED_FILE = "pruned.json"
"""Which folders of a complete stage `wsss-bench prune` has removed (`artifacts.pruning`)."""
BEGUN_FILE = "begun.json"
"""The code that a stage ran and the inputs that it read when it began; a later attempt may have others."""
TOGETHER = "--together"
"""Option of `predict` and `crf`: the configuration files of further stages that the same process runs."""
COMMANDS = {
    "train": "fit",
    "seed": "predict",
    "predict": "predict",
    "crf": "crf",
    "refine": "refine",
    "affinity": "fit",
    "segment": "fit",
    "evaluate": "evaluate",
}
"""The `wsss-bench` command that runs a stage, by kind of the stage."""
INPUTS = ("warm_start", "checkpoint", "seeds", "masks", "probabilities", "crf_masks", "network")
"""Keys of stage configurations that hold the folders of the stages that are read."""
READ = {"seeds": SEEDS, "masks": MASKS, "probabilities": PROBABILITIES, "crf_masks": MASKS}
"""The folder of a stage that another stage reads, by the key under which it names the stage."""
ASSET_PREFIX = "package:"
"""Start of the names of files that ship with the package."""
ASSETS = Path(__file__).parents[1] / "assets"
"""Where these files are."""
READOUTS = {f"{scales}-{post}": (scales, post) for scales in ("ss", "ms") for post in ("raw", "crf")}
"""(scales, post-processing) of the masks of a predict stage (`raw`) and of a crf stage (`crf`), by name of
their folder."""
OWN = "own"
"""In the place of the scales, for a read-out that a paper published; its name stands for post-processing."""

PLAN_RECORD = "plan.json"
"""The stages that an experiment was last run with, in its folder (`plan.plan_record`)."""
DATA_RECORD = "data.json"
"""The digests of the data that an experiment was planned with, in its folder (`artifacts.data_record`)."""


def data_folder(stage: Path) -> Path | None:
    """Folder beside `stages` with what is known of the files of data sets; None for a stage elsewhere."""
    folder = Path(stage).absolute().parent
    return folder.parent / DATA_FOLDER if folder.name == STAGES else None


def seed_folder(stage: Path) -> Path:
    """The folder of the seeds in a seed stage; `stage` itself if it is a bare folder of seeds."""
    return Path(stage) / SEEDS if (Path(stage) / SEEDS).is_dir() else Path(stage)


def require_files(missing: list[str], kind: str, folder: Path, split: str) -> None:
    """Raise `FileNotFoundError` naming up to five images without a file.

    Args:
        missing: Ids of the images without a file; nothing happens if there are none.
        kind: `seed` or `mask`, for the message.
        folder: Where the files should be.
        split: The split that the images belong to.
    """
    if missing:
        advice = _of_another_kind(folder, kind, missing[0]) or (
            f"name another folder or split, or complete this one: {how_to_mend(folder / missing[0])}"
        )
        raise FileNotFoundError(
            f"{folder} has no {kind} for {len(missing)} images of split {split!r}: {shortened(missing)}; "
            f"{advice}"
        )


def _of_another_kind(folder: Path, kind: str, image_id: str) -> str:
    """What to do with a folder that has other files of an image than `kind`; empty if it has none."""
    if kind == "mask" and (folder / SEEDS).is_dir():
        split = find_manifest(folder).get("config", {}).get("split")
        return f"it has seeds{f' of split {split!r}' if split else ''}, which --seeds scores"
    # ids may have dots: a.b.png is of another image than a
    alike = folder.glob(f"{glob.escape(image_id)}.*")
    beside = sorted(file for file in alike if file.stem == Path(image_id).name)
    if not beside:
        return ""
    if kind == "seed":
        return (
            f"it has {beside[0].name}: `wsss-bench import seeds --cams {folder}` makes seeds of the class "
            "maps of another code base"
        )
    return f"it has {beside[0].name}; masks are <image id>.png with the class of each pixel"


def readout_folder(scales: str, post: str) -> str:
    """Name of the folder of a predict stage with the masks of a read-out."""
    return f"{scales}-{post}"


def mask_folders(masks: Path, readout: tuple[str, str]) -> dict[tuple[str, str], Path]:
    """The folders of PNGs in `masks` by (scales, post-processing).

    Args:
        masks: A predict or crf stage, which has one folder per read-out; or a refine stage or a bare folder,
            which has the PNGs themselves.
        readout: (scales, post-processing) of a folder that has the PNGs themselves.

    Raises:
        FileNotFoundError: `masks` is not a folder.
    """
    folder = Path(masks) / MASKS if (Path(masks) / MASKS).is_dir() else Path(masks)
    if not folder.is_dir():
        raise FileNotFoundError(
            f"masks={str(masks)!r} is no folder; name a stage folder, or a folder with <image id>.png files"
        )
    return folders_of_readouts(folder) or {readout: folder}


def folders_of_readouts(folder: Path) -> dict[tuple[str, str], Path]:
    """The folders of read-outs in a folder, by (scales, post-processing)."""
    found = {key: folder / name for name, key in READOUTS.items() if (folder / name).is_dir()}
    own = sorted(path.name for path in folder.glob(f"{readout_folder(OWN, '*')}") if path.is_dir())
    return found | {(OWN, name.removeprefix(f"{OWN}-")): folder / name for name in own}


def shortened(names: Sequence[str], most: int = 5) -> str:
    """`a, b, c`, with dots instead of those after the first `most`.

    Examples:
        >>> shortened(["2007_000032", "2007_000039", "2007_000063"], 2)
        '2007_000032, 2007_000039, ...'
    """
    return ", ".join(names[:most]) + (", ..." if len(names) > most else "")


def find_manifest(stage: Path | str) -> dict[str, Any]:
    """The manifest of a stage; empty if the stage is not complete, or its manifest is unreadable."""
    return find_json(Path(stage) / MANIFEST)


def find_json(path: Path) -> dict[str, Any]:
    """Content of a JSON file with an object; empty if the file is missing or unreadable."""
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def how_to_mend(path: Path | str) -> str:
    """End of a message about a missing or damaged file: what makes it again."""
    for folder in Path(path).parents:
        manifest = find_manifest(folder)
        command = manifest.get("command")
        if (folder / PLAN_FILE).is_file():
            kind = manifest.get("kind") or folder.name.partition("-")[0]
            command = f"wsss-bench {COMMANDS.get(kind, kind)} --config {folder / PLAN_FILE}"
        if command:
            return f"`{command}` makes it again, and `wsss-bench bench` does so itself"
    return "put an intact copy there"
