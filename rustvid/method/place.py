"""Where the classifier's heat map lies: valid convolutions leave positions for the middle only.

The last map has 28×28 positions, 16 pixels apart, of which each sees 140 pixels: the first stands
62 pixels from the picture's edge. The paper stretches the map over the whole picture, which moves
what lies at its edge by a tenth of its side.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

FIELD = 140  # pixels of the picture, each way, that a position sees
POSITION = 16  # pixels of the picture from one position to the next
_MARGIN = round((FIELD - POSITION) / 2 / POSITION)  # in positions: 64 pixels for 62


def placed(heat: NDArray[np.float32]) -> NDArray[np.float32]:
    """(n, h, w) → (n, h + 8, w + 8): the map of the whole picture. The margin, for which no
    position stands, gets its neighbours' values."""
    return np.pad(heat, ((0, 0), (_MARGIN, _MARGIN), (_MARGIN, _MARGIN)), mode="edge")
