"""Carry a mask from an analysed frame to the next ones, by dense optical flow.

Forward only: each frame's mask is the one before it, moved along the flow between the two.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import cv2
import numpy as np
from numpy.typing import NDArray

from rustvid.frames import Localised, Refined

FLOW_SIZE = 286  # half the paper's 572: 1.3 ms a frame on one core
CUT_DIFFERENCE = 40.0  # mean absolute gray difference after motion compensation: a scene cut


def track(results: Iterable[Refined | Localised]) -> Iterator[Refined]:
    """Give every frame a mask: refined ones keep theirs, the others get the last one, moved.

    A scene cut ends a track: the mask is then empty until the next analysed frame.
    """
    tracker: _Tracker | None = None
    for result in results:
        if isinstance(result, Refined):
            if result.mask_from == "failed" and tracker is not None:
                tracker.follow(result.localised)  # better an older mask than none from here on
            else:
                tracker = _Tracker(result)
            yield result
        elif tracker is None:
            raise ValueError(f"frame {result.frame.index} has no analysed frame before it")
        else:
            yield tracker.follow(result)


class _Tracker:
    """The mask of the last frame, and that frame's picture for the flow."""

    def __init__(self, refined: Refined) -> None:
        self._mask = refined.working_mask
        self._image = refined.frame.image
        self._gray: NDArray[np.uint8] | None = None
        self._way = np.zeros((FLOW_SIZE, FLOW_SIZE, 2), np.float32)

    def follow(self, localised: Localised) -> Refined:
        """Move the mask to this frame."""
        if self._gray is None:  # made only when a frame is tracked at all
            self._gray = small_gray(self._image)
        gray = small_gray(localised.frame.image)
        if self._mask.any():
            back = flow_back(self._gray, gray)
            if _is_cut(self._gray, gray, back):
                self._mask = np.zeros_like(self._mask)
            self._way = joined(self._way, back)
        self._gray = gray
        return Refined(localised, carried(self._mask, self._way), mask_from="tracked")


def small_gray(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(h, w, 3) uint8 RGB → (286, 286) uint8."""
    small = cv2.resize(image, (FLOW_SIZE, FLOW_SIZE), interpolation=cv2.INTER_AREA)
    return cv2.cvtColor(small, cv2.COLOR_RGB2GRAY).astype(np.uint8, copy=False)


def flow_back(before: NDArray[np.uint8], after: NDArray[np.uint8]) -> NDArray[np.float32]:
    """(286, 286, 2) float32: from each pixel of `after` to where it was in `before`."""
    flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST)
    back = flow.calc(after, before, None)  # type: ignore[call-overload]
    return np.asarray(back, np.float32)


def joined(way: NDArray[np.float32], back: NDArray[np.float32]) -> NDArray[np.float32]:
    """The way to the analysed frame: first `back` to the frame before, then that one's `way`.

    Ways are joined, masks are not moved on: rounding a mask to 0 or 1 at every frame would lose
    what moves less than a pixel a frame, for good.
    """
    rows, columns = np.mgrid[:FLOW_SIZE, :FLOW_SIZE].astype(np.float32)
    there = cv2.remap(
        way,
        columns + back[..., 0],
        rows + back[..., 1],
        cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REPLICATE,
    )
    return (back + there).astype(np.float32, copy=False)


def carried(mask: NDArray[np.uint8], way: NDArray[np.float32]) -> NDArray[np.uint8]:
    """The analysed frame's mask (s, s) uint8 0 or 1, as it lies at the end of the way."""
    if not mask.any():
        return mask
    size = mask.shape[0]
    scaled = cv2.resize(way, (size, size)) * (size / FLOW_SIZE)
    rows, columns = np.mgrid[:size, :size].astype(np.float32)
    soft = cv2.remap(
        mask * np.uint8(255), columns + scaled[..., 0], rows + scaled[..., 1], cv2.INTER_LINEAR
    )
    return (soft > 127).astype(np.uint8)


def _is_cut(before: NDArray[np.uint8], after: NDArray[np.uint8], back: NDArray[np.float32]) -> bool:
    rows, columns = np.mgrid[:FLOW_SIZE, :FLOW_SIZE].astype(np.float32)
    warped = cv2.remap(
        before,
        columns + back[..., 0],
        rows + back[..., 1],
        cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REPLICATE,
    )
    return float(cv2.absdiff(warped, after).mean()) > CUT_DIFFERENCE
