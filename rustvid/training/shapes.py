"""Where rust sits: random masks of the forms that corrosion takes.

Every function gives a soft mask (s, s) float32 in [0, 1]. Blobs and spots are thresholded noise
with power at many scales; streaks are noise stretched along one direction that fades; bands
follow an edge; bodies are whole parts (bars, bolts, plates) with sharp outlines; followers grow
where the picture below is dark or bright, as stains keep to the structure of a scene. A part is
what somebody painted: a bar, a pipe, a plate or a wheel, with the way across it for its shading.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]


def noise(rng: np.random.Generator, size: int, coarsest: int, octaves: int = 5) -> Floats:
    """(size, size) with zero mean and unit deviation, power halving from `coarsest` cells on."""
    total = np.zeros((size, size), np.float32)
    for octave in range(octaves):
        cells = coarsest * 2**octave
        if cells > size:
            break
        grid = rng.standard_normal((cells + 3, cells + 3)).astype(np.float32)
        grown = cv2.resize(grid, (size + 3 * size // cells + 1,) * 2, interpolation=cv2.INTER_CUBIC)
        y, x = rng.integers(0, grown.shape[0] - size, 2)
        total += grown[y : y + size, x : x + size] * np.float32(rng.uniform(0.5, 0.75) ** octave)
    return np.asarray((total - total.mean()) / (total.std() + 1e-6), np.float32)


def _cut(field: Floats, area: float, hardness: float) -> Floats:
    """Soft threshold that keeps about `area` of the field; hardness is 1 / width of the edge."""
    level = np.quantile(field[::4, ::4], 1 - area)
    return np.asarray(1 / (1 + np.exp(np.clip(-hardness * (field - level), -30, 30))), np.float32)


def _turned(rng: np.random.Generator, field: Floats, angle: float) -> Floats:
    size = field.shape[0]
    matrix = cv2.getRotationMatrix2D((size / 2, size / 2), angle, rng.uniform(1.0, 1.5))
    turned = cv2.warpAffine(field, matrix, (size, size), borderMode=cv2.BORDER_REFLECT)
    return np.asarray(turned, np.float32)


def blob(rng: np.random.Generator, size: int) -> Floats:
    """Patches of surface rust, few or many."""
    field = noise(rng, size, int(rng.integers(1, 6)))
    return _cut(field, rng.uniform(0.04, 0.55), np.exp(rng.uniform(1.2, 3.4)))


def spots(rng: np.random.Generator, size: int) -> Floats:
    """Pits and specks, denser in one place than in another."""
    field = noise(rng, size, int(rng.integers(10, 40)), 2) + noise(rng, size, 2, 2)
    return _cut(field, rng.uniform(0.01, 0.12), np.exp(rng.uniform(1.6, 3.2)))


def streaks(rng: np.random.Generator, size: int) -> Floats:
    """Stains run down (or, in a turned picture, along) from where the water stood."""
    cells = int(rng.integers(5, 24))
    columns = noise(rng, size, cells, 3)
    tall = cv2.resize(columns[: max(size // int(rng.integers(4, 12)), 4)], (size, size))
    start = rng.uniform(-0.2, 0.7) + 0.15 * noise(rng, size, 6, 2)[0]
    length = rng.uniform(0.2, 0.9) * np.exp(0.4 * noise(rng, size, 12, 2)[0])
    depth = (np.linspace(0, 1, size)[:, None] - start[None]) / length[None]
    fade = np.where((depth > 0) & (depth < 1), 1 - depth, -1.0)
    field = tall + 2.5 * fade + 0.3 * noise(rng, size, 16, 3)
    mask = _cut(
        np.asarray(field, np.float32), rng.uniform(0.04, 0.3), np.exp(rng.uniform(0.7, 2.2))
    )
    return _turned(rng, mask, float(rng.choice([0, 0, 0, 90, rng.uniform(-180, 180)])))


def band(rng: np.random.Generator, size: int) -> Floats:
    """Rust that follows an edge, a weld or the foot of a web."""
    angle = rng.choice([0, 90, rng.uniform(0, 180)])
    y, x = np.mgrid[0:size, 0:size].astype(np.float32) / size - 0.5
    along = np.cos(np.radians(angle)) * y + np.sin(np.radians(angle)) * x
    bend = rng.uniform(-0.6, 0.6) * x * y
    field = 0.25 * noise(rng, size, int(rng.integers(3, 9))) * rng.uniform(0.1, 0.6)
    field -= np.abs(along + bend - rng.uniform(-0.5, 0.5))
    return _cut(np.asarray(field, np.float32), rng.uniform(0.04, 0.3), np.exp(rng.uniform(2.5, 5)))


def body(rng: np.random.Generator, size: int) -> Floats:
    """One to three whole parts: beams, plates, bolts, gear; sharp edges."""
    mask = np.zeros((size, size), np.float32)
    for _ in range(int(rng.integers(1, 4))):
        centre = rng.uniform(0, size, 2)
        width, height = size * np.exp(rng.uniform(-3, -0.6)), size * np.exp(rng.uniform(-2, 0.5))
        if rng.random() < 0.35:
            axes = (int(width) + 2, int(min(height, 1.5 * width)) + 2)
            cv2.ellipse(
                mask,
                (int(centre[0]), int(centre[1])),
                axes,
                rng.uniform(0, 180),
                0,
                360,
                1.0,
                -1,
                cv2.LINE_AA,
            )
        else:
            box = cv2.boxPoints(((centre[0], centre[1]), (width, height), rng.uniform(0, 180)))
            box += rng.normal(0, 0.08 * width, box.shape)
            cv2.fillPoly(mask, [np.asarray(box * 16, np.int32)], 1.0, cv2.LINE_AA, 4)
    return mask


def part(rng: np.random.Generator, size: int) -> tuple[Floats, Floats]:
    """One bar, plate or disc with sharp, straight (or round) edges; and for every pixel how far it
    lies across the part, -1 at one edge, 1 at the other."""
    y, x = np.mgrid[0:size, 0:size].astype(np.float32)
    y, x = y - np.float32(rng.uniform(0, size)), x - np.float32(rng.uniform(0, size))
    angle = np.radians(rng.choice([0, 90, rng.uniform(0, 180)]))
    half = size * np.exp(rng.uniform(-3.8, -1.1))
    long = half if rng.random() < 0.2 else size * np.exp(rng.uniform(-1.6, 0.5))
    along = np.asarray(np.cos(angle) * y - np.sin(angle) * x, np.float32) / np.float32(long)
    across = np.asarray(np.sin(angle) * y + np.cos(angle) * x, np.float32) / np.float32(half)
    if rng.random() < 0.2:
        inside = (1 - np.hypot(across, along)) * half
    else:
        across = across / np.maximum(1 + np.float32(rng.normal(0, 0.15)) * along, 0.3)
        inside = np.minimum((1 - np.abs(across)) * half, (1 - np.abs(along)) * long)
    mask = np.clip(inside + 0.5, 0, 1)
    return np.asarray(mask, np.float32), np.clip(across, -1, 1).astype(np.float32)


def follower(rng: np.random.Generator, image: NDArray[np.float32]) -> Floats:
    """Grows over what is dark, or bright, in the picture (s, s, 3) it will be painted on."""
    size = image.shape[0]
    grey = cv2.blur(image.mean(axis=2), (5, 5))
    grey = (grey - grey.mean()) / (grey.std() + 8)
    field = rng.choice([-1, 1]) * rng.uniform(0.4, 1.2) * grey + noise(rng, size, 3)
    return _cut(np.asarray(field, np.float32), rng.uniform(0.05, 0.4), np.exp(rng.uniform(1.2, 3)))


def any_shape(rng: np.random.Generator, image: NDArray[np.float32]) -> Floats:
    """One of the above for a picture (s, s, 3), drawn at half its size, which costs a quarter."""
    size = image.shape[0] // 2
    kind = rng.choice(6, p=[0.3, 0.12, 0.16, 0.14, 0.14, 0.14])
    if kind == 5:
        small = cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA)
        mask = follower(rng, np.asarray(small, np.float32))
    elif kind == 4:
        return body(rng, image.shape[0])
    else:
        mask = (blob, spots, streaks, band)[kind](rng, size)
    return np.asarray(cv2.resize(mask, image.shape[1::-1]), np.float32)


def side(rng: np.random.Generator, size: int) -> Floats:
    """Ground: all that lies beyond a line across the picture, mostly below it; a rough or a
    sharp edge."""
    angle = np.radians(rng.normal(0, 20) if rng.random() < 0.7 else rng.uniform(0, 360))
    y, x = np.mgrid[0:size, 0:size].astype(np.float32) / size - 0.5
    field = np.cos(angle) * y + np.sin(angle) * x
    field += rng.uniform(0, 0.12) * noise(rng, size, int(rng.integers(2, 12)))
    hardness = np.exp(rng.uniform(2.5, 5.5))
    return _cut(np.asarray(field, np.float32), rng.uniform(0.15, 0.65), hardness)
