"""Photographs with image labels: reading them, naming what is wrong, splitting off validation."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from rustvid.errors import UsageError

Image = NDArray[np.uint8]

CORROSION, CLEAN = "corrosion", "not_corrosion"  # the names of the two folders
SMALLEST = 64  # pixels on the shorter side: below it a photo teaches nothing
SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".webp"}


@dataclass(frozen=True)
class Photo:
    """One photograph: its name in the data set, its pixels (h, w, 3) uint8 RGB, its label."""

    name: str
    image: Image
    corroded: bool


@dataclass(frozen=True)
class PhotoSet:
    """What was read of a folder, and what was not: `faults` counts each kind by name."""

    photos: tuple[Photo, ...]
    faults: dict[str, int]
    listing: str  # SHA-256 over every file's name and content

    def where(self, corroded: bool) -> tuple[Photo, ...]:
        """The photos of one class."""
        return tuple(photo for photo in self.photos if photo.corroded == corroded)


def share(name: str, seed: int = 0) -> float:
    """A number in [0, 1) that depends on the name alone: splits that survive added files."""
    digest = hashlib.sha256(f"{seed}:{name}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def fit_inside(image: Image, longest: int) -> Image:
    """Shrink a picture until no side is longer than `longest`; smaller ones stay as they are."""
    height, width = image.shape[:2]
    scale = longest / max(height, width)
    if scale >= 1:
        return image
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)


def decode(content: bytes) -> Image | None:
    """(h, w, 3) uint8 RGB, or None if these bytes are not a picture."""
    if not content:
        return None
    image = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
    return None if image is None else np.asarray(image[:, :, ::-1].copy(), np.uint8)


def read_photos(folder: Path, longest: int = 496) -> PhotoSet:
    """Read `folder/corrosion` and `folder/not_corrosion`; unreadable, tiny and repeated files
    are counted and left out, a missing or empty class is an error."""
    photos: list[Photo] = []
    faults: Counter[str] = Counter()
    seen: dict[str, str] = {}
    listing = hashlib.sha256()
    for label in (CORROSION, CLEAN):
        for path in _files(folder / label):
            content = path.read_bytes()
            digest = hashlib.sha256(content).hexdigest()
            listing.update(f"{label}/{path.name} {digest}\n".encode())
            image = decode(content)
            fault = _fault(image, digest in seen)
            seen[digest] = path.name
            if fault or image is None:
                faults[fault] += 1
                continue
            photos.append(
                Photo(f"{label}/{path.name}", fit_inside(image, longest), label == CORROSION)
            )
    return PhotoSet(tuple(photos), dict(faults), listing.hexdigest())


def _files(folder: Path) -> list[Path]:
    if not folder.is_dir():
        known = ", ".join(sorted(p.name for p in folder.parent.glob("*") if p.is_dir())) or "none"
        raise UsageError(f"{folder}: no such class folder; there are: {known}")
    files = sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES)
    if not files:
        raise UsageError(f"{folder}: no photographs in it; a class needs at least one")
    return files


def _fault(image: Image | None, repeated: bool) -> str:
    if image is None:
        return "unreadable"
    if min(image.shape[:2]) < SMALLEST:
        return "tiny"
    return "repeated" if repeated else ""


def split(photos: Iterable[Photo], validation: float) -> tuple[list[Photo], list[Photo]]:
    """(training, validation) by a hash of the name."""
    training: list[Photo] = []
    held_out: list[Photo] = []
    for photo in photos:
        (held_out if share(photo.name) < validation else training).append(photo)
    return training, held_out


def sources(table: Path) -> dict[str, str]:
    """File → source from a sources.csv whose first two columns are these."""
    rows: Sequence[str] = table.read_text().splitlines()[1:]
    return {row.split(",")[0]: row.split(",")[1] for row in rows if "," in row}
