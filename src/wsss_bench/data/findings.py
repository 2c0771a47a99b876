"""What a check of a data set found, as a report for people and as JSON."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

SHOWN = 5
"""Sentences of one kind that are printed; JSON has all."""


@dataclass
class Findings:
    """Result of a check.

    Attributes:
        by_part: What has to be corrected, one sentence each: of the `lists` (splits and their counts), of
            `images`, `labels`, `masks`, and of `classes` (what labels and masks show of them).
        full_supervision: What is wrong with the masks that nothing but full supervision reads, those of
            training images that are not scored.
        counts: Number of images of each split.
        histogram: `(C,)` number of images with each class, of each split, by their labels; by their masks for
            a data set that is only scored on.
        unlabelled: Number of images without any label, of each split.
        turned: Images that are turned by the EXIF orientation in their header.
        disagree: Images of scored splits whose mask has a class that their labels do not have. VOC has none;
            own annotation that was made in two passes often has some. The benchmark accepts them, but they
            are noise in the supervision.
        left_out: Entries of image-text data that are not a pair, and why. Web data always have some. Of COCO:
            categories outside the vocabulary and objects without pixels.
    """

    by_part: dict[str, list[str]] = field(default_factory=dict)
    full_supervision: list[str] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    histogram: dict[str, np.ndarray] = field(default_factory=dict)
    unlabelled: dict[str, int] = field(default_factory=dict)
    turned: list[str] = field(default_factory=list)
    disagree: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)

    def add(self, part: str, *sentences: str) -> None:
        """Add what has to be corrected."""
        if sentences:
            self.by_part.setdefault(part, []).extend(sentences)

    @property
    def problems(self) -> list[str]:
        """All that has to be corrected, one sentence each."""
        return [sentence for sentences in self.by_part.values() for sentence in sentences]


def as_json(findings: Findings, class_names: tuple[str, ...]) -> dict[str, Any]:
    """The findings in JSON types; histograms by the names of the classes."""
    return {
        "sound": not findings.problems,
        "problems": findings.by_part,
        "full_supervision": findings.full_supervision,
        "counts": findings.counts,
        "classes": {
            split: dict(zip(class_names, map(int, row), strict=True))
            for split, row in findings.histogram.items()
        },
        "unlabelled": findings.unlabelled,
        "turned": findings.turned,
        "disagree": findings.disagree,
        "left_out": findings.left_out,
    }


def print_findings(findings: Findings, class_names: tuple[str, ...]) -> None:
    """Print counts and class histogram as a table, notes, then the problems."""
    table = Table("images with", *findings.counts)
    table.add_row("anything", *(str(count) for count in findings.counts.values()))
    for c, name in enumerate(class_names):
        table.add_row(name, *(str(row[c]) for row in findings.histogram.values()))
    if findings.unlabelled:
        table.add_row("no label", *(str(count) for count in findings.unlabelled.values()))
    console = Console(emoji=False)
    console.print(table)
    for line in _lines(findings, bool(class_names)):
        console.print(line, highlight=False, markup=False, soft_wrap=True)


def _lines(findings: Findings, has_classes: bool) -> Iterator[str]:
    """Notes, then the problems of each part."""
    if findings.turned:
        one = len(findings.turned) == 1
        yield (
            f"{'1 image is' if one else f'{len(findings.turned)} images are'} turned by the orientation in "
            f"{'its' if one else 'their'} header (EXIF), {_some(findings.turned)}; masks have to show the "
            "upright image"
        )
    if findings.disagree:
        yield (
            f"{len(findings.disagree)} masks show a class that the image's label lacks: "
            f"{_some(findings.disagree)}"
        )
    if findings.left_out:
        what = "are not used as they stand" if has_classes else "are no pair of an image and a text"
        yield from _listed(f"{len(findings.left_out)} entries of the data {what}", findings.left_out)
    if findings.full_supervision:
        yield from _listed(
            f"masks that only full supervision needs: {len(findings.full_supervision)} problems (all other "
            "methods run without these masks)",
            findings.full_supervision,
            shown=1,
        )
    for part, sentences in findings.by_part.items():
        number = f"{len(sentences)} problem{'s' if len(sentences) > 1 else ''}"
        yield from _listed(f"{part}: {number}", sentences)
    total = len(findings.problems)
    yield "no problems" if not total else f"{total} problem{'s' if total > 1 else ''} in all"


def _listed(heading: str, sentences: list[str], shown: int = SHOWN) -> Iterator[str]:
    first = f"; the first {shown}, --json FILE writes all" if len(sentences) > shown else ""
    yield f"{heading}{first}:"
    yield from (f"- {sentence}" for sentence in sentences[:shown])


def _some(image_ids: list[str]) -> str:
    return ", ".join(image_ids[:SHOWN]) + (", ..." if len(image_ids) > SHOWN else "")
