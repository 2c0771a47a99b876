"""From archives to the layout of a data set: what would be written is listed first, then written."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np

from wsss_bench.data.prepare.context_json import ContextJson
from wsss_bench.data.prepare.layouts import Rule
from wsss_bench.data.prepare.members import Content, Member, Members, TarMembers, ZipMembers, leads_out
from wsss_bench.data.prepare.official import Archive
from wsss_bench.data.prepare.writing import store
from wsss_bench.data.progress import Progress

MASK_BYTES = 10_000
"""What a mask of VOC's size takes, about; the size of one that is made is not known before."""
WRITERS = 8
"""Threads that write: a disk confirms several files in the time of one."""
LEFTOVER = re.compile(r"\.[0-9a-f]{16}\.tmp")
"""Names of files that a killed run was writing (`write_atomically`)."""


class Step(NamedTuple):
    """One file that is written."""

    archive: Archive
    member: str
    place: str  # below the folder of the data set
    size: int | None  # bytes; None for a mask that is made
    convert: Callable[[bytes], np.ndarray] | None

    @property
    def bytes(self) -> int:
        """Its size, or what such a file takes."""
        return MASK_BYTES if self.size is None else self.size


class Plan(NamedTuple):
    """What is written, and where from."""

    folder: Path
    opened: dict[Archive, Members]
    steps: list[Step]

    def counts(self) -> Counter[str]:
        """Number of files of each folder."""
        return Counter(step.place.rpartition("/")[0] for step in self.steps)


def make_plan(rules: Iterable[Rule], paths: dict[Archive, Path], folder: Path) -> Plan:
    """List the archives and say where their members go.

    Members that no rule names stay in the archive. A member whose name is absolute or leads out of the folder
    makes the whole archive suspect, since no official one has any: it is refused. So is an archive with a
    link or a device where a rule expects a file; links elsewhere are left out like everything else.

    Args:
        rules: Those of the data set; the ones for other archives than `paths` are passed over.
        paths: Where the archives are.
        folder: Folder of the data set.

    Raises:
        ValueError: a broken or unsafe archive, or one without the members that a rule is for.
    """
    opened = {archive: _open(path) for archive, path in paths.items()}
    listed = {archive: _safe_members(members) for archive, members in opened.items()}
    steps: dict[str, Step] = {}
    for rule in rules:
        if rule.archive not in paths or (rule.beside and rule.beside not in paths):
            continue
        path, places = paths[rule.archive], set[str]()
        for member in listed[rule.archive]:
            place = rule.place(member.name)
            if place is None:
                continue
            if not member.is_file or place in places:
                what = "is there twice" if place in places else "is a link, a device or encrypted"
                raise ValueError(
                    f"{path}: member {member.name!r} {what}; the official archive has one file of this name, "
                    "so nothing is taken from this one. Download it again"
                )
            places.add(place)
            size = None if rule.convert else member.size
            steps.setdefault(place, Step(rule.archive, member.name, place, size, rule.convert))
        if not places:
            raise ValueError(
                f"{path} has no member {rule.members}, {_what_it_has(listed[rule.archive])}; it is of "
                "another year or another data set, or truncated. Download it again"
            )
    return Plan(folder, opened, list(steps.values()))


def unpack(plan: Plan, progress: Progress) -> None:
    """Write all files of a plan; those that are there already and equal are kept.

    Raises:
        OtherContent: a file is there with other content.
        ValueError: a broken archive, or a member that is not what it should be.
    """
    for name in plan.counts():
        for leftover in (plan.folder / name).glob(".*.tmp"):
            if LEFTOVER.fullmatch(leftover.name):
                leftover.unlink()
    for archive, members in plan.opened.items():
        steps: dict[str, list[Step]] = {}
        for step in plan.steps:
            if step.archive == archive:
                steps.setdefault(step.member, []).append(step)
        _unpack_one(members, steps, plan.folder, progress)


def _unpack_one(members: Members, steps: dict[str, list[Step]], folder: Path, progress: Progress) -> None:
    def write(found: tuple[str, Content]) -> int:
        name, content = found
        for step in steps[name]:
            store(folder / step.place, _converted(content, step, members.path))
        return sum(step.bytes for step in steps[name])

    read = members.read(steps)
    with ThreadPoolExecutor(WRITERS) as pool:
        while batch := list(islice(read, 4 * WRITERS)):  # no more than these are in memory
            for size in pool.map(write, batch):
                progress.advance(size)


def _open(path: Path) -> Members:
    if path.suffix == ".zip":
        return ZipMembers(path)
    return ContextJson(path) if path.suffix == ".json" else TarMembers(path)


def _safe_members(members: Members) -> list[Member]:
    listed = members.members()
    for member in listed:
        if leads_out(member.name):
            raise ValueError(
                f"{members.path}: member {member.name!r} leads out of the folder that it is unpacked in; no "
                "official archive has such members, so nothing is taken from this one. Download it again"
            )
    return listed


def _what_it_has(members: list[Member]) -> str:
    return f"but {members[0].name!r} and {len(members) - 1} others" if members else "nor any other"


def _converted(content: Content, step: Step, path: Path) -> Content:
    if step.convert is None or not isinstance(content, bytes):
        return content
    try:
        return step.convert(content)
    except ValueError as error:
        raise ValueError(f"{path}: {step.member}: {error}; download the archive again") from error
