"""Names of the files and folders that stages write, and what must be there before a stage reads them."""

from __future__ import annotations

from pathlib import Path


def seed_folder(stage: Path) -> Path:
    """The folder with the npz files of a seed stage, or `stage` itself for a bare folder of them."""
    return Path(stage) / "seeds" if (Path(stage) / "seeds").is_dir() else Path(stage)


def require_files(missing: list[str], kind: str, folder: Path, split: str) -> None:
    """Raise `FileNotFoundError` naming up to five images without a file."""
    if missing:
        shown = ", ".join(missing[:5]) + (", ..." if len(missing) > 5 else "")
        raise FileNotFoundError(
            f"{folder} has no {kind} for {len(missing)} images of split {split!r}: {shown}; "
            "run the stage that makes them to its end, or name another folder or split"
        )


READOUTS = {f"{scales}-{post}": (scales, post) for scales in ("ss", "ms") for post in ("raw", "crf")}


def mask_folders(masks: Path, readout: tuple[str, str]) -> dict[tuple[str, str], Path]:
    """The folders of PNGs in `masks` by (scales, post-processing).

    A predict stage has one folder for each read-out; a refine stage, or a bare folder, has the PNGs
    themselves, which are then called `readout`.
    """
    folder = Path(masks) / "masks" if (Path(masks) / "masks").is_dir() else Path(masks)
    if not folder.is_dir():
        raise FileNotFoundError(
            f"masks={str(masks)!r} is no folder; name a stage folder, or a folder with <image id>.png files"
        )
    found = {key: folder / name for name, key in READOUTS.items() if (folder / name).is_dir()}
    return found or {readout: folder}


LAST = Path("checkpoints") / "last.ckpt"
