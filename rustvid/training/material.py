"""What composites are made of: textures that are rust, and textures that only look like it.

All that is known is image labels and that iron oxides are orange, brown or red. The colour
likelihood is how much oftener such a colour occurs in corroded than in clean photos, sharpened by
expectation maximisation, for a corroded photo is a mixture of rust and background. Textured
windows of corroded photos that are rust-coloured all over are material; rust-coloured windows of
clean photos are decoys.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from rustvid.training.data import Image, Photo

BINS = 32
FLAT = 9.0  # standard deviation of grey levels below which a window is a painted surface
Floats = NDArray[np.float32]


def _bins(image: Image) -> NDArray[np.intp]:
    """Index of each pixel's colour in a LAB table of 32³: (n,)."""
    lab = cv2.cvtColor(image, cv2.COLOR_RGB2LAB).reshape(-1, 3).astype(np.intp) >> 3
    return np.asarray((lab[:, 0] * BINS + lab[:, 1]) * BINS + lab[:, 2])


def _histogram(image: Image) -> Floats:
    small = cv2.resize(image, (96, 96), interpolation=cv2.INTER_AREA)
    counts = np.bincount(_bins(np.asarray(small)), minlength=BINS**3)
    return np.asarray(counts / counts.sum(), np.float32)


def oxide_colours() -> Floats:
    """(32³,) 0 or 1: the LAB colours an iron oxide can have, hue 22°–76°, chroma 7–70."""
    lightness, a, b = np.meshgrid(*[np.arange(BINS, dtype=np.float32) * 8 + 4] * 3, indexing="ij")
    hue = np.degrees(np.arctan2(b - 128, a - 128))
    chroma = np.hypot(a - 128, b - 128)
    possible = (hue > 22) & (hue < 76) & (chroma > 7) & (chroma < 70) & (lightness < 215)
    return possible.reshape(-1).astype(np.float32)


def colour_likelihood(photos: Sequence[Photo], rounds: int = 8) -> Floats:
    """(32³,) in [0, 1]: how probably a pixel of a corroded photo with this LAB colour is rust."""
    corroded = np.stack([_histogram(p.image) for p in photos if p.corroded])
    clean = np.mean([_histogram(p.image) for p in photos if not p.corroded], axis=0)
    background = _smooth(clean)
    possible = oxide_colours()
    rust = _smooth(corroded.mean(axis=0) * possible)
    amount = np.full((len(corroded), 1), 0.3, np.float32)
    for _ in range(rounds):  # E: whose pixel is it; M: each photo's amount, the colour of rust
        own = amount * rust
        posterior = own / (own + (1 - amount) * background)
        rusty = corroded * posterior * possible
        amount = np.clip(rusty.sum(axis=1, keepdims=True), 0.02, 0.98)
        rust = _smooth(rusty.sum(axis=0) * possible)
    return np.asarray(possible * rust / (rust + background), np.float32)


def _smooth(table: Floats) -> Floats:
    cube = table.reshape(BINS, BINS, BINS)
    for axis in range(3):
        spread = np.roll(cube, 1, axis) + 2 * cube + np.roll(cube, -1, axis)
        cube = np.asarray(spread / 4, np.float32)
    flat = cube.reshape(-1) + 1e-7
    return np.asarray(flat / flat.sum(), np.float32)


def colour_map(image: Image, table: Floats) -> Floats:
    """(h, w) in [0, 1]: the likelihood of each pixel's colour, averaged over 5×5."""
    likely = table[_bins(image)].reshape(image.shape[:2])
    return np.asarray(cv2.blur(likely, (5, 5)), np.float32)


def windows(photo: Photo, score: Floats, least: float, size: int, most: int = 3) -> list[Image]:
    """Up to `most` textured windows without much overlap, size² or the photo's short side, whose
    mean score is at least `least`, best first."""
    side = min(size, *photo.image.shape[:2])
    total = cv2.integral(score)
    step = max(side // 4, 1)
    found = []
    for y in range(0, score.shape[0] - side + 1, step):
        for x in range(0, score.shape[1] - side + 1, step):
            area = total[y + side, x + side] - total[y, x + side] - total[y + side, x] + total[y, x]
            found.append((float(area) / side**2, y, x))
    chosen: list[tuple[int, int]] = []
    for mean, y, x in sorted(found, reverse=True):
        if mean < least or len(chosen) == most:
            break
        if all(abs(y - v) >= side // 2 or abs(x - u) >= side // 2 for v, u in chosen):
            chosen.append((y, x))
    cuts = [photo.image[y : y + side, x : x + side].copy() for y, x in chosen]
    return [cut for cut in cuts if cut.mean(axis=2).std() > FLAT]


def impossible(image: Image) -> Floats:
    """(h, w) float32: 0 where no colour nearby can be rust (clean for sure), else -1."""
    possible = oxide_colours()[_bins(image)].reshape(image.shape[:2])
    near = cv2.blur(possible, (15, 15))
    bright = cv2.blur(image.max(axis=2), (5, 5)) > 70  # in the dark every colour is possible
    return np.where((near < 0.02) & bright, 0, -1).astype(np.float32)
