"""`wsss-bench export voc-test`: predictions of VOC's test images, as the evaluation server takes them.

The layout is that of the development kit of VOC 2012, section "Segmentation": one indexed PNG for each image
of `ImageSets/Segmentation/test.txt`, values 0..20, in a tar file.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import track

from wsss_bench.artifacts.files import encoded_mask, file_names
from wsss_bench.artifacts.layout import require_files
from wsss_bench.data.sources.base import Source
from wsss_bench.exchange.archives import COMPRESSED, is_tar, write_tar
from wsss_bench.exchange.checked_masks import one_folder, read_fitting_mask
from wsss_bench.types import IGNORE
from wsss_bench.vocabulary import load

SPLIT, COUNT = "test", 1456
COMPETITIONS = ("comp5", "comp6")
"""Trained on the segmentation data of VOC 2012 alone; or on any other data, too."""


def export_voc_test(
    source: Source, masks: Path, out: Path, competition: str = "comp5", readout: str | None = None
) -> int:
    """Write the tar file for the server.

    Args:
        source: VOC with its test images, whose sizes are compared.
        masks: Predict stage, or folder of `<image id>.png`.
        out: `.tar`, `.tar.gz` or `.tgz`.
        competition: `comp5` or `comp6`.
        readout: Folder of a predict stage with several, such as `ms-crf`.

    Returns:
        The number of masks.

    Raises:
        FileNotFoundError: the list of the split, images or masks are missing.
        ValueError: another data set or number of images, or a mask of another size or with other values.
    """
    if not is_tar(out):
        raise ValueError(
            f"--out {out} does not end with {' or '.join(('.tar', *COMPRESSED))}; name such a file"
        )
    if tuple(source.class_names) != load("voc") or not source.has_background:
        raise ValueError(
            "the server scores background and the 20 classes of VOC in their order, the data set has "
            f"{'others' if source.has_background else 'no background'}: give --data voc"
        )
    ids = source.ids(SPLIT)
    if len(ids) != COUNT:
        raise ValueError(
            f"split {SPLIT!r} has {len(ids)} images, that of VOC 2012 has {COUNT}; restore the published "
            f"list ImageSets/Segmentation/{SPLIT}.txt"
        )
    folder = one_folder(masks, readout)
    names = file_names(folder)
    require_files([image_id for image_id in ids if f"{image_id}.png" not in names], "mask", folder, SPLIT)
    write_tar(out, _members(source, ids, folder, f"results/VOC2012/Segmentation/{competition}_{SPLIT}_cls"))
    return len(ids)


def _members(source: Source, ids: Sequence[str], folder: Path, place: str) -> Iterator[tuple[str, bytes]]:
    for image_id in track(ids, "checking and packing", console=Console(stderr=True)):
        mask = read_fitting_mask(folder, image_id, source)
        if (mask == IGNORE).any():
            raise ValueError(
                f"mask {folder / image_id}.png holds {IGNORE} (ignored), which the server does not take; "
                "predict a class or background (0) for every pixel"
            )
        yield f"{place}/{image_id}.png", encoded_mask(mask)
