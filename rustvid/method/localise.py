"""Localise: Grad-CAM++ (eq. 4–7) in closed form.

The head is one neuron, linear in the last feature map: s = Σ g·A + b with s the logit of
corrosion. So every derivative of eq. 5–7 is an expression in g, and no autodiff is needed:

    score     first          second               third
    exp(s)    e·g            e·g²                 e·g³              e = exp(s)
    p = σ(s)  d·g            d·(1−2p)·g²          d·(1−6p+6p²)·g³   d = p(1−p)

The common factor (e or d) cancels in eq. 7, and in eq. 6 when the map is divided by its
maximum. It is left out: the map stays alive where p saturates and d vanishes. So is g², which
cancels in eq. 7: of a weight near zero it may be too small to divide by.
"""

from __future__ import annotations

from typing import Any

from keras import ops


def grad_cam_plus_plus(features: Any, weights: Any, probability: Any, score: str) -> Any:
    """Heat map of corrosion, one pass, no gradient.

    features: (B, h, w, K) float32, after the ReLU
    weights: (1, h, w, K) float32, g: the head's weights towards corrosion
    probability: (B,) float32 p(corrosion); used by the score "sigmoid"
    score: "exp" (Chattopadhay et al., eq. 19) or "sigmoid"
    Returns (B, h, w) float32 in [0, 1]; all zeros where nothing speaks for corrosion.
    """
    first = ops.relu(weights) * ops.cast(features > 0, "float32")  # eq. 6: ∂s/∂A where it is for
    second, third = 1.0, 1.0  # of g² and g³, without g²
    if score == "sigmoid":
        p = ops.reshape(probability, (-1, 1, 1, 1))
        second, third = 1 - 2 * p, 1 - 6 * p + 6 * p**2
    total = ops.sum(features, axis=(1, 2), keepdims=True)
    denominator = 2 * second + total * first * third
    safe = ops.abs(denominator) > 1e-30
    alpha = ops.where(safe, second / ops.where(safe, denominator, 1.0), 0.0)  # eq. 7
    importance = ops.sum(alpha * first, axis=(1, 2), keepdims=True)  # eq. 6
    return _scaled(ops.relu(ops.sum(importance * features, axis=-1)))  # eq. 4


def grad_cam(features: Any, weights: Any) -> Any:
    """Heat map of corrosion by Grad-CAM (Selvaraju et al.): every filter by its mean gradient.

    Arguments and result as of `grad_cam_plus_plus`.
    """
    gradient = weights * ops.cast(features > 0, "float32")
    importance = ops.mean(gradient, axis=(1, 2), keepdims=True)
    return _scaled(ops.relu(ops.sum(importance * features, axis=-1)))


def signed_evidence(features: Any, weights: Any) -> Any:
    """What each position adds to the logit of corrosion: Σ_k g A, for and against.

    Grad-CAM++ throws away what speaks against. Arguments as of `grad_cam_plus_plus`; returns
    (B, h, w) float32 in [0, 1]: ½ speaks neither way, and the strongest position is at 0 or 1.
    """
    signed = ops.sum(weights * features, axis=-1)
    peak = ops.max(ops.abs(signed), axis=(1, 2), keepdims=True)
    return 0.5 + 0.5 * signed / ops.where(peak > 0, peak, 1.0)


def _scaled(heat: Any) -> Any:
    peak = ops.max(heat, axis=(1, 2), keepdims=True)
    return heat / ops.where(peak > 0, peak, 1.0)
