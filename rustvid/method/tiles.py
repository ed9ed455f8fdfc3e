"""Tiles: a large frame is seen in overlapping parts, so that a spot of rust is not two pixels wide.

Neighbours overlap by an eighth of their side; across it one fades into the other, so there is no
seam. A frame is as corroded as the most corroded of its tiles.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rustvid.errors import UsageError

MOST = 64  # tiles of a frame
SHARE = 8  # the overlap is this part of a tile's side


@dataclass(frozen=True)
class Grid:
    """columns × rows tiles of (width, height) pixels each."""

    columns: int
    rows: int
    width: int
    height: int

    @property
    def count(self) -> int:
        """Tiles of a frame."""
        return self.columns * self.rows

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) of the whole picture that is cut."""
        return extent(self.columns, self.width), extent(self.rows, self.height)

    def cut(self, image: NDArray[np.uint8]) -> list[NDArray[np.uint8]]:
        """The tiles (height, width, 3) of a picture of `size`, row by row; views, not copies."""
        return [
            image[y : y + self.height, x : x + self.width]
            for y in starts(self.rows, self.height)
            for x in starts(self.columns, self.width)
        ]

    def stitch(self, maps: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
        """One map of the whole picture from those of its tiles, (h, w) each, in `cut`'s order."""
        if self.count == 1:
            return maps[0]
        height, width = maps[0].shape
        weight = np.outer(ramp(height), ramp(width))
        total = np.zeros((extent(self.rows, height), extent(self.columns, width)), np.float32)
        weights = np.zeros_like(total)
        places = [(y, x) for y in starts(self.rows, height) for x in starts(self.columns, width)]
        for (y, x), found in zip(places, maps, strict=True):
            total[y : y + height, x : x + width] += weight * found
            weights[y : y + height, x : x + width] += weight
        return np.asarray(total / weights, np.float32)


def gated(
    maps: NDArray[np.float32], probability: NDArray[np.float32], threshold: float
) -> NDArray[np.float32]:
    """A classifier's maps (n, h, w) of n tiles, empty where p (n,) does not exceed the threshold.

    Grad-CAM++ scales every map to its own maximum of 1: of a clean tile, too, it would mark
    something. The pipeline gates a frame's map likewise, but by the most corroded of its tiles.
    """
    return maps * (probability > threshold).astype(np.float32)[:, None, None]


def grid(asked: str, size: tuple[int, int]) -> Grid:
    """`asked` is "columns x rows" ("2x1"); size: (width, height) of a tile; raises UsageError."""
    found = re.fullmatch(r"([1-9]\d?)x([1-9]\d?)", asked)
    columns, rows = (int(number) for number in found.groups()) if found else (0, 0)
    if not 0 < columns * rows <= MOST:
        raise UsageError(
            f"model.tiles must be columns x rows, such as 2x1, at most {MOST} tiles; "
            f"received {asked!r}"
        )
    return Grid(columns, rows, *size)


def overlap(side: int) -> int:
    """Positions that two neighbours share."""
    return round(side / SHARE)


def starts(count: int, side: int) -> list[int]:
    """Where the tiles begin along one axis."""
    return [number * (side - overlap(side)) for number in range(count)]


def extent(count: int, side: int) -> int:
    """Of all tiles together along one axis."""
    return starts(count, side)[-1] + side


def ramp(side: int) -> NDArray[np.float32]:
    """(side,) weights: rising over the overlap, 1 in between, falling over the overlap."""
    rise = (np.arange(side, dtype=np.float32) + 1) / (overlap(side) + 1)
    return np.minimum(np.minimum(rise, rise[::-1]), 1)
