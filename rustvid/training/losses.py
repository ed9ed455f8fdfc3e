"""What the student minimises. Labels below 0 are unknown and do not count."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from keras import ops

Loss = Callable[[Any, Any], Any]
SMOOTH = 0.02  # of the whole picture's label: a few photos lie in the wrong folder


def _entropy(target: Any, logit: Any) -> Any:
    """Cross entropy of a probability target with sigmoid(logit), element by element."""
    return ops.relu(logit) - logit * target + ops.softplus(-ops.abs(logit))


def pixel_loss(dice_weight: float) -> Loss:
    """Cross entropy of the known pixels plus Dice over the batch."""

    def loss(label: Any, logit: Any) -> Any:
        known = ops.cast(label >= 0, "float32")
        target = ops.maximum(label, 0.0)
        entropy = ops.sum(_entropy(target, logit) * known) / (ops.sum(known) + 1.0)
        p = ops.sigmoid(logit) * known
        both = 2 * ops.sum(p * target) + 1.0
        return entropy + dice_weight * (1 - both / (ops.sum(p) + ops.sum(target) + 1.0))

    return loss


def image_loss(label: Any, logit: Any) -> Any:
    """Cross entropy of the pictures whose label is known."""
    known = ops.cast(label >= 0, "float32")
    target = ops.maximum(label, 0.0) * (1 - 2 * SMOOTH) + SMOOTH
    return ops.sum(_entropy(target, logit) * known) / (ops.sum(known) + 1e-3)
