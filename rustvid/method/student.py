"""The student: the paper's encoder (Fig. 3) with a U-Net's other half; every pixel in one pass.

Input (B, H, W, 3) float32, RGB scaled x / 127.5 - 1, H and W multiples of 16. Output a dict:
"probability" (B,) float32 in [0, 1], p(corrosion) of the whole picture, from a local head (1×1
convolution on section 5 under log-sum-exp pooling); "evidence" (B, H/2, W/2) float32 in [0, 1],
probability of corrosion of every 2×2 pixels. Encoder layers carry the names of the paper's
classifier (conv1_1 … conv5_2) and fit it.

The network learns with standardised kernels (`build_trainable`), which cost nothing per pixel,
where batch normalisation in bfloat16 doubled the time of a training step on a CPU; `fold` turns
them into plain convolutions, so that at inference there is nothing but Fig. 3 and its mirror.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import layers, ops

from rustvid.method import network

STRIDE = 2  # pixels of the picture per pixel of evidence, each way
SHARPNESS = 4.0  # of log-sum-exp pooling: 0 is the mean, infinity the maximum
RELU_GAIN = 1.7139588594436646  # sqrt(2 / (1 - 1/pi)): ReLU of a unit normal has unit deviation

Maker = Callable[[str, int, int], Any]  # (layer name, filters, kernel size) → convolution + ReLU


class StandardConv(layers.Layer):  # type: ignore[misc]
    """Convolution + ReLU whose kernels have zero mean and a learned length per filter.

    Brock, De, Smith: "Characterizing signal propagation to close the performance gap in
    unnormalized ResNets", eq. 1 (scaled weight standardisation).
    """

    def __init__(self, filters: int, size: int, **options: Any) -> None:
        super().__init__(**options)
        self.filters, self.size = filters, size

    def build(self, shape: tuple[int | None, ...]) -> None:
        kernel = (self.size, self.size, shape[-1], self.filters)
        self.kernel = self.add_weight(kernel, "he_uniform", name="kernel", autocast=False)
        self.gain = self.add_weight((self.filters,), "ones", name="gain", autocast=False)
        self.bias = self.add_weight((self.filters,), "zeros", name="bias")

    def standardised(self) -> Any:
        """The kernel in use: (size, size, in, filters) float32."""
        mean = ops.mean(self.kernel, axis=(0, 1, 2), keepdims=True)
        variance = ops.var(self.kernel, axis=(0, 1, 2), keepdims=True)
        fan_in = self.size * self.size * self.kernel.shape[2]
        length = ops.rsqrt(variance * fan_in + 1e-6) * RELU_GAIN * self.gain
        return (self.kernel - mean) * length

    def call(self, x: Any) -> Any:
        kernel = ops.cast(self.standardised(), self.compute_dtype)
        return ops.relu(ops.conv(x, kernel, padding="same") + self.bias)


class LogSumExpPool(layers.Layer):  # type: ignore[misc]
    """Smooth maximum over positions: (B, h, w, 1) to (B,), ln(mean(exp(r x))) / r."""

    def call(self, local: Any) -> Any:
        peak = ops.max(local, axis=(1, 2), keepdims=True)
        mean = ops.mean(ops.exp(SHARPNESS * (local - peak)), axis=(1, 2, 3))
        return peak[:, 0, 0, 0] + ops.log(mean) / SHARPNESS


def _encode(image: Any, filters: int, make: Maker) -> list[Any]:
    """`network.encoder` with other convolutions: the outputs of the five sections."""
    outputs: list[Any] = []
    x = image
    for number, growth in enumerate(network.GROWTH, start=1):
        if outputs:
            x = layers.MaxPooling2D(2, name=f"pool{number - 1}")(x)
        for half in (1, 2):
            x = make(f"conv{number}_{half}", filters * growth, 3)(x)
        outputs.append(x)
    return outputs


def _decode(sections: list[Any], filters: int, make: Maker, dtype: str | None) -> Any:
    """Back up to half the picture's size, joining each section's output: (B, H/2, W/2, f)."""
    x = sections[-1]
    for number in range(len(sections) - 1, 1, -1):
        width = filters * network.GROWTH[number - 1] // 2
        x = make(f"up{number}_0", width, 1)(x)
        x = layers.UpSampling2D(2, interpolation="nearest", name=f"up{number}", dtype=dtype)(x)
        x = layers.Concatenate(name=f"join{number}", dtype=dtype)([x, sections[number - 1]])
        x = make(f"up{number}_1", width, 3)(x)
    return x


def _heads(sections: list[Any], pixels: Any) -> tuple[Any, Any]:
    """Logit of p(corrosion) (B,), logits of the evidence (B, H/2, W/2), both float32."""
    local = layers.Conv2D(1, 1, dtype="float32", name="local_head")(sections[-1])
    whole = LogSumExpPool(dtype="float32", name="local_pool")(local)
    marks = layers.Conv2D(1, 1, dtype="float32", name="evidence_head")(pixels)
    return whole, ops.squeeze(marks, axis=-1)


def build(filters: int, dtype: str = "float32") -> Any:
    """The network as it runs: plain convolutions, probabilities out."""

    def make(name: str, width: int, size: int) -> Any:
        return layers.Conv2D(width, size, padding="same", activation="relu", name=name, dtype=dtype)

    image = keras.Input((None, None, 3), name="image", dtype="float32")
    sections = network.encoder(image, filters, padding="same", dtype=dtype)
    whole, marks = _heads(sections, _decode(sections, filters, make, dtype))
    outputs = {"probability": ops.sigmoid(whole), "evidence": ops.sigmoid(marks)}
    return keras.Model(image, outputs, name="rustvid_student")


def build_trainable(filters: int) -> Any:
    """The network as it learns: standardised kernels, logits out under the same names."""

    def make(name: str, width: int, size: int) -> Any:
        return StandardConv(width, size, name=name)

    image = keras.Input((None, None, 3), name="image", dtype="float32")
    sections = _encode(image, filters, make)
    whole, marks = _heads(sections, _decode(sections, filters, make, None))
    return keras.Model(image, {"probability": whole, "evidence": marks}, name="rustvid_training")


def fold(trained: Any, filters: int, dtype: str = "float32") -> Any:
    """`build(filters)` that computes what `trained` does: standardised kernels become plain."""
    folded = build(filters, dtype)
    for layer in folded.layers:
        if not layer.weights:
            continue
        source = trained.get_layer(layer.name)
        standard = isinstance(source, StandardConv)
        kernel = source.standardised() if standard else source.kernel
        layer.set_weights(
            [
                np.asarray(ops.convert_to_numpy(ops.cast(value, "float32")))
                for value in (kernel, source.bias)
            ]
        )
    return folded
