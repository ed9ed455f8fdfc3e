"""The same CRF several times as fast, on a coarse grid of places and colours.

Of two labels it is enough to know one: with q = Q(corroded) the mean field of eq. 10 is

    logit q ← (U_sound − U_corroded) + Σ_m w_m (2 K_m q − K_m 1)      K_m = N k_m N,  N = (k_m 1)^−½

with the symmetric normalisation of Krähenbühl and Koltun (2013). What costs is k q, a sum over all
pairs of pixels. The smoothness kernel is a Gaussian blur. The appearance kernel is a Gaussian in
place times a Gaussian in colour: pixels are gathered in cells of a third of its reach in place
and of all its reach in colour, each cell stands for its mean colour, cells are blurred among
themselves by three small matrices, and every pixel takes the value of its cell. How little the
masks differ from the dense CRF's is measured: `python benchmarks/crf.py`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from rustvid.config import CrfConfig
from rustvid.errors import UsageError
from rustvid.method.refine.crf import PAPER_SIZE

Values = NDArray[np.float32]  # (h, w)

_CELLS_OF_REACH = 3  # cells of place in one reach
_MOST_COLOURS = 700  # cells of colour
_MOST_PRODUCTS = 8e8  # of all pairs of colours at all places: what costs, where reaches are short
_FAR = 5.0  # reaches, beyond which nothing is felt
LEAST_PLACE, LEAST_COLOUR = 10.0, 4.0  # reaches below which cells would be single pixels


def check(config: CrfConfig, size: int) -> None:
    """Raise UsageError where a reach is too short for cells. size: of the picture's longer side"""
    reach = config.appearance_sigma_xy * size / PAPER_SIZE
    if reach < LEAST_PLACE or config.appearance_sigma_rgb < LEAST_COLOUR:
        raise UsageError(
            f"refine.engine fast needs a reach of {LEAST_PLACE:g} pixels and a tolerance of "
            f"{LEAST_COLOUR:g} at least, received refine.crf.appearance_sigma_xy "
            f"{config.appearance_sigma_xy:g}, which is {reach:.3g} pixels at refine.size {size}, "
            f"and appearance_sigma_rgb {config.appearance_sigma_rgb:g}; use densecrf"
        )


def fast_crf(
    image: NDArray[np.uint8], energy: NDArray[np.float32], config: CrfConfig, iterations: int
) -> NDArray[np.uint8]:
    """As crf.crf does, for reaches that `check` lets pass.

    image: (h, w, 3) uint8 RGB; energy: (2, h·w) float32, −log p of (sound, corroded)
    Returns (h, w) uint8, 0 or 1.
    """
    shape = image.shape[:2]
    scale = max(shape) / PAPER_SIZE
    reach, tolerance = config.appearance_sigma_xy * scale, config.appearance_sigma_rgb
    smooth = _normalised(_gaussian(config.smoothness_sigma_xy * scale), shape)
    appear = _normalised(_bilateral(image, reach, tolerance), shape)
    kernels = ((config.smoothness_weight, smooth), (config.appearance_weight, appear))
    ones = np.ones(shape, np.float32)
    sound, corroded = energy
    bias = (sound - corroded).reshape(shape)
    field = bias - sum(weight * kernel(ones) for weight, kernel in kernels)
    logit = bias
    for _ in range(iterations):
        q = _sigmoid(logit)
        logit = field + sum(2 * weight * kernel(q) for weight, kernel in kernels)
    labels: NDArray[np.uint8] = (logit > 0).astype(np.uint8)
    return labels


Kernel = Callable[[Values], Values]


def _normalised(kernel: Kernel, shape: tuple[int, int]) -> Kernel:
    """N k N, so that a pixel with many alike does not outvote its own colour."""
    degree = kernel(np.ones(shape, np.float32))
    norm = np.asarray(1 / np.sqrt(np.maximum(degree, 1e-20)), np.float32)
    return lambda values: np.asarray(norm * kernel(norm * values), np.float32)


def _gaussian(reach: float) -> Kernel:
    """k q of a Gaussian in place alone; nothing lies beyond the picture's edge."""
    return lambda values: np.asarray(
        cv2.GaussianBlur(values, (0, 0), reach, borderType=cv2.BORDER_CONSTANT)
    )


def _bilateral(image: NDArray[np.uint8], reach: float, tolerance: float) -> Kernel:
    """k q of a Gaussian in place and colour, by cells."""
    step = reach / _CELLS_OF_REACH
    rows, columns = ((np.arange(side) / step).astype(np.int32) for side in image.shape[:2])
    places = (int(rows[-1]) + 1) * (int(columns[-1]) + 1)
    most = min(_MOST_COLOURS, math.isqrt(int(_MOST_PRODUCTS / places)))
    colour, colours = _colours(image, tolerance, most)
    grid = (len(colours), int(rows[-1]) + 1, int(columns[-1]) + 1)
    place = (colour * grid[1] + rows[:, None]) * grid[2] + columns[None, :]
    cell, count = place.ravel().astype(np.intp), math.prod(grid)
    by_row, by_column = (_blur(count, _CELLS_OF_REACH) for count in grid[1:])

    def kernel(values: Values) -> Values:
        gathered = np.bincount(cell, values.ravel(), count).astype(np.float32)
        blurred = colours @ gathered.reshape(grid[0], -1)
        blurred = by_row @ blurred.reshape(grid) @ by_column
        return blurred.ravel().take(cell).reshape(values.shape)

    return kernel


def _colours(
    image: NDArray[np.uint8], tolerance: float, most: int
) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """The cell of colour of every pixel, (h, w) int32, and how near all cells are to each other.

    most: cells that there may be
    A cell's spread widens the kernel by its own variance, on either side: by so much the Gaussian
    between the means is narrowed.
    """
    pixels = image.reshape(-1, 3)
    step = tolerance
    while True:
        cells = int(255 / step) + 1  # along each of red, green and blue
        number = np.zeros(len(pixels), np.intp)
        for channel in range(3):
            number = number * cells + (np.arange(256) / step).astype(np.intp)[pixels[:, channel]]
        counts = np.bincount(number, minlength=cells**3)
        used = np.flatnonzero(counts)
        if len(used) <= most:
            break
        step *= 1.25
    sums = [np.bincount(number, pixels[:, channel], cells**3)[used] for channel in range(3)]
    means = np.stack(sums, axis=1) / counts[used, None]
    squares = float(np.square(pixels, dtype=np.float32).mean())
    spread = squares - float((counts[used, None] * means**2).sum()) / pixels.size
    variance = max(tolerance**2 - 2 * spread, tolerance**2 / 4)
    distances = ((means[:, None] - means[None]) ** 2).sum(axis=2)
    near = _gauss(distances / variance)
    compact = np.zeros(cells**3, np.int32)
    compact[used] = np.arange(len(used))
    return compact[number].reshape(image.shape[:2]), near


def _blur(count: int, reach: float) -> NDArray[np.float32]:
    """A Gaussian between `count` cells in a row, (count, count)."""
    place = np.arange(count, dtype=np.float32)
    return _gauss(((place[:, None] - place) / reach) ** 2)


def _gauss(squares: NDArray[Any]) -> NDArray[np.float32]:
    """exp(−x / 2), 0 where it is next to nothing: processors take long over the tiniest numbers."""
    return np.where(squares < _FAR**2, np.exp(-squares / 2), 0).astype(np.float32)


def _sigmoid(logit: Values) -> Values:
    return np.asarray(0.5 + 0.5 * np.tanh(0.5 * logit), np.float32)
