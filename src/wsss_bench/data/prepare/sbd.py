"""Masks of SBD: `GTcls.Segmentation` of a MATLAB file."""

from __future__ import annotations

import io
import zlib

import numpy as np

CLASSES = 20


def sbd_mask(content: bytes) -> np.ndarray:
    """`(H, W)` uint8 mask in {0..20} of the content of `cls/<id>.mat`; SBD has no ignored pixels.

    Raises:
        ValueError: no such file, or other values.
    """
    from scipy.io import loadmat  # half a second, which no other command needs
    from scipy.io.matlab import MatReadError

    try:
        found = loadmat(io.BytesIO(content), variable_names=["GTcls"], struct_as_record=False)
        mask = np.asarray(found["GTcls"].item().Segmentation)
    except (KeyError, AttributeError) as error:
        raise ValueError("it has no GTcls.Segmentation; expected a file of the folder cls of SBD") from error
    except (MatReadError, ValueError, TypeError, NotImplementedError, OSError, zlib.error) as error:
        raise ValueError(f"it cannot be read as a MATLAB file ({error})") from error
    whole_numbers = mask.ndim == 2 and mask.size > 0 and mask.dtype.kind in "ui"
    if not whole_numbers or mask.min() < 0 or mask.max() > CLASSES:
        values = f" from {mask.min()} to {mask.max()}" if whole_numbers else ""
        raise ValueError(
            f"GTcls.Segmentation is {mask.shape} {mask.dtype}{values}; expected (height, width) and whole "
            f"numbers from 0 to {CLASSES}"
        )
    return mask.astype(np.uint8)
