"""The paper's classifier (Fig. 3): the encoder half of a U-Net and one sigmoid neuron.

Keras 3 operations only, so it runs on any Keras backend.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import layers, ops
from numpy.typing import NDArray

from rustvid.errors import ModelError
from rustvid.files import replacing
from rustvid.method.localise import grad_cam_plus_plus
from rustvid.method.sizes import CLASSIFIER_SIZE

GROWTH = (1, 2, 4, 8, 16)  # filters of the five sections over those of the first
PAPER_FILTERS = 64


def encoder(
    image: Any, filters: int, *, padding: str = "valid", dtype: str = "float32"
) -> list[Any]:
    """Five sections of two 3×3 convolutions + ReLU, with 2×2 max pooling between (Fig. 3).

    image: (B, H, W, 3), RGB / 127.5 − 1. Returns the five sections' outputs, finest first.
    """
    outputs: list[Any] = []
    x = image
    for number, growth in enumerate(GROWTH, start=1):
        if outputs:
            x = layers.MaxPooling2D(2, name=f"pool{number - 1}", dtype=dtype)(x)
        for half in (1, 2):
            x = convolution(f"conv{number}_{half}", filters * growth, padding, dtype)(x)
        outputs.append(x)
    return outputs


def convolution(name: str, filters: int, padding: str, dtype: str) -> Any:
    """One 3×3 convolution + ReLU (eq. 1), He uniform."""
    return layers.Conv2D(
        filters,
        3,
        padding=padding,
        activation="relu",
        kernel_initializer="he_uniform",
        name=name,
        dtype=dtype,
    )


class GradCamHead(layers.Layer):  # type: ignore[misc]
    """The sigmoid neuron on the flattened map, with Grad-CAM++ beside it.

    (B, h, w, K) → p(corrosion) (B,) float32, heat map (B, h, w) float32 in [0, 1].
    The neuron's own answer is 0 for corrosion and 1 for not corrosion, as in the paper.
    """

    def __init__(self, score: str, **options: Any) -> None:
        super().__init__(**options)
        self.score = score

    def build(self, shape: tuple[int | None, ...]) -> None:
        size = int(np.prod([side for side in shape[1:] if side is not None]))
        self.kernel = self.add_weight((size, 1), initializer="he_uniform", name="kernel")
        self.bias = self.add_weight((1,), initializer="zeros", name="bias")

    def call(self, features: Any) -> tuple[Any, Any]:
        features = ops.cast(features, "float32")
        flat = ops.reshape(features, (-1, self.kernel.shape[0]))
        clean_logit = ops.matmul(flat, self.kernel)[:, 0] + self.bias[0]
        probability = ops.sigmoid(-clean_logit)  # eq. 2, of the class corrosion
        weights = ops.reshape(-self.kernel, (1, *features.shape[1:]))
        return probability, grad_cam_plus_plus(features, weights, probability, self.score)


def build(filters: int, *, score: str = "exp", dtype: str = "float32") -> Any:
    """The classifier with its heat map.

    (B, 572, 572, 3) float32 in [−1, 1] → {"probability": (B,), "evidence": (B, 28, 28)} float32.
    """
    image = keras.Input((CLASSIFIER_SIZE, CLASSIFIER_SIZE, 3), name="image")
    features = encoder(image, filters, dtype=dtype)[-1]
    probability, heat = GradCamHead(score, name="head", dtype="float32")(features)
    return keras.Model(image, {"probability": probability, "evidence": heat}, name="rustseg")


def assign_weights(
    model: Any, arrays: Mapping[str, NDArray[Any]], origin: str, *, partial: bool = False
) -> None:
    """Put arrays into the layers of their names; every variable must be there (unless partial)
    and fit. Raises ModelError."""
    for layer in model.layers:
        for variable in layer.weights:
            key = f"{layer.name}/{variable.name}"
            if key not in arrays:
                if partial:
                    continue
                raise ModelError(f"{origin}: lacks {key}; these weights are of another network")
            value = arrays[key]
            if tuple(value.shape) != tuple(variable.shape):
                raise ModelError(
                    f"{origin}: {key} has shape {tuple(value.shape)}, this network needs "
                    f"{tuple(variable.shape)}; use weights of the same network"
                )
            if value.dtype.kind != "f" or not np.isfinite(value).all():
                raise ModelError(f"{origin}: {key} holds values that are not finite numbers")
            variable.assign(value.astype("float32"))


def save_weights(model: Any, path: Path) -> None:
    """Write all weights of a model as float16 arrays "<layer>/<variable>"; raises SinkError."""
    arrays = {
        f"{layer.name}/{variable.name}": ops.convert_to_numpy(variable).astype("float16")
        for layer in model.layers
        for variable in layer.weights
    }
    with replacing(path) as part:
        np.savez_compressed(part, **arrays)
