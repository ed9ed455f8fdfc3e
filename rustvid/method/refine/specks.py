"""Leave out what is too small to be told from noise."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray


def without_specks(mask: NDArray[np.uint8], least: float) -> NDArray[np.uint8]:
    """A mask (h, w) uint8 0 or 1 without its regions (8-neighbours) of less than `least` pixels."""
    if least <= 1 or not mask.any():
        return mask
    _, labels, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
    kept = (stats[:, cv2.CC_STAT_AREA] >= least).astype(np.uint8)
    kept[0] = 0  # what is not marked
    return np.asarray(kept[labels])
