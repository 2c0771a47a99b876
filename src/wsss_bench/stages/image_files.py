"""The files that a stage writes for each image: which of them are there and whole."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from wsss_bench.artifacts.files import is_whole, mask_path, read_mask
from wsss_bench.artifacts.layout import shortened
from wsss_bench.artifacts.probabilities import probability_ids, read_probabilities
from wsss_bench.artifacts.seeds import read_seed, seed_ids


@dataclass(frozen=True)
class ImageFiles:
    """The files of an image.

    Args:
        masks: Folders that each have a mask of it.
        seeds: Folder that has its seed; None for stages that make none.
        probabilities: Folder that has the probabilities of the read-outs `for_crf`.
        for_crf: Names of these read-outs; none: no probabilities are written.
    """

    masks: Sequence[Path] = ()
    seeds: Path | None = None
    probabilities: Path = Path()
    for_crf: Sequence[str] = ()

    def is_done(self, image_id: str) -> bool:
        """Whether all files of an image exist and can be read."""
        try:
            for folder in self.masks:
                read_mask(mask_path(folder, image_id))
            if self.seeds is not None:
                read_seed(self.seeds, image_id)
            if self.for_crf:
                read_probabilities(self.probabilities, image_id, self.for_crf)
        except (FileNotFoundError, ValueError):
            return False
        return True

    def require_all(self, ids: Sequence[str]) -> None:
        """Check that all files of all images are there and whole, without decoding them.

        Raises:
            ValueError: some are not; the message has their number and up to five of them.
        """
        masks = [mask_path(folder, image_id) for image_id in ids for folder in self.masks]
        lacking = {"masks": [str(path) for path in masks if not is_whole(path)]}
        if self.seeds is not None:
            present = seed_ids(self.seeds)
            lacking["seeds"] = [image_id for image_id in ids if image_id not in present]
        if self.for_crf:
            present = probability_ids(self.probabilities)
            lacking["probabilities"] = [image_id for image_id in ids if image_id not in present]
        for kind, names in lacking.items():
            if names:
                raise ValueError(
                    f"{len(names)} {kind} of this stage are missing or cut off: {shortened(names)}; run the "
                    "same command again (without limit_predict_batches), which computes only these"
                )
