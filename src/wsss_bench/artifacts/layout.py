"""Names of the files and folders in a stage folder, and what must be there before a stage reads them."""

from __future__ import annotations

from pathlib import Path

PLAN_FILE = "plan.yaml"
"""The configuration that the bench starts a stage with."""
CONFIG_FILE = "config.yaml"
"""The configuration of a train stage with all default values filled in."""
LOG_FILE = "log.txt"
"""Output of a stage that the bench started."""
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
"""Folder of `<image id>.npz` files in a seed stage."""
MASKS = "masks"
"""Folder of `<image id>.png` files in a refine stage; in a predict stage, of a folder for each read-out."""
LAST = Path("checkpoints") / "last.ckpt"
"""The checkpoint of a train stage."""
READOUTS = {f"{scales}-{post}": (scales, post) for scales in ("ss", "ms") for post in ("raw", "crf")}
"""(scales, post-processing) of a predict stage's masks, by name of their folder."""

DATA_RECORD = "data.json"
"""The digests of the data that an experiment was planned with, in its folder (`artifacts.data_record`)."""


def data_folder(stage: Path) -> Path | None:
    """Folder beside `stages` with what is known of the files of data sets; None for a stage elsewhere."""
    folder = Path(stage).absolute().parent
    return folder.parent / DATA_FOLDER if folder.name == STAGES else None


def seed_folder(stage: Path) -> Path:
    """The folder of npz files in a seed stage; `stage` itself if it is a bare folder of such files."""
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
        shown = ", ".join(missing[:5]) + (", ..." if len(missing) > 5 else "")
        raise FileNotFoundError(
            f"{folder} has no {kind} for {len(missing)} images of split {split!r}: {shown}; "
            "run the stage that makes them to its end, or name another folder or split"
        )


def mask_folders(masks: Path, readout: tuple[str, str]) -> dict[tuple[str, str], Path]:
    """The folders of PNGs in `masks` by (scales, post-processing).

    Args:
        masks: A predict stage, which has one folder per read-out; or a refine stage or a bare folder, which
            has the PNGs themselves.
        readout: (scales, post-processing) of a folder that has the PNGs themselves.

    Raises:
        FileNotFoundError: `masks` is not a folder.
    """
    folder = Path(masks) / MASKS if (Path(masks) / MASKS).is_dir() else Path(masks)
    if not folder.is_dir():
        raise FileNotFoundError(
            f"masks={str(masks)!r} is no folder; name a stage folder, or a folder with <image id>.png files"
        )
    found = {key: folder / name for name, key in READOUTS.items() if (folder / name).is_dir()}
    return found or {readout: folder}
