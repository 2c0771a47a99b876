"""`wsss-bench export pseudo-masks`: the masks of a stage, in the layout that other repositories train on."""

from __future__ import annotations

import json
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal

import numpy as np
from rich.console import Console
from rich.progress import track

from wsss_bench.artifacts.files import encoded_mask, file_names, mask_path, read_manifest, read_mask
from wsss_bench.artifacts.layout import how_to_mend, shortened
from wsss_bench.artifacts.stage_files import lost_files
from wsss_bench.data.coco_masks import pixel_digest
from wsss_bench.exchange.archives import COMPRESSED, is_tar, write_folder, write_tar
from wsss_bench.exchange.checked_masks import one_folder
from wsss_bench.types import IGNORE

Ignored = Literal["keep", "background"]
"""What becomes of pixels with 255."""
LIST, MANIFEST = "list.txt", "manifest.json"


def export_pseudo_masks(
    stage: Path, out: Path, readout: str | None = None, ignored: Ignored = "keep"
) -> dict[str, Any]:
    """Write `<image id>.png`, `list.txt` with the ids, and `manifest.json`.

    Args:
        stage: A complete stage with masks: refine, predict, or imported.
        out: A new folder, or a tar file by its name, whose files are in a folder of that name.
        readout: Folder of a predict stage with several, such as `ms-crf`.
        ignored: What becomes of pixels with 255.

    Returns:
        Content of the manifest. `sha256` is over ids and pixels in the order of the ids, as in `data
        coco-masks`; it does not depend on the PNG encoder.

    Raises:
        FileNotFoundError: the stage is not complete, or has no masks.
        ValueError: files of the stage are missing or damaged.
    """
    made = read_manifest(stage)
    folder = one_folder(stage, readout)
    if lost := lost_files(stage, made):
        raise ValueError(
            f"{stage} has lost {len(lost)} of its files: {shortened(lost)}; {how_to_mend(stage / lost[0])}"
        )
    ids = sorted(name.removesuffix(".png") for name in file_names(folder) if name.endswith(".png"))
    if not ids:
        raise FileNotFoundError(f"{folder} has no masks; name a refine or a predict stage")
    manifest = {
        "stage": Path(stage).resolve().name,
        **{key: made.get(key) for key in ("kind", "title", "fingerprint", "commit", "finished")},
        **{key: made["config"][key] for key in ("split", "refiner") if key in made["config"]},
        "readout": folder.name if readout else None,
        "ignored": ignored,
        "images": len(ids),
    }
    if is_tar(out):
        stem = next(out.name.removesuffix(end) for end in (*COMPRESSED, ".tar") if out.name.endswith(end))
        write_tar(out, ((f"{stem}/{name}", data) for name, data in _members(folder, ids, ignored, manifest)))
    else:
        write_folder(out, _members(folder, ids, ignored, manifest))
    return manifest


def _members(
    folder: Path, ids: list[str], ignored: Ignored, manifest: dict[str, Any]
) -> Iterator[tuple[str, bytes]]:
    """All files; the manifest, which gets its `sha256` here, is the last."""
    total = sha256()
    for image_id in track(ids, "writing", console=Console(stderr=True)):
        mask = read_mask(mask_path(folder, image_id))
        if ignored == "background":
            mask = np.where(mask == IGNORE, np.uint8(0), mask)
        total.update(pixel_digest(image_id, mask))
        yield f"{image_id}.png", encoded_mask(mask)
    manifest["sha256"] = total.hexdigest()
    yield LIST, "".join(f"{image_id}\n" for image_id in ids).encode()
    yield MANIFEST, (json.dumps(manifest, indent=1) + "\n").encode()
