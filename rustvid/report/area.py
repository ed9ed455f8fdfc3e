"""From a working mask to the mask at the size of the source, and its area."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from rustvid.frames import Area, Measured, Refined, Trust


def measure(refined: Refined, trust: Trust | None = None) -> Measured:
    """Enlarge the mask to the source's own pixels and measure it there."""
    mask = enlarged(refined.working_mask, refined.frame.picture.upright_shape)
    return Measured(refined, mask, area_of(mask), trust)


def enlarged(mask: NDArray[np.uint8], shape: tuple[int, int]) -> NDArray[np.uint8]:
    """(s, s) uint8 0 or 1 → (h, w), without stairs: softened, linear between, cut at one half."""
    height, width = shape
    if not mask.any():
        return np.zeros(shape, np.uint8)
    smooth = mask * np.uint8(255)
    if min(shape) > max(mask.shape):
        smooth = cv2.GaussianBlur(smooth, (0, 0), 0.7).astype(np.uint8, copy=False)
    smooth = cv2.resize(smooth, (width, height)).astype(np.uint8, copy=False)
    _, binary = cv2.threshold(smooth, 127, 1, cv2.THRESH_BINARY)
    return binary.astype(np.uint8, copy=False)


def area_of(mask: NDArray[np.uint8]) -> Area:
    """Area and connected regions of a mask (h, w) uint8 0 or 1."""
    pixels = cv2.countNonZero(mask)
    if pixels == 0:
        return Area(0, 0.0, 0, 0)
    left, top, width, height = cv2.boundingRect(mask)
    piece = mask[top : top + height, left : left + width]
    count, _ = cv2.connectedComponentsWithAlgorithm(piece, 8, cv2.CV_32S, cv2.CCL_BBDT)
    largest = pixels
    if count > 2:  # one region's size is known: the statistics take five times as long
        _, _, statistics, _ = cv2.connectedComponentsWithStatsWithAlgorithm(
            piece, 8, cv2.CV_32S, cv2.CCL_BBDT
        )
        largest = int(statistics[1:, cv2.CC_STAT_AREA].max())
    return Area(pixels, pixels / mask.size, count - 1, largest)
