"""What moved between two pictures, and how much changed: thumbnails, optical flow, cuts.

All of it looks at the luma alone, squashed and upright, and reads no other sample.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from rustvid.frames import Picture

FLOW_SIZE = 286  # half the paper's 572: a flow takes 0.9 ms on one core
_FINE = 2 * FLOW_SIZE  # read by linear interpolation, then averaged: 15 times faster than the mean
_THUMB = 32

Gray = NDArray[np.uint8]
Flow = NDArray[np.float32]  # (286, 286, 2): x and y, in pixels of 286

# A cut: what is left after motion compensation, over what two unrelated pictures would leave (1).
_CUT = 0.6
_CUT_CONTRAST = 8.0  # gray levels that must be left: noise in the dark is no cut
_CUT_LIGHT = 40.0  # mean absolute difference in gray levels that no motion and no exposure make
_CHANGED = 0.5  # correlation of two thumbnails below which they show different things
_SEEN = 0.02  # standard deviation of a thumbnail below which there is nothing to compare
_EXPOSED = 0.1  # difference in mean light, of the whole range


def small_gray(picture: Picture) -> Gray:
    """The picture as (286, 286) uint8, upright."""
    return _reduced(picture, _FINE, FLOW_SIZE)


def thumbnail(picture: Picture) -> NDArray[np.float32]:
    """The picture as (32, 32) float32 in [0, 1], upright: enough to see that it is another."""
    return (_reduced(picture, 4 * _THUMB, _THUMB) / np.float32(255)).astype(np.float32)


def changed(before: NDArray[np.float32], after: NDArray[np.float32]) -> bool:
    """Do two thumbnails differ by a cut, a large motion or a jump in exposure?"""
    if abs(float(after.mean() - before.mean())) > _EXPOSED:
        return True
    first, second = before - before.mean(), after - after.mean()
    spread = float(first.std()), float(second.std())
    if max(spread) < _SEEN:
        return False
    return float((first * second).mean()) < _CHANGED * max(spread[0] * spread[1], _SEEN**2)


def flow(of: Gray, to: Gray) -> Flow:
    """From each pixel of one picture to where it is in the other, by dense inverse search."""
    search = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST)
    return np.asarray(search.calc(of, to, None), np.float32)  # type: ignore[call-overload]


def remapped(values: NDArray[Any], ends: NDArray[np.float32]) -> NDArray[Any]:
    """(h, w, …): of each pixel, what `values` has at its end (h, w, 2), x and y; beyond the
    picture, what is nearest."""
    return cv2.remap(values, ends, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)  # type: ignore[call-overload, no-any-return]


def is_cut(before: Gray, after: Gray, back: Flow) -> bool:
    """Is what motion leaves unexplained so much that these are two scenes?

    back: from each pixel of `after` to `before`
    """
    warped = remapped(before, _PLACES + back)
    if cv2.norm(warped, after, cv2.NORM_L1) / after.size > _CUT_LIGHT:
        return True
    left = _deviation(cv2.subtract(warped, after, dtype=cv2.CV_16S))
    unrelated = float(np.hypot(_deviation(warped), _deviation(after)))
    return left > max(_CUT * unrelated, _CUT_CONTRAST)


def _deviation(values: NDArray[Any]) -> float:
    """Standard deviation, in a fifth of NumPy's time."""
    _, deviation = cv2.meanStdDev(values)
    return float(deviation[0, 0])


def places(size: int) -> NDArray[np.float32]:
    """(size, size, 2): every pixel's own x and y."""
    rows, columns = np.mgrid[:size, :size].astype(np.float32)
    return np.stack([columns, rows], axis=-1)


_PLACES = places(FLOW_SIZE)


def _reduced(picture: Picture, fine: int, size: int) -> Gray:
    luma = cv2.resize(picture.planes[0], (fine, fine), interpolation=cv2.INTER_LINEAR)
    small: NDArray[Any] = cv2.resize(luma, (size, size), interpolation=cv2.INTER_AREA)
    if picture.bits > 8:
        small = (small >> (picture.bits - 8)).astype(np.uint8)
    return np.ascontiguousarray(picture.upright(small)).astype(np.uint8, copy=False)
