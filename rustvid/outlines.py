"""Regions of a mask by their outlines: a third of the time of labelling every pixel.

By Pick's theorem a closed walk from grid point to neighbouring grid point, n steps long, that
encloses the area A has A − n/2 + 1 points within it, and its own n besides. OpenCV's outlines are
such walks, through the outermost pixels of a region, or through those that surround a hole.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Outline = NDArray[Any]  # (n, 1, 2) int32, x and y


def outlines(mask: NDArray[np.uint8]) -> dict[int, tuple[Outline, list[Outline]]]:
    """Every region (8-neighbours) of a mask (h, w) uint8 0 or 1, under a number of its own: the
    outline around it, and those of its holes."""
    left, top, width, height = cv2.boundingRect(mask)
    if not width:
        return {}
    lines, tree = cv2.findContours(
        mask[top : top + height, left : left + width],
        cv2.RETR_CCOMP,
        cv2.CHAIN_APPROX_NONE,
        offset=(left, top),
    )
    parents = tree[0, :, 3].tolist()
    found: dict[int, tuple[Outline, list[Outline]]] = {
        number: (line, []) for number, line in enumerate(lines) if parents[number] < 0
    }
    for line, parent in zip(lines, parents, strict=True):
        if parent >= 0:
            found[parent][1].append(line)
    return found


def enclosed(outline: Outline) -> int:
    """Pixels within the outline of a region, its own and those of holes included."""
    return _inside(outline) + _steps(outline)


def size(outline: Outline, holes: list[Outline]) -> int:
    """Pixels of a region."""
    return enclosed(outline) - sum(_inside(hole) for hole in holes)


def _inside(outline: Outline) -> int:
    """Pixels that an outline goes around."""
    return int(cv2.contourArea(outline) - _steps(outline) / 2 + 1)


def _steps(outline: Outline) -> int:
    return len(outline) if len(outline) > 1 else 0
