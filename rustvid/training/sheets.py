"""Contact sheets: pictures side by side with a line of text, as one PNG."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from rustvid.errors import SinkError
from rustvid.training.data import Image

TILE = 240  # pixels, the longer side of a picture on a sheet
_TEXT = 34  # pixels below it for two lines
_GAP = 6
_TINT = (255, 51, 224)  # of the mask: a colour that no rust has


@dataclass(frozen=True)
class Tile:
    """A picture (h, w, 3) uint8 RGB with one or two lines of text."""

    image: Image
    text: tuple[str, ...] = ()


def tinted(image: Image, mask: NDArray[np.generic]) -> Image:
    """The picture with a mask (h', w') tinted and outlined, at the size of a tile."""
    small = shrunk(image)
    height, width = small.shape[:2]
    fitted = cv2.resize(
        np.asarray(mask, np.uint8), (width, height), interpolation=cv2.INTER_NEAREST
    )
    inside = np.asarray(fitted, bool)
    drawn = small.astype(np.float32)
    drawn[inside] = 0.6 * drawn[inside] + 0.4 * np.array(_TINT, np.float32)
    result = drawn.astype(np.uint8)
    outline, _ = cv2.findContours(inside.astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(result, outline, -1, _TINT, 1)
    return result


def shrunk(image: Image) -> Image:
    """At the size of a tile: the longer side is 240 pixels."""
    scale = TILE / max(image.shape[:2])
    size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)


def sheet(rows: Sequence[Sequence[Tile]]) -> Image:
    """(h, w, 3) uint8 RGB: every row of tiles below the one before, on white."""
    heights = [max((shrunk(tile.image).shape[0] for tile in row), default=0) for row in rows]
    columns = max((len(row) for row in rows), default=1)
    height = _GAP + sum(tallest + _TEXT + _GAP for tallest in heights)
    page = np.full((height, (TILE + _GAP) * columns + _GAP, 3), 255, np.uint8)
    y = _GAP
    for row, tallest in zip(rows, heights, strict=True):
        for column, tile in enumerate(row):
            x = _GAP + column * (TILE + _GAP)
            image = shrunk(tile.image)
            page[y : y + image.shape[0], x : x + image.shape[1]] = image
            for line, text in enumerate(tile.text[:2]):
                _write(page, text, x, y + image.shape[0] + 13 + 15 * line)
        y += tallest + _TEXT + _GAP
    return page


def _write(page: Image, text: str, x: int, y: int) -> None:
    plain = text.encode("ascii", "replace").decode()  # what OpenCV's fonts have
    font, size = cv2.FONT_HERSHEY_SIMPLEX, 0.4
    while plain and cv2.getTextSize(plain, font, size, 1)[0][0] > TILE:
        plain = plain[:-1]
    cv2.putText(page, plain, (x, y), font, size, (20, 20, 20), 1, cv2.LINE_AA)


def save(page: Image, path: Path) -> Path:
    """Write a sheet as PNG."""
    done, encoded = cv2.imencode(".png", page[:, :, ::-1])
    try:
        path.write_bytes(encoded.tobytes() if done else b"")
    except OSError as exc:
        raise SinkError(f"{path}: cannot be written ({exc.strerror}); check the folder") from exc
    return path


def grid(tiles: Sequence[Tile], columns: int = 6) -> list[Sequence[Tile]]:
    """Tiles in rows."""
    return [tiles[i : i + columns] for i in range(0, len(tiles), columns)]
