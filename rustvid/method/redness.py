"""The frame's own colours as evidence: rust is redder than what it lies on.

No fixed colour is rust: one camera's grey is another's brown. But iron oxides absorb blue and
green, so within one frame rust is redder than the rest, whatever the white balance. The rest is
known well enough, for it is where the network found nothing.

    logit(evidence) + gain · (a* − median a* of the rest)          a*: CIELAB, green − to red +
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

NOTHING = 0.05  # evidence up to which a pixel is of the rest …
REST = 0.3  # … or as many of the least evident as make this share of the frame
SURE = 1e-4  # evidence is kept so far from 0 and 1: a logit is finite
FAR = 20.0  # logits beyond this are 0 or 1 anyway, and their exponential may not exist
GRAIN = 1.0  # standard deviation, in positions, of the blur against chroma noise and JPEG blocks


def weighed(
    evidence: NDArray[np.float32], image: NDArray[np.uint8], gain: float
) -> NDArray[np.float32]:
    """The evidence, higher where the picture is redder than the rest of it.

    evidence: (h, w) float32 in [0, 1]; image: (H, W, 3) uint8 RGB of the same view; gain: logits
    per unit of a* (OpenCV's 8-bit scale); 0 changes nothing. Returns (h, w) float32 in [0, 1].
    """
    if gain == 0:
        return evidence
    height, width = evidence.shape
    small = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
    lab = cv2.cvtColor(small, cv2.COLOR_RGB2LAB)
    redness = cv2.GaussianBlur(lab[..., 1].astype(np.float32), (0, 0), GRAIN)
    every = evidence[::2, ::2]  # enough positions to know a median
    rest = every <= max(NOTHING, float(np.quantile(every, REST)))
    above = redness - float(np.median(redness[::2, ::2][rest]))
    known = np.clip(evidence, SURE, 1 - SURE)
    logit = np.log(known / (1 - known)) + np.float32(gain) * above
    return np.asarray(1 / (1 + np.exp(-np.clip(logit, -FAR, FAR))), np.float32)
