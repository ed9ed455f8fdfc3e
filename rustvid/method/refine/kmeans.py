"""Trim a mask to one of the two colours of the picture ("K-Means + CRF (Advanced)")."""

from __future__ import annotations

from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray
from threadpoolctl import ThreadpoolController

CLUSTERS = 2


def two_colours(image: NDArray[np.uint8], pixels: int, seed: int) -> NDArray[np.bool_]:
    """Which of the picture's two colour clusters each pixel belongs to.

    image: (h, w, 3) uint8 RGB; pixels: how many of them teach the centres (0: all)
    Returns (h, w) bool; which cluster is True is arbitrary, but fixed by the seed.
    """
    colours = image.reshape(-1, 3).astype(np.float32)
    random = np.random.default_rng(seed)
    sample = colours
    if 0 < pixels < len(colours):
        sample = colours[random.choice(len(colours), pixels, replace=False, shuffle=False)]
    if (sample == sample[0]).all():
        return np.zeros(image.shape[:2], np.bool_)  # there is only one colour
    from sklearn.cluster import KMeans  # seconds to load, and a student never needs it

    # "generated with random centres": one start, as in the paper. One thread: sums are rounded in
    # another order by two, and a mask is to be the same on every machine.
    with _threads().limit(limits=1, user_api="openmp"):
        means = KMeans(CLUSTERS, init="random", n_init=1, random_state=seed).fit(sample)
    near, far = means.cluster_centers_
    # The nearer of two centres is a half-space: one product a pixel, no distances.
    border = (far @ far - near @ near) / 2
    beyond: NDArray[np.bool_] = colours @ (far - near) > border
    return beyond.reshape(image.shape[:2])


@cache
def _threads() -> ThreadpoolController:
    """Of the libraries that are loaded: to look for them takes milliseconds."""
    return ThreadpoolController()


def trim(mask: NDArray[np.uint8], cluster: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Keep of the mask (h, w) uint8 what lies in the cluster that covers most of it by area."""
    inside = mask > 0
    covered = int(np.count_nonzero(inside & cluster))
    if 2 * covered < int(np.count_nonzero(inside)):
        cluster = ~cluster
    return np.where(cluster, mask, 0).astype(np.uint8)


def erode(mask: NDArray[np.uint8], width: int) -> NDArray[np.uint8]:
    """Erode by a diamond `width` pixels across ("a simple 5×5 diamond erosion"); 1: not at all."""
    radius = width // 2
    if radius == 0:
        return mask
    rows, columns = np.mgrid[-radius : radius + 1, -radius : radius + 1]
    diamond = (abs(rows) + abs(columns) <= radius).astype(np.uint8)
    return cv2.erode(mask, diamond).astype(np.uint8, copy=False)
