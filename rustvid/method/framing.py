"""What the classifier looks at: the picture, framed by its own mirror image.

Valid convolutions lose the margin: the last map's 28×28 positions, 16 pixels apart, each seeing 140
pixels, stand for the middle 448 of 572 pixels. The paper stretches the map over all of them, which
moves what lies at the edge by a tenth of the picture's side. So the picture is put into the middle
and mirrored at its edges (the overlap-tile strategy; Ronneberger et al. 2015, "U-Net", Fig. 2), and
the map stands for the picture and nothing else.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from rustvid.method.sizes import CLASSIFIER_SIZE

FIELD = 140  # pixels of the picture, each way, that a position of the last map sees
POSITION = 16  # pixels of the picture from one position to the next
MARGIN = (FIELD - POSITION) // 2  # pixels on each side that no position stands for
_INSIDE = CLASSIFIER_SIZE - 2 * MARGIN


def framed(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(h, w, 3) uint8 RGB → (572, 572, 3): the picture at 448×448, and around it its mirror
    image."""
    inside = cv2.resize(picture, (_INSIDE, _INSIDE), interpolation=cv2.INTER_AREA)
    frame = cv2.copyMakeBorder(inside, MARGIN, MARGIN, MARGIN, MARGIN, cv2.BORDER_REFLECT_101)
    return np.asarray(frame, np.uint8)
