"""Leave out what is too small to be told from noise."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from rustvid.outlines import enclosed, outlines


def without_specks(mask: NDArray[np.uint8], least: float) -> NDArray[np.uint8]:
    """A mask (h, w) uint8 0 or 1 without the regions (8-neighbours) whose outline encloses less
    than `least` pixels, its own included."""
    if least <= 1 or not mask.any():
        return mask
    specks = [line for line, _ in outlines(mask).values() if enclosed(line) < least]
    return np.asarray(cv2.drawContours(mask.copy(), specks, -1, 0, cv2.FILLED))
