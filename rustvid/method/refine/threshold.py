"""Rescale and filter: from a coarse heat map to a first mask (eq. 8–9)."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray


def enlarge(evidence: NDArray[np.float32], size: int) -> NDArray[np.float32]:
    """(h, w) → (size, size) float32, by linear interpolation ("Workflow")."""
    enlarged = cv2.resize(evidence, (size, size), interpolation=cv2.INTER_LINEAR)
    return enlarged.astype(np.float32, copy=False)


def dynamic_threshold(heat: NDArray[np.float32]) -> float:
    """T = 1 − (max H − mean H), of the small heat map H in [0, 1] (eq. 8)."""
    return float(1.0 - (heat.max() - heat.mean()))


def filtered(heat: NDArray[np.float32], threshold: float) -> NDArray[np.uint8]:
    """H where H ≥ T, else 0 (eq. 9), as uint8 0–255 by nearest rounding. Any shape."""
    kept = np.where(heat >= threshold, heat, 0.0)
    return np.rint(kept * 255.0).astype(np.uint8)
