"""The pictures of the page: small enough together, as files and as what the page says about them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from wsss_bench.data.sources.base import Source
from wsss_bench.report.html.gallery import SEED, Gallery
from wsss_bench.report.html.sheets import ImageSheets, class_colour, file_name, sheets_of
from wsss_bench.report.html.thumbnails import Thumbnails, read_thumbnails
from wsss_bench.types import IGNORE

LONGEST = 256
"""Longest side of a picture, in pixels; no picture is enlarged."""
SHORTEST = 48
PIXELS = 100e6
"""Pixels of all pictures together, as squares."""
BYTES = 12e6
"""Of all files together; pictures are made smaller until they fit."""
SHRINK, MOST_SHRINKS = 0.75, 8

Pictures = dict[str, list[Thumbnails]]
"""Thumbnails of each gallery, by its title."""


def read_pictures(
    galleries: Sequence[Gallery], load: Callable[[dict[str, Any]], Source]
) -> tuple[Pictures, dict[str, tuple[str, ...]], dict[str, str]]:
    """Read what galleries show.

    Args:
        galleries: The galleries.
        load: Builds a source from class and arguments.

    Returns:
        The pictures, the foreground classes of each gallery, and what could not be read of it; all by title.
    """
    side = _side(galleries)
    pictures: Pictures = {}
    names: dict[str, tuple[str, ...]] = {}
    problems: dict[str, str] = {}
    for gallery in galleries:
        try:
            source = load(gallery.source)
        except Exception as error:  # of the source's own code, too
            pictures[gallery.title], problems[gallery.title] = [], f"{type(error).__name__}: {error}"
            continue
        names[gallery.title] = tuple(source.class_names)
        pictures[gallery.title], problem = read_thumbnails(gallery, source, side)
        if problem:
            problems[gallery.title] = problem
    return pictures, names, problems


def _side(galleries: Sequence[Gallery]) -> int:
    """Longest side of the pictures, so that they fit together."""
    number = sum(len(one.chosen) * (2 + 3 * len(one.results)) for one in galleries)
    return max(SHORTEST, min(LONGEST, math.isqrt(int(PIXELS / max(1, number)))))


def render_pictures(
    galleries: Sequence[Gallery],
    pictures: Pictures,
    names: Mapping[str, Sequence[str]],
    problems: Mapping[str, str],
) -> tuple[list[dict[str, Any]], dict[str, bytes]]:
    """What the page says about the pictures, in JSON types, and their files by name."""
    for _ in range(MOST_SHRINKS):
        shown, files = _encoded(galleries, pictures, names, problems)
        if sum(map(len, files.values())) <= BYTES:
            break
        pictures = {title: [image.smaller(SHRINK) for image in images] for title, images in pictures.items()}
    return shown, files


def _encoded(
    galleries: Sequence[Gallery],
    pictures: Pictures,
    names: Mapping[str, Sequence[str]],
    problems: Mapping[str, str],
) -> tuple[list[dict[str, Any]], dict[str, bytes]]:
    files: dict[str, bytes] = {}
    shown = [
        {
            "title": gallery.title,
            "columns": gallery.columns,
            "methods": [
                {"name": method, "hasMaps": (method, SEED) in gallery.results} for method in gallery.methods
            ],
            "images": [
                _image(gallery, sheets_of(image), names[gallery.title], files)
                for image in pictures[gallery.title]
            ],
            "problem": problems.get(gallery.title, ""),
        }
        for gallery in galleries
    ]
    return shown, files


def _image(
    gallery: Gallery, sheets: ImageSheets, class_names: Sequence[str], files: dict[str, bytes]
) -> dict[str, Any]:
    image = sheets.thumbnails
    names = dict(enumerate(("background", *class_names)))
    height, width = image.size
    described = {}
    for name, sheet in (("photos", sheets.photos), ("masks", sheets.masks)):
        content = sheet.encode()
        files[file_name(content)] = content
        described[name] = {
            "file": file_name(content),
            "columns": sheet.columns,
            "rows": -(-len(sheet.pictures) // sheet.columns),
        }
    values = np.unique(np.stack([image.truth, *image.masks.values()])).tolist()
    return {
        "id": image.chosen.image_id,
        "rule": image.chosen.rule,
        "reason": image.chosen.reason,
        "width": width,
        "height": height,
        "shownClass": names.get(image.shown_class or 0, "") if image.shown_class else "",
        "classes": [
            [names.get(value, str(value)), class_colour(value)] for value in values if value != IGNORE
        ],
        **described,
        "cells": [
            [_cell(gallery, sheets, method, column) for column in gallery.columns]
            for method in gallery.methods
        ],
        "maps": [sheets.maps.get(method) for method in gallery.methods],
    }


def _cell(gallery: Gallery, sheets: ImageSheets, method: str, column: str) -> dict[str, Any]:
    place = (method, column)
    if place not in sheets.positions:
        return {"why": sheets.thumbnails.missing.get(place) or gallery.missing.get(place, "")}
    mask, errors = sheets.positions[place]
    score = gallery.results[place].scores.get(sheets.thumbnails.chosen.image_id)
    return {"mask": mask, "errors": errors, "miou": None if score is None else round(100 * score, 1)}
