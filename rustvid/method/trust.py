"""How far to trust a frame's mask: the paper's failure modes by name, and a confidence.

The confidence is one minus the expected error of the corroded area, as a share of the frame: with
probability p the frame is corroded and the doubtful pixels are the error, else all of the mask is.

    error ≈ p · doubt + (1 − p) · area    doubt: mean of 1 − |e − level| / (way to 0 or 1)

A frame that is not called corroded has no evidence map; its error is p times the area that rust
has where there is any. It orders frames by their error; it is not calibrated. Every flag halves it.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from rustvid.config import RefineConfig
from rustvid.frames import Refined, Trust
from rustvid.method.refine import level_of

ALL_RUST = "all-rust"  # the mask is nearly the whole frame
EXCEEDS_HEAT = "mask-exceeds-heat"  # the mask is much larger than what is hot
WRONG_CLUSTER = "kmeans-wrong-cluster"  # there is less evidence inside the mask than outside
SHADOW = "shadow"  # what is marked is dark and colourless against the rest
FLAGS = (ALL_RUST, EXCEEDS_HEAT, WRONG_CLUSTER, SHADOW)

GRID = 144  # everything is looked at on so many positions each way: below 1 ms a frame
WHOLE = 0.9  # share of the frame from which a mask is "nearly all"
LEAST = 0.002  # share of the frame below which a mask is too small to be flagged
TIMES_HOT = 2.0  # a mask this many times the hot area exceeds it
DARK, DARKER = 70.0, 0.6  # mean brightness (0–255) of a shadow, and against the rest
COLOURLESS = 25.0  # mean of max − min over R, G, B below which a surface has no colour
TYPICAL_AREA = 0.25  # share of rust in pictures that hold some


def trust(refined: Refined, config: RefineConfig) -> Trust | None:
    """Of a frame that was looked at and refined; None where it was tracked or failed.

    config: the refinement that made the mask, its method settled
    """
    probability = refined.probability
    if probability is None or refined.mask_from != "analysed":
        return None
    image, mask = refined.frame.image, refined.working_mask
    return judge(image, probability, refined.evidence, mask, config)


def judge(
    image: NDArray[np.uint8],
    probability: float,
    evidence: NDArray[np.float32] | None,
    mask: NDArray[np.uint8],
    config: RefineConfig,
) -> Trust:
    """Flags and confidence of one frame.

    image: (h, w, 3) uint8 RGB; evidence: (h', w') float32 in [0, 1], None where the frame is not
    called corroded; mask: (s, s) uint8 0 or 1; all of the same view
    """
    if evidence is None:
        return Trust(1.0 - TYPICAL_AREA * probability, ())
    level = level_of(evidence, config)
    heat = cv2.resize(evidence, (GRID, GRID), interpolation=cv2.INTER_LINEAR)
    marked = cv2.resize(mask, (GRID, GRID), interpolation=cv2.INTER_NEAREST) > 0
    picture = cv2.resize(image, (GRID, GRID), interpolation=cv2.INTER_NEAREST)
    area = float(marked.mean())
    flags = tuple(_flags(np.asarray(picture), np.asarray(heat), marked, area, level))
    error = probability * _doubt(np.asarray(heat), level) + (1 - probability) * area
    return Trust(float(1 - min(error, 1.0)) * 0.5 ** len(flags), flags)


def _doubt(heat: NDArray[np.float32], level: float) -> float:
    """Mean over the frame of how near the evidence is to the level: 1 at it, 0 at 0 and at 1."""
    level = min(max(level, 0.01), 0.99)
    below, above = heat / level, (1 - heat) / (1 - level)
    return float(np.minimum(below, above).mean())


def _flags(
    picture: NDArray[np.uint8],
    heat: NDArray[np.float32],
    marked: NDArray[np.bool_],
    area: float,
    level: float,
) -> list[str]:
    if area > WHOLE:
        return [ALL_RUST]  # there is no rest to compare with
    if area < LEAST:
        return []
    found = []
    if area > TIMES_HOT * float((heat >= level).mean()) + LEAST:
        found.append(EXCEEDS_HEAT)
    if _mean(heat, marked) < _mean(heat, ~marked):
        found.append(WRONG_CLUSTER)
    if _is_shadow(picture, marked):
        found.append(SHADOW)
    return found


def _is_shadow(picture: NDArray[np.uint8], marked: NDArray[np.bool_]) -> bool:
    brightest = cv2.max(cv2.max(picture[..., 0], picture[..., 1]), picture[..., 2])
    inside = _mean(brightest, marked)
    if inside > DARK or inside > DARKER * _mean(brightest, ~marked):
        return False
    dimmest = cv2.min(cv2.min(picture[..., 0], picture[..., 1]), picture[..., 2])
    return inside - _mean(dimmest, marked) < COLOURLESS


def _mean(values: NDArray[Any], where: NDArray[np.bool_]) -> float:
    """Of the values there; NumPy would copy them first, which takes ten times as long."""
    return float(cv2.mean(values, where.view(np.uint8))[0])
