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

    def follow(self, localised: Localised) -> Refined:
        """Move the mask to this frame."""
        if self._gray is None:  # made only when a frame is tracked at all
            self._gray = small_gray(self._image)
        gray = small_gray(localised.frame.image)
        if self._mask.any():
            self._mask = moved(self._mask, self._gray, gray)
        self._gray = gray
        return Refined(localised, self._mask, mask_from="tracked")


def small_gray(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(h, w, 3) uint8 RGB → (286, 286) uint8."""
    small = cv2.resize(image, (FLOW_SIZE, FLOW_SIZE), interpolation=cv2.INTER_AREA)
    return cv2.cvtColor(small, cv2.COLOR_RGB2GRAY).astype(np.uint8, copy=False)


def moved(
    mask: NDArray[np.uint8], before: NDArray[np.uint8], after: NDArray[np.uint8]
) -> NDArray[np.uint8]:
    """The mask (s, s) uint8 0 or 1 of the picture `before`, as it lies in the picture `after`."""
    flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST)
    back = flow.calc(after, before, None)  # type: ignore[call-overload]
    if _is_cut(before, after, back):
        return np.zeros_like(mask)
    size = mask.shape[0]
    scaled = cv2.resize(back, (size, size)) * (size / FLOW_SIZE)
    rows, columns = np.mgrid[:size, :size].astype(np.float32)
    carried = cv2.remap(
        mask * np.uint8(255), columns + scaled[..., 0], rows + scaled[..., 1], cv2.INTER_LINEAR
    )
    return (carried > 127).astype(np.uint8)


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
