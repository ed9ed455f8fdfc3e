"""From a working mask to the mask at the size of the source, and its area."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from rustvid.frames import Area, Measured, Refined, Trust
from rustvid.outlines import outlines, size


def measure(refined: Refined, trust: Trust | None = None) -> Measured:
    """Enlarge the mask to the source's own pixels and measure it there; the area is a share of the
    frame's window, where black lies around it."""
    shape, window = refined.frame.picture.upright_shape, refined.frame.window
    if window is None:
        mask = enlarged(refined.working_mask, shape)
        return Measured(refined, mask, area_of(mask), trust)
    own = enlarged(refined.working_mask, (window.height, window.width))
    mask = np.zeros(shape, np.uint8)
    window.of(mask)[:] = own
    return Measured(refined, mask, area_of(own), trust)


def enlarged(mask: NDArray[np.uint8], shape: tuple[int, int]) -> NDArray[np.uint8]:
    """(s, s) uint8 0 or 1 → (h, w), without stairs: softened, linear between, cut at one half."""
    height, width = shape
    if not mask.any():
        return np.zeros(shape, np.uint8)
    smooth = mask * np.uint8(255)
    if min(shape) > max(mask.shape):
        _soften(smooth)
    smooth = cv2.resize(smooth, (width, height)).astype(np.uint8, copy=False)
    cv2.threshold(smooth, 127, 1, cv2.THRESH_BINARY, dst=smooth)
    return smooth


def _soften(mask: NDArray[np.uint8]) -> None:
    """Blur a mask in its place; where nothing is marked nearby, there is nothing to do."""
    left, top, width, height = cv2.boundingRect(mask)
    reach = 3  # pixels, more than the blur's
    part = mask[
        max(top - reach, 0) : top + height + reach, max(left - reach, 0) : left + width + reach
    ]
    part[:] = cv2.GaussianBlur(part, (0, 0), 0.7)


def area_of(mask: NDArray[np.uint8]) -> Area:
    """Area and connected regions of a mask (h, w) uint8 0 or 1."""
    pixels = cv2.countNonZero(mask)
    if pixels == 0:
        return Area(0, 0.0, 0, 0)
    regions = outlines(mask)
    largest = max(size(line, holes) for line, holes in regions.values())
    return Area(pixels, pixels / mask.size, len(regions), largest)
