"""The mini world as image-text pairs: a caption table, and tar shards as img2dataset writes them.

<root>/pairs/captions.csv          columns image,caption,split: all annotated images, in voc/JPEGImages
<root>/pairs/shards/<shard>.tar    <key>.jpg, <key>.txt, <key>.json: two pairs for each training image

Both are made from `voc/` alone. A mini world that an earlier version wrote without pairs therefore gets them
without being drawn again.
"""

from __future__ import annotations

import csv
import io
import json
import shutil
import tarfile
from pathlib import Path

from wsss_bench.mini.world.scenes import IMAGE_SIZE

FOLDER = "pairs"
SHARDS = 4


def pairs_exist(root: Path) -> bool:
    """Whether the pairs are written. The folder exists only if they are complete."""
    return (root / FOLDER).is_dir()


def write_pairs(root: Path) -> None:
    """Write both layouts from `voc/`. The folder has a temporary name until it is complete."""
    voc, draft = root / "voc", root / f"{FOLDER}.incomplete"
    shutil.rmtree(draft, ignore_errors=True)
    (draft / "shards").mkdir(parents=True)
    sentences: dict[str, list[str]] = json.loads((voc / "captions.json").read_text())
    splits = {image_id: image_id.rpartition("_")[0] for image_id in sentences}
    with (draft / "captions.csv").open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("image", "caption", "split"))
        for image_id, captions in sentences.items():
            writer.writerows((f"{image_id}.jpg", caption, splits[image_id]) for caption in captions)
    pairs = [
        (image_id, caption)
        for image_id, captions in sentences.items()
        if splits[image_id] == "train"
        for caption in captions
    ]
    size = -(-len(pairs) // SHARDS)
    for shard in range(SHARDS):
        with tarfile.open(draft / "shards" / f"{shard:05d}.tar", "w", format=tarfile.USTAR_FORMAT) as tar:
            for number, (image_id, caption) in enumerate(pairs[shard * size : (shard + 1) * size]):
                picture = (voc / "JPEGImages" / f"{image_id}.jpg").read_bytes()
                _add_pair(tar, f"{shard:05d}{number:04d}", picture, caption)
    draft.rename(root / FOLDER)


def _add_pair(tar: tarfile.TarFile, key: str, picture: bytes, caption: str) -> None:
    metadata = {
        "key": key,
        "caption": caption,
        "status": "success",
        "width": IMAGE_SIZE,
        "height": IMAGE_SIZE,
    }
    members = {"jpg": picture, "txt": caption.encode(), "json": json.dumps(metadata).encode()}
    for suffix, content in members.items():
        # without time and owner, so that the same world gives the same bytes
        info = tarfile.TarInfo(f"{key}.{suffix}")
        info.size = len(content)
        tar.addfile(info, io.BytesIO(content))
