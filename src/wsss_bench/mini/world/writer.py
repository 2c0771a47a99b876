"""Writes the mini world: generated images in VOC and in COCO layout.

<root>/voc/        see voc_layout.py
<root>/coco/       see coco_layout.py
<root>/pairs/      image-text pairs made from voc/, see pair_layouts.py
<root>/single/, web/, saliency/   further training images and saliency maps, see extra_images.py
<root>/sheet.png   64 samples with their masks
<root>/mini.json   manifest of voc/, coco/ and sheet.png

The manifest is written after the files that it lists. The other folders come after the manifest, and each
of them appears under its name only when it is complete.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from wsss_bench.mini.world import coco_layout, pair_layouts, voc_layout
from wsss_bench.mini.world.contact_sheet import SHEET_SAMPLES, write_contact_sheet
from wsss_bench.mini.world.drawing import Drawing, OnProgress
from wsss_bench.mini.world.extra_images import extra_images, missing_folders, write_extra_images
from wsss_bench.mini.world.manifest import NAME, SAME_IMAGES, VERSION, read_manifest, write_manifest
from wsss_bench.mini.world.samples import Sample, make_sample
from wsss_bench.mini.world.scenes import Stream

LOCK_FILE = "mini.incomplete"  # exists while a world is being written
SIZES: dict[str, dict[Stream, int]] = {
    "full": {Stream.TRAIN: 1000, Stream.VAL: 300, Stream.VAL_OOD: 300, Stream.TEST: 50},
    "small": {Stream.TRAIN: 40, Stream.VAL: 16, Stream.VAL_OOD: 16, Stream.TEST: 4},
}
# COCO layout only: one image without annotation is added per so many images, and at least one.
IMAGES_PER_EMPTY = 50
COCO_PARTS = {Stream.TRAIN: "train2014", Stream.VAL: "val2014"}  # streams that the COCO layout has, too


class Job(NamedTuple):
    """One image to draw and write.

    Attributes:
        stream: Its random stream.
        number: Its index in the stream.
        coco_part: `train2014` or `val2014`; None if the COCO layout does not have it.
        coco_id: Its image id in the COCO layout.
    """

    stream: Stream
    number: int
    coco_part: str | None = None
    coco_id: int = 0


class ImageEntries(NamedTuple):
    """Entries of one written image in the lists and json files."""

    captions: tuple[str, ...]
    coco_annotations: list[dict[str, Any]]
    coco_captions: list[dict[str, Any]]


def write_mini_world(
    root: Path,
    size: str = "full",
    random_seed: int = 0,
    processes: int | None = None,
    on_progress: OnProgress | None = None,
) -> None:
    """Write the mini world, unless it is already there.

    Args:
        root: A folder for the mini world alone; made if absent. An interrupted world is written again.
        size: `full` (1000 train, 300 val, 300 val_ood) or `small` (40, 16, 16).
        random_seed: The same random seed gives the same bytes, whatever the number of processes.
        processes: Worker processes; None for one per core.
        on_progress: Called after each image that is drawn, with the number of them and the number of all.

    Raises:
        ValueError: `size` is unknown, or `root` holds a complete mini world of another size, random seed, or
            of a version with other images.
        FileExistsError: `root` holds files that do not belong to a mini world.
    """
    if size not in SIZES:
        raise ValueError(f"size must be one of {', '.join(SIZES)}, got {size!r}")
    root = Path(root)
    if _is_complete(root, size, random_seed) and pair_layouts.pairs_exist(root) and not missing_folders(root):
        return
    _check_folder(root)
    root.mkdir(parents=True, exist_ok=True)
    with _locked(root):
        # another process may have written it while this one waited for the lock
        jobs = [] if _is_complete(root, size, random_seed) else _jobs(SIZES[size])
        train_images = SIZES[size][Stream.TRAIN]
        extra = sum(len(extra_images(name, size, train_images)) for name in missing_folders(root))
        drawing = Drawing(processes or os.cpu_count() or 1, len(jobs) + extra, on_progress)
        if jobs:
            _write(root, size, random_seed, jobs, drawing)
        if not pair_layouts.pairs_exist(root):
            pair_layouts.write_pairs(root)
        write_extra_images(root, size, random_seed, drawing, train_images)


def image_id(stream: Stream, index: int) -> str:
    """VOC image id: `train_000007`, `val_ood_000012`."""
    return f"{stream.name.lower()}_{index:06d}"


def _write(root: Path, size: str, random_seed: int, jobs: list[Job], drawing: Drawing) -> None:
    voc, coco = root / "voc", root / "coco"
    for folder in (voc, coco, root / pair_layouts.FOLDER):
        shutil.rmtree(folder, ignore_errors=True)
    for name in voc_layout.FOLDERS:
        (voc / name).mkdir(parents=True)
    for name in (*COCO_PARTS.values(), "annotations"):
        (coco / name).mkdir(parents=True)

    counts = SIZES[size]
    entries = drawing.draw(partial(_write_image, root, random_seed), jobs)
    _write_voc_lists(voc, counts, jobs, entries)
    _write_coco_json(coco, jobs, entries)
    shown = [
        make_sample(random_seed, stream, index)
        for stream in (Stream.TRAIN, Stream.VAL_OOD)
        for index in range(min(counts[stream], SHEET_SAMPLES // 2))
    ]
    write_contact_sheet(root / "sheet.png", shown)
    totals = {stream.name.lower(): count for stream, count in counts.items()}
    totals |= {f"coco_{part}": sum(job.coco_part == part for job in jobs) for part in COCO_PARTS.values()}
    write_manifest(root, size, random_seed, totals)


def _jobs(counts: dict[Stream, int]) -> list[Job]:
    jobs = []
    for stream, count in counts.items():
        part = COCO_PARTS.get(stream)
        jobs += [Job(stream, k, part, coco_layout.image_number(k) if part else 0) for k in range(count)]
    first = 0
    for stream, part in COCO_PARTS.items():
        empty = max(1, counts[stream] // IMAGES_PER_EMPTY)
        numbers = range(counts[stream], counts[stream] + empty)
        jobs += [
            Job(Stream.EMPTY, first + k, part, coco_layout.image_number(number))
            for k, number in enumerate(numbers)
        ]
        first += empty
    return jobs


def _write_image(root: Path, random_seed: int, job: Job) -> ImageEntries:
    sample = make_sample(random_seed, job.stream, job.number)
    if job.stream is not Stream.EMPTY:
        voc_layout.write_voc_image(
            root / "voc", image_id(job.stream, job.number), sample, annotated=job.stream is not Stream.TEST
        )
    return ImageEntries(sample.captions, *_write_coco_image(root / "coco", job, sample))


def _write_coco_image(
    coco: Path, job: Job, sample: Sample
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    if job.coco_part is None:
        return [], []
    name = coco_layout.file_name(job.coco_part, job.coco_id)
    (coco / job.coco_part / name).write_bytes(sample.jpeg())
    return coco_layout.instance_entries(sample, job.coco_id), coco_layout.caption_entries(sample, job.coco_id)


def _write_voc_lists(
    voc: Path, counts: dict[Stream, int], jobs: list[Job], entries: list[ImageEntries]
) -> None:
    for stream, count in counts.items():
        voc_layout.write_split(voc, stream.name.lower(), [image_id(stream, k) for k in range(count)])
    # VOC's `train_aug` adds images with SBD masks to `train`; here it is the same list
    voc_layout.write_split(voc, "train_aug", [image_id(Stream.TRAIN, k) for k in range(counts[Stream.TRAIN])])
    sentences = {
        image_id(job.stream, job.number): image_entries.captions
        for job, image_entries in zip(jobs, entries, strict=True)
        if job.stream not in (Stream.EMPTY, Stream.TEST)
    }
    (voc / "captions.json").write_text(json.dumps(sentences, indent=0) + "\n")


def _write_coco_json(coco: Path, jobs: list[Job], entries: list[ImageEntries]) -> None:
    for part in COCO_PARTS.values():
        of_part = [pair for pair in zip(jobs, entries, strict=True) if pair[0].coco_part == part]
        images = [coco_layout.image_entry(part, job.coco_id) for job, _ in of_part]
        header = {
            "info": {"description": "wsss_bench mini world", "year": 2014},
            "licenses": [{"id": 1, "name": "MIT"}],
        }
        instances = {
            **header,
            "images": images,
            "annotations": [
                entry for _, image_entries in of_part for entry in image_entries.coco_annotations
            ],
            "categories": coco_layout.category_entries(),
        }
        captions = [entry for _, image_entries in of_part for entry in image_entries.coco_captions]
        sentences = {**header, "images": images, "annotations": captions}
        (coco / "annotations" / f"instances_{part}.json").write_text(json.dumps(instances))
        (coco / "annotations" / f"captions_{part}.json").write_text(json.dumps(sentences))


def _is_complete(root: Path, size: str, random_seed: int) -> bool:
    """Whether the manifest is there; ValueError if it is that of another world."""
    manifest = read_manifest(root)
    if manifest is None:
        return False
    found = {key: manifest[key] for key in ("version", "size", "seed")}
    wanted = {"version": VERSION, "size": size, "seed": random_seed}
    if found | {"version": VERSION} != wanted or found["version"] not in SAME_IMAGES:
        raise ValueError(
            f"{root} holds a mini world of {_describe(found)}, but {_describe(wanted)} was asked for; "
            "choose another --root, or delete that folder."
        )
    return True


def _describe(identity: dict[str, Any]) -> str:
    return ", ".join(f"{key} {value}" for key, value in identity.items())


def _check_folder(root: Path) -> None:
    """Accept only an empty folder or a mini world, so that no other files are ever deleted."""
    if not root.exists() or (root / LOCK_FILE).exists() or (root / NAME).exists():
        return
    found = sorted(path.name for path in root.iterdir())
    if found:
        raise FileExistsError(
            f"{root} is not empty and not a mini world (it holds {', '.join(found[:5])}); "
            "the mini world needs a folder of its own: choose another --root."
        )


@contextmanager
def _locked(root: Path) -> Iterator[None]:
    """Hold a lock on `LOCK_FILE`: a second process waits; if this one is killed, the lock is released."""
    with (root / LOCK_FILE).open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
        (root / LOCK_FILE).unlink(missing_ok=True)
