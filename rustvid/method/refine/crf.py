"""The fully connected CRF of Krähenbühl and Koltun (eq. 10). Only this file knows pydensecrf."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from pydensecrf import densecrf

from rustvid.config import CrfConfig

PAPER_SIZE = 572  # the size at which the two reaches are given
_FINITE = 1e-3  # from 0 and 1, so that odds stay finite


def crf(
    image: NDArray[np.uint8], energy: NDArray[np.float32], config: CrfConfig, iterations: int
) -> NDArray[np.uint8]:
    """Let a mask grow and shrink to the picture's edges and colours: where `marginal` is above ½.

    Returns (h, w) uint8, 0 or 1.
    """
    return (marginal(image, energy, config, iterations) > 0.5).astype(np.uint8)


def marginal(
    image: NDArray[np.uint8], energy: NDArray[np.float32], config: CrfConfig, iterations: int
) -> NDArray[np.float32]:
    """How probably each pixel is corroded, given all others.

    image: (h, w, 3) uint8 RGB; energy: (2, h·w) float32, −log p of (sound, corroded)
    Returns (h, w) float32 in [0, 1].
    """
    height, width = image.shape[:2]
    scale = max(height, width) / PAPER_SIZE
    field = densecrf.DenseCRF2D(width, height, 2)
    field.setUnaryEnergy(energy)
    smooth, appear = config.smoothness_sigma_xy * scale, config.appearance_sigma_xy * scale
    field.addPairwiseGaussian(sxy=smooth, compat=config.smoothness_weight)
    field.addPairwiseBilateral(
        sxy=appear,
        srgb=config.appearance_sigma_rgb,
        rgbim=np.ascontiguousarray(image),
        compat=config.appearance_weight,
    )
    _, corroded = np.asarray(field.inference(iterations), np.float32)
    return np.asarray(corroded.reshape(height, width))


def unary(mask: NDArray[np.uint8], confidence: float) -> NDArray[np.float32]:
    """−log p of (sound, corroded), (2, h·w) float32.

    Outside the mask p(corroded) is 1 − confidence; inside it goes from ½ to the confidence
    with the heat, so that a pixel which passed eq. 9 is never called sound by its heat alone.
    """
    strength = mask.ravel().astype(np.float32) / 255.0
    inside = 0.5 + (confidence - 0.5) * strength
    corroded = np.where(strength > 0, inside, 1.0 - confidence)
    energy: NDArray[np.float32] = -np.log(np.stack([1.0 - corroded, corroded]))
    return energy.astype(np.float32, copy=False)


def energy_of(evidence: NDArray[np.float32], level: float) -> NDArray[np.float32]:
    """−log p of (sound, corroded), (2, h·w) float32, of a student's evidence (h, w) in [0, 1].

    Its odds against those of `level`, so that a pixel of that evidence is neutral.
    """
    p, even = (np.clip(value, _FINITE, 1 - _FINITE) for value in (evidence, level))
    logit = np.log(p / (1 - p)) - np.log(even / (1 - even))
    energy = np.logaddexp(0, np.stack([logit.ravel(), -logit.ravel()]))
    return np.asarray(energy, np.float32)
