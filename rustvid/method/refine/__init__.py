"""Refine: one frame's evidence map and picture → its mask. NumPy and OpenCV, no TensorFlow.

evidence ─► enlarge ─► eq. 8–9 ─► K-means trim ─► erode ─► CRF 10    "advanced"
                               │                      └─► done          "kmeans"
                               └───────────────────────────► CRF 25    "crf"
                               └─► done                                "threshold"
         ├► above the level, without specks, done                      "student"
         └► CRF 10, above ½, without specks, done                      "student-crf"
"""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from rustvid.config import Method, RefineConfig
from rustvid.method.refine import fast, kmeans, threshold
from rustvid.method.refine.crf import crf, energy_of, unary
from rustvid.method.refine.fast import fast_crf
from rustvid.method.refine.specks import without_specks

# What "auto" means, by the kind of model whose evidence it is.
SETTLED: dict[str, Method] = {"student": "student", "classifier": "advanced"}
# The paper's "K-Means + CRF (Advanced)" and "Pure CRF"; student-crf as the former.
ITERATIONS = {"advanced": 10, "crf": 25, "student-crf": 10}


def check(config: RefineConfig) -> None:
    """Raise UsageError where the engine of the CRF cannot do what is asked of it."""
    if config.engine == "fast" and config.method in ("auto", *ITERATIONS):
        fast.check(config.crf, config.size)


def one_thread() -> None:
    """A worker's share is one core: its siblings have the others."""
    cv2.setNumThreads(1)


def refine(
    image: NDArray[np.uint8], evidence: NDArray[np.float32], config: RefineConfig
) -> NDArray[np.uint8]:
    """The mask of one corroded frame.

    image: (h, w, 3) uint8 RGB; evidence: (h', w') float32 in [0, 1], of the same view
    Method "auto" means "advanced" here: what the evidence is, the pipeline knows.
    Returns (config.size, config.size) uint8, 0 or 1.
    """
    size, method = config.size, "advanced" if config.method == "auto" else config.method
    if method in ("student", "student-crf"):
        level, least = config.level, config.least_region / 100 * size**2
        if method == "student-crf" and (evidence > level).any():  # else all speaks for sound
            evidence, level = _touched_up(image, evidence, config), 0.5
        above = threshold.enlarge(evidence, size) > level
        return without_specks(above.astype(np.uint8), least)
    heat = threshold.enlarge(evidence, size)
    mask = threshold.filtered(heat, level_of(evidence, config))
    if method == "threshold" or not mask.any():
        return (mask > 0).astype(np.uint8)
    picture = _working_picture(image, size)
    if method in ("advanced", "kmeans"):
        mask = _trimmed(picture, mask, config)
        if not mask.any():
            return mask
    if method == "kmeans":
        return (mask > 0).astype(np.uint8)
    return _inferred(picture, unary(mask, config.crf.confidence), config, method)


def _touched_up(
    image: NDArray[np.uint8], evidence: NDArray[np.float32], config: RefineConfig
) -> NDArray[np.float32]:
    """0 or 1 where the evidence lies, (h', w') float32: a finer grid than its own costs the CRF
    six times as much and finds the same (benchmarks/masks.md)."""
    height, width = evidence.shape
    picture = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
    energy = energy_of(evidence, config.level)
    light = replace(
        config.crf,
        appearance_weight=config.crf_share * config.crf.appearance_weight,
        smoothness_weight=config.crf_share * config.crf.smoothness_weight,
    )
    config = replace(config, crf=light)
    touched = _inferred(np.asarray(picture, np.uint8), energy, config, "student-crf")
    return touched.astype(np.float32)


def _inferred(
    picture: NDArray[np.uint8], energy: NDArray[np.float32], config: RefineConfig, method: str
) -> NDArray[np.uint8]:
    iterations = config.iterations or ITERATIONS[method]
    infer = fast_crf if config.engine == "fast" else crf
    return infer(picture, energy, config.crf, iterations)


def level_of(evidence: NDArray[np.float32], config: RefineConfig) -> float:
    """From which evidence a pixel may be corroded: a student's level, or a heat map's threshold."""
    if config.method in ("student", "student-crf"):
        return config.level
    return threshold.dynamic_threshold(evidence) if config.threshold is None else config.threshold


def _working_picture(image: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    if image.shape[:2] == (size, size):
        return image
    return cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA).astype(np.uint8)


def _trimmed(
    picture: NDArray[np.uint8], mask: NDArray[np.uint8], config: RefineConfig
) -> NDArray[np.uint8]:
    cluster = kmeans.two_colours(picture, config.kmeans_pixels, config.seed)
    return kmeans.erode(kmeans.trim(mask, cluster), config.erosion)
