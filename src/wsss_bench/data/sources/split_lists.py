"""Lists of images: the text files of VOC's `ImageSets`, in the forms that are in circulation.

| line | meaning |
|---|---|
| `2007_000032` | an image id |
| `a/b/img` | an id with folders |
| `2007_000032.jpg`, `JPEGImages/2007_000032.jpg` | the same with suffix, with the folder of the images |
| `/JPEGImages/2007_000032.jpg /SegmentationClassAug/2007_000032.png` | image and mask (SEAM and others) |
| `2007_000032  1`, `... 0`, `... -1` | of a class (`ImageSets/Main`): it is there, difficult, absent |
| `# text`, `2007_000032  # text` | a comment |

The mask of the second column must be that of the image; its folder is not read, since `masks` of the source
names it. Of the list of a class the images with `1` and `0` form the split, because objects marked difficult
are labels too. A line that is the name of an image as it stands is always that image, blanks included.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection
from pathlib import Path, PurePosixPath

from wsss_bench.data.sources.text_files import read_text

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png")
_COMMENT = re.compile(r"(^|\s)#.*")
_FLAGS = ("1", "0", "-1")


def read_image_list(path: Path, known: Collection[str], folder: str) -> list[str]:
    """Image ids of a list, in its order.

    Args:
        path: The list, UTF-8 with or without a byte order mark, any line ends.
        known: Ids of the images on disk.
        folder: Name of the folder of the images, which may stand before an id.

    Raises:
        ValueError: a line of another form, an image that is not on disk, or one that is listed twice.
    """
    lines: dict[str, int] = {}
    absent: list[tuple[str, int]] = []
    twice: list[tuple[str, int, int]] = []
    forms: Counter[bool] = Counter()
    total = 0
    for number, text in enumerate(read_text(path).split("\n"), start=1):
        where = f"{path}, line {number}"
        line = text.strip()
        if line not in known:
            line = _COMMENT.sub("", line).strip()
        if not line:
            continue
        image_id, flag = (line, None) if line in known else _parse(line, known, folder, where)
        forms[flag is None] += 1
        if len(forms) > 1:
            raise ValueError(
                f"{where}: {line!r} has {'no flag' if flag is None else 'a flag'} (1, 0 or -1), unlike the "
                "lines before; the list of a class has one in every line"
            )
        if flag == "-1":
            continue
        total += 1
        if image_id not in known:
            absent.append((image_id, number))
        if image_id in lines:
            twice.append((image_id, lines[image_id], number))
        lines.setdefault(image_id, number)
    if absent:
        raise ValueError(
            f"{path} lists {len(absent)} of {total} images that are not in {folder}/, first {absent[0][0]!r} "
            f"(line {absent[0][1]}); a line is an id without suffix, and images are <id>.jpg. Complete the "
            "images or correct the list"
        )
    if twice:
        image_id, first, second = twice[0]
        raise ValueError(
            f"{path} lists {image_id} more than once (lines {first} and {second}; {len(twice)} such images "
            "in all); keep one of each"
        )
    return list(lines)


def _parse(line: str, known: Collection[str], folder: str, where: str) -> tuple[str, str | None]:
    """The image id of a line, and the flag of a class list."""
    first, *others = line.split()
    if not others or (image_id := _image_id(line, folder)) in known:
        return (_image_id(line, folder), None)
    image_id = _image_id(first, folder)
    if len(others) == 1 and others[0] in _FLAGS and image_id == first:  # with a suffix it is another list
        return image_id, others[0]
    if len(others) == 1 and PurePosixPath(others[0]).suffix.lower() == ".png":
        mask = PurePosixPath(others[0]).stem
        if mask != PurePosixPath(image_id).name:
            raise ValueError(f"{where}: image {image_id!r} has the mask {others[0]!r} of another image")
        return image_id, None
    raise ValueError(
        f"{where}: {line!r} is no id; expected an image id, optionally followed by 1, 0 or -1 (list of a "
        "class) or by the path of its mask"
    )


def _image_id(text: str, folder: str) -> str:
    """`/JPEGImages/a/b.jpg`, `a/b.jpg` -> `a/b`."""
    name = text.removeprefix("./").lstrip("/").removeprefix(f"{folder}/")
    suffix = PurePosixPath(name).suffix
    return name.removesuffix(suffix) if suffix.lower() in IMAGE_SUFFIXES else name
