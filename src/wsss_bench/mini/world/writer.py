"""Write the mini world: one generated set of scenes in VOC and in COCO layout.

<root>/voc/        see voc_layout.py
<root>/coco/       see coco_layout.py
<root>/pairs/      the training images as image-text pairs, made of voc/, see pair_layouts.py
<root>/single/, web/, saliency/   what some methods take besides, see extra_sets.py
<root>/sheet.png   64 samples with their masks
<root>/mini.json   manifest of voc/, coco/ and the sheet; the sets beside them come after it, each as a whole
"""

from __future__ import annotations

import fcntl
import json
import multiprocessing
import os
import shutil
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from wsss_bench.mini.world import coco_layout, pair_layouts, voc_layout
from wsss_bench.mini.world.extra_sets import missing_sets, write_extra_sets
from wsss_bench.mini.world.grammar import Stream
from wsss_bench.mini.world.manifest import NAME, VERSION, read_manifest, write_manifest
from wsss_bench.mini.world.samples import Sample, make_sample
from wsss_bench.mini.world.sheet import SHEET_SIZE, write_sheet

MARKER = "mini.incomplete"  # exists while a world is being written
SIZES: dict[str, dict[Stream, int]] = {
    "full": {Stream.TRAIN: 1000, Stream.VAL: 300, Stream.VAL_OOD: 300, Stream.TEST: 50},
    "small": {Stream.TRAIN: 40, Stream.VAL: 16, Stream.VAL_OOD: 16, Stream.TEST: 4},
}
EMPTY_SHARE = 50  # COCO only: one image without annotation per so many, and at least one
PARTS = {Stream.TRAIN: "train2014", Stream.VAL: "val2014"}  # streams that COCO has too


class Job(NamedTuple):
    """One image to draw and write."""

    stream: Stream
    number: int
    coco_part: str | None = None
    coco_number: int = 0


class Written(NamedTuple):
    """What the lists and json files need to know of an image that is on disk."""

    captions: tuple[str, ...]
    coco_annotations: list[dict[str, Any]]
    coco_captions: list[dict[str, Any]]


def write_mini_world(root: Path, size: str = "full", seed: int = 0, processes: int | None = None) -> None:
    """Write the mini world, unless it is already there.

    Args:
        root: Folder of its own; made if absent. A world interrupted while being written is written again.
        size: `full` (1000 train, 300 val, 300 val_ood) or `small` (40, 16, 16).
        seed: Same seed, same bytes, whatever the number of processes.
        processes: Worker processes; None for one per core.

    Raises:
        ValueError: an unknown size, or a complete world of another size, seed or version under `root`.
        FileExistsError: `root` holds files that are not a mini world's.
    """
    if size not in SIZES:
        raise ValueError(f"size must be one of {', '.join(SIZES)}, got {size!r}")
    root = Path(root)
    if _is_complete(root, size, seed) and pair_layouts.are_written(root) and not missing_sets(root):
        return
    _refuse_foreign(root)
    root.mkdir(parents=True, exist_ok=True)
    with _claimed(root):
        processes = processes or os.cpu_count() or 1
        if not _is_complete(root, size, seed):  # or another process wrote it while this one waited
            _write(root, size, seed, processes)
        if not pair_layouts.are_written(root):
            pair_layouts.write_pairs(root)
        write_extra_sets(root, size, seed, processes, SIZES[size][Stream.TRAIN])


def image_id(stream: Stream, index: int) -> str:
    """VOC image id: `train_000007`, `val_ood_000012`."""
    return f"{stream.name.lower()}_{index:06d}"


def _write(root: Path, size: str, seed: int, processes: int) -> None:
    voc, coco = root / "voc", root / "coco"
    for folder in (voc, coco, root / pair_layouts.FOLDER):
        shutil.rmtree(folder, ignore_errors=True)
    for name in voc_layout.FOLDERS:
        (voc / name).mkdir(parents=True)
    for name in (*PARTS.values(), "annotations"):
        (coco / name).mkdir(parents=True)

    counts = SIZES[size]
    jobs = _jobs(counts)
    work = partial(_write_image, root, seed)
    if processes == 1:
        written = list(map(work, jobs))
    else:
        # a fresh interpreter per worker: forking a process that runs threads (torch) can hang
        with ProcessPoolExecutor(processes, mp_context=multiprocessing.get_context("spawn")) as pool:
            written = list(pool.map(work, jobs, chunksize=32))

    _write_voc_lists(voc, counts, jobs, written)
    _write_coco_json(coco, jobs, written)
    shown = [
        make_sample(seed, Stream.TRAIN, index) for index in range(min(counts[Stream.TRAIN], SHEET_SIZE // 2))
    ]
    shown += [
        make_sample(seed, Stream.VAL_OOD, index)
        for index in range(min(counts[Stream.VAL_OOD], SHEET_SIZE // 2))
    ]
    write_sheet(root / "sheet.png", shown)
    totals = {stream.name.lower(): count for stream, count in counts.items()}
    totals |= {f"coco_{part}": sum(job.coco_part == part for job in jobs) for part in PARTS.values()}
    write_manifest(root, size, seed, totals)


def _jobs(counts: dict[Stream, int]) -> list[Job]:
    jobs = []
    for stream, count in counts.items():
        part = PARTS.get(stream)
        jobs += [Job(stream, k, part, coco_layout.image_number(k) if part else 0) for k in range(count)]
    first = 0
    for stream, part in PARTS.items():
        empty = max(1, counts[stream] // EMPTY_SHARE)
        numbers = range(counts[stream], counts[stream] + empty)
        jobs += [
            Job(Stream.EMPTY, first + k, part, coco_layout.image_number(number))
            for k, number in enumerate(numbers)
        ]
        first += empty
    return jobs


def _write_image(root: Path, seed: int, job: Job) -> Written:
    sample = make_sample(seed, job.stream, job.number)
    if job.stream is not Stream.EMPTY:
        voc_layout.write_voc_image(
            root / "voc", image_id(job.stream, job.number), sample, annotated=job.stream is not Stream.TEST
        )
    return Written(sample.captions, *_write_coco_image(root / "coco", job, sample))


def _write_coco_image(
    coco: Path, job: Job, sample: Sample
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    if job.coco_part is None:
        return [], []
    name = coco_layout.file_name(job.coco_part, job.coco_number)
    (coco / job.coco_part / name).write_bytes(sample.jpeg())
    return coco_layout.instance_entries(sample, job.coco_number), coco_layout.caption_entries(
        sample, job.coco_number
    )


def _write_voc_lists(voc: Path, counts: dict[Stream, int], jobs: list[Job], written: list[Written]) -> None:
    for stream, count in counts.items():
        voc_layout.write_split(voc, stream.name.lower(), [image_id(stream, k) for k in range(count)])
    # VOC's `train_aug` adds SBD's masks to `train`; here every image has a mask already
    voc_layout.write_split(voc, "train_aug", [image_id(Stream.TRAIN, k) for k in range(counts[Stream.TRAIN])])
    sentences = {
        image_id(job.stream, job.number): item.captions
        for job, item in zip(jobs, written, strict=True)
        if job.stream not in (Stream.EMPTY, Stream.TEST)
    }
    (voc / "captions.json").write_text(json.dumps(sentences, indent=0) + "\n")


def _write_coco_json(coco: Path, jobs: list[Job], written: list[Written]) -> None:
    for part in PARTS.values():
        mine = [(job, item) for job, item in zip(jobs, written, strict=True) if job.coco_part == part]
        images = [coco_layout.image_entry(part, job.coco_number) for job, _ in mine]
        head = {
            "info": {"description": "wsss_bench mini world", "year": 2014},
            "licenses": [{"id": 1, "name": "MIT"}],
        }
        instances = {
            **head,
            "images": images,
            "annotations": [entry for _, item in mine for entry in item.coco_annotations],
            "categories": coco_layout.category_entries(),
        }
        captions = [entry for _, item in mine for entry in item.coco_captions]
        sentences = {**head, "images": images, "annotations": captions}
        (coco / "annotations" / f"instances_{part}.json").write_text(json.dumps(instances))
        (coco / "annotations" / f"captions_{part}.json").write_text(json.dumps(sentences))


def _is_complete(root: Path, size: str, seed: int) -> bool:
    manifest = read_manifest(root)
    if manifest is None:
        return False
    found = {key: manifest[key] for key in ("version", "size", "seed")}
    wanted = {"version": VERSION, "size": size, "seed": seed}
    if found != wanted:
        raise ValueError(
            f"{root} holds a mini world of {_spell(found)}, but {_spell(wanted)} was asked for; "
            "choose another --root, or delete that folder."
        )
    return True


def _spell(identity: dict[str, Any]) -> str:
    return ", ".join(f"{key} {value}" for key, value in identity.items())


def _refuse_foreign(root: Path) -> None:
    """Never delete what this program did not write: an empty folder or an interrupted world, nothing else."""
    if not root.exists() or (root / MARKER).exists() or (root / NAME).exists():
        return
    found = sorted(path.name for path in root.iterdir())
    if found:
        raise FileExistsError(
            f"{root} is not empty and not a mini world (it holds {', '.join(found[:5])}); "
            "the mini world wants a folder of its own: choose another --root."
        )


@contextmanager
def _claimed(root: Path) -> Iterator[None]:
    """Hold the marker file, locked, while writing: a second process waits, a kill leaves it unlocked."""
    with (root / MARKER).open("a") as marker:
        fcntl.flock(marker, fcntl.LOCK_EX)
        yield
        (root / MARKER).unlink(missing_ok=True)
