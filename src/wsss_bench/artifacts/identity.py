"""What a stage is: the configuration, the data and the inputs that decide its result.

A planned stage has a fingerprint, made before anything runs. Every stage, planned or not, writes its identity
into its folder before its first result. A later run with the same folder must have the same identity:
otherwise it would mix its files with those of another stage.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from wsss_bench.artifacts.files import sha256_of, write_json
from wsss_bench.artifacts.layout import (
    IDENTITY_FILE,
    INPUTS,
    LAST,
    LIGHTNING,
    MANIFEST,
    MASKS,
    READ,
    WANDB,
    find_json,
)
from wsss_bench.artifacts.metrics import CONFUSIONS, METRICS, PANELS
from wsss_bench.artifacts.shards import record_sizes
from wsss_bench.artifacts.stage_files import check_file

PLACES = ("out", "stage", *INPUTS)
"""Keys that hold paths of stage folders, or facts about the stage. They are not part of the fingerprint."""
MAY_DIFFER = (
    "accelerator",
    "bench",
    "checkpoint_minutes",
    "config",
    "data.num_workers",
    "inference.batch_size",
    "out",
    "protocol",
    "stage",
    "trainer.accelerator",
    "trainer.default_root_dir",
    "trainer.devices",
    "trainer.enable_model_summary",
    "trainer.enable_progress_bar",
    "trainer.log_every_n_steps",
    "trainer.logger",
    "trainer.num_nodes",
    "trainer.strategy",
    "workers",
)
"""Keys that say where and on what a stage runs, or what it prints. They do not decide its result: batches and
random draws do not depend on the number of ranks or processes."""
UNDECIDING = {"trainer": "logger", "inference": "batch_size"}
"""Keys of a plan that are not part of the fingerprint either, by the part that holds them."""
NO_RESULTS = (LIGHTNING, WANDB)
"""Folders of a stage without results."""
SCORES = (METRICS, CONFUSIONS, PANELS)
"""The results that stand in the folder itself; all others are in folders below it."""

Identity = dict[str, Any]
"""`config` without the keys of `MAY_DIFFER`, `data`: digests of what was read, `inputs`: of other stages."""


def fingerprint_of(
    kind: str, config: Mapping[str, Any], inputs: Mapping[str, str], data: Mapping[str, str] | None = None
) -> str:
    """sha256 of everything that decides the result of a stage. The order of keys does not matter.

    Args:
        kind: Kind of the stage.
        config: Content of its `plan.yaml`.
        inputs: Fingerprints of the stages that it reads, by role.
        data: Digests of the data that it reads, where they are known.
    """
    content = {
        "kind": kind,
        "config": {key: _decisive(key, value) for key, value in config.items() if key not in PLACES},
        "inputs": inputs,
        **({"data": data} if data else {}),
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def _decisive(key: str, value: Any) -> Any:
    """A part of a configuration without what a method may name and be the same stage."""
    if key not in UNDECIDING or not isinstance(value, Mapping):
        return value
    return {name: argument for name, argument in value.items() if name != UNDECIDING[key]}


def differences(one: Any, other: Any, strictly: Collection[str] = ()) -> dict[str, tuple[Any, Any]]:
    """The keys, joined by dots, whose values differ in two nested mappings, with both values.

    A key that one of them lacks has the value `absent` there. Keys of `MAY_DIFFER` are left out, those of
    `strictly` are not.

    Examples:
        >>> differences({"model": {"width": 8}, "split": "train"}, {"model": {"width": 16}, "crf": 10})
        {'crf': ('absent', 10), 'model.width': (8, 16), 'split': ('train', 'absent')}
    """
    first, second = dict(_flat(one)), dict(_flat(other))
    return {
        key: (first.get(key, "absent"), second.get(key, "absent"))
        for key in sorted(first.keys() | second.keys())
        if first.get(key, "absent") != second.get(key, "absent") and (key in strictly or not _may_differ(key))
    }


def describe(differing: Mapping[str, tuple[Any, Any]], one: str, other: str) -> str:
    """The keys that differ in words, at most eight of them, for an error message.

    Args:
        differing: Result of `differences`.
        one: Where the first values come from, for instance `planned`.
        other: Where the second ones come from.
    """
    shown = [f"{key} ({one}: {a!r}, {other}: {b!r})" for key, (a, b) in list(differing.items())[:8]]
    return "; ".join(shown + ([f"and {len(differing) - 8} more"] if len(differing) > 8 else []))


def identity_of(config: Mapping[str, Any], data: Mapping[str, str]) -> Identity:
    """The identity of a stage that is about to run. It is equal to itself as read back from a file.

    Args:
        config: The resolved configuration, in JSON types.
        data: Digests of the data that it reads.
    """
    decisive = {key: value for key, value in _flat(config) if not _may_differ(key) and key not in INPUTS}
    places = {role: config.get(role) for role in INPUTS} | {"data.masks": decisive.get("data.masks")}
    inputs = {role: input_digest(Path(place), role) for role, place in places.items() if place}
    found: Identity = json.loads(json.dumps({"config": decisive, "data": dict(data), "inputs": inputs}))
    return found


def input_digest(stage: Path, role: str) -> str:
    """Digest of the files that are read of another stage, or of a bare folder of seeds or masks.

    A checkpoint counts by its content; seeds, masks and probabilities count by the names and sizes of their
    files, or of their records in shards, since there can be a hundred thousand.

    Args:
        stage: The stage or folder.
        role: The key that names it.
    """
    if (stage / LAST).is_file():
        check_file(stage, LAST)  # else damage would look like another training
        return sha256_of(stage / LAST)
    named = stage / READ.get(role, MASKS)
    folder = named if named.is_dir() else stage
    files = sorted(path for path in folder.rglob("*") if path.suffix in (".npz", ".png"))
    listing = [(path.relative_to(folder).as_posix(), path.stat().st_size) for path in files]
    listing += record_sizes(folder)
    return hashlib.sha256(json.dumps(listing).encode()).hexdigest()


def claim(out: Path, identity: Identity) -> None:
    """Write the identity of a stage into its folder, before its first result.

    Raises:
        ValueError: the folder has results of another stage; the message names what differs.
    """
    path = out / IDENTITY_FILE
    recorded = find_json(path)
    if recorded == identity:
        return
    if has_results(out):
        what = (
            f"has results of another stage: {describe_stages(recorded, identity, 'there', 'now')}"
            if recorded
            else f"has results, and no readable {IDENTITY_FILE} that says of which stage"
        )
        raise ValueError(
            f"{out} {what}. "
            "Name another folder with --out, delete this one, or give its name to `wsss-bench bench ... "
            "--again`; only workers, devices and what is printed may differ"
        )
    write_json(path, identity)


def describe_stages(one: Identity, other: Identity, first: str, second: str) -> str:
    """What differs in two identities, in words."""
    config = differences(one["config"], other["config"])
    parts = [describe(config, first, second)] if config else []
    for kind, text in (("data", "the data of {} changed"), ("inputs", "the files of {} are other ones")):
        names = sorted(one[kind].keys() | other[kind].keys())
        changed = [name for name in names if one[kind].get(name) != other[kind].get(name)]
        parts += [text.format(", ".join(changed))] if changed else []
    return "; ".join(parts)


def has_results(out: Path) -> bool:
    """Whether a stage folder holds a result, complete or not: a checkpoint, seed, mask, score or manifest.

    Other files, such as those that a cluster leaves there, are not read by any stage.
    """
    if any((out / name).is_file() for name in (MANIFEST, *SCORES)):
        return True
    folders = [path for path in out.iterdir() if path.is_dir() and path.name not in NO_RESULTS]
    return any(
        path.is_file() and not path.name.startswith(".") for folder in folders for path in folder.rglob("*")
    )


def _may_differ(key: str) -> bool:
    return any(key == known or key.startswith(f"{known}.") for known in MAY_DIFFER)


def _flat(content: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The values of nested mappings, by their keys joined by dots."""
    if isinstance(content, Mapping) and content:
        for key, value in content.items():
            yield from _flat(value, f"{prefix}.{key}" if prefix else str(key))
    else:
        yield prefix, content
