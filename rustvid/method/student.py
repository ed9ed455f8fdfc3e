"""The student: the paper's encoder (Fig. 3) with a U-Net's other half; every pixel in one pass.

Input (B, H, W, 3) float32, RGB scaled x / 127.5 - 1, H and W multiples of 16. Output a dict:
"probability" (B,) float32 in [0, 1], p(corrosion) of the whole picture, from the mean and the
maximum of every feature of section 5; "evidence" (B, H/2, W/2) float32 in [0, 1],
probability of corrosion of every 2×2 pixels. Encoder layers carry the names of the paper's
classifier (conv1_1 … conv5_2) and fit it.

While it learns (`build_trainable`) every convolution has batch normalisation, with statistics
from every few pixels and applied to the kernel: the usual form, which touches every pixel,
doubled the time of a training step on a CPU. `fold` turns it into plain convolutions, so that
at inference there is nothing but Fig. 3 and its mirror.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np
from keras import layers, ops
from numpy.typing import NDArray

from rustvid.method import network

STRIDE = 2  # pixels of the picture per pixel of evidence, each way
MOMENTUM, EPSILON = 0.97, 1e-5  # of batch normalisation
START = 0.1  # deviation of kernels at the start: the same for all layers, for the same pace

Maker = Callable[[str, int, int], Any]  # (layer name, filters, kernel size) → convolution + ReLU


class NormalisedConv(layers.Layer):  # type: ignore[misc]
    """Convolution, batch normalisation and ReLU at the cost of the convolution.

    Normalising W x is convolving with a scaled W: γ (W x − μ) / σ + β = W' x + b'. While training
    μ and σ are those of the batch, taken at every `step`-th position each way.
    """

    def __init__(self, filters: int, size: int, step: int, **options: Any) -> None:
        super().__init__(**options)
        self.filters, self.size, self.step = filters, size, step

    def build(self, shape: tuple[int | None, ...]) -> None:
        kernel = (self.size, self.size, shape[-1], self.filters)
        start = keras.initializers.RandomNormal(stddev=START)
        self.kernel = self.add_weight(kernel, start, name="kernel", autocast=False)
        width = (self.filters,)
        self.gamma = self.add_weight(width, "ones", name="gamma", autocast=False)
        self.beta = self.add_weight(width, "zeros", name="beta", autocast=False)
        fixed = {"trainable": False, "autocast": False}
        self.mean = self.add_weight(width, "zeros", name="mean", **fixed)
        self.variance = self.add_weight(width, "ones", name="variance", **fixed)

    def call(self, x: Any, training: bool = False) -> Any:
        mean, variance = self._batch(x) if training else (self.mean, self.variance)
        kernel, bias = (ops.cast(value, self.compute_dtype) for value in self.plain(mean, variance))
        return ops.relu(ops.conv(x, kernel, padding="same") + bias)

    def plain(self, mean: Any = None, variance: Any = None) -> tuple[Any, Any]:
        """(W', b') float32, by the running statistics if no others are given."""
        mean = self.mean if mean is None else mean
        variance = self.variance if variance is None else variance
        scale = self.gamma * ops.rsqrt(variance + EPSILON)
        return self.kernel * scale, self.beta - mean * scale

    def _batch(self, x: Any) -> tuple[Any, Any]:
        """Mean and variance of W x over a part of the batch; keeps the running statistics."""
        kernel = ops.cast(self.kernel, self.compute_dtype)
        some = ops.cast(ops.conv(x, kernel, strides=self.step, padding="valid"), "float32")
        mean, variance = ops.moments(some, axes=(0, 1, 2))
        self.mean.assign(MOMENTUM * self.mean + (1 - MOMENTUM) * mean)
        self.variance.assign(MOMENTUM * self.variance + (1 - MOMENTUM) * variance)
        return mean, variance


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
    mean = layers.GlobalAveragePooling2D(dtype="float32", name="mean")(sections[-1])
    most = layers.GlobalMaxPooling2D(dtype="float32", name="most")(sections[-1])
    pooled = layers.Concatenate(dtype="float32", name="pooled")([mean, most])
    whole = layers.Dense(1, dtype="float32", name="whole_head")(pooled)
    marks = layers.Conv2D(1, 1, dtype="float32", name="evidence_head")(pixels)
    return ops.squeeze(whole, axis=-1), ops.squeeze(marks, axis=-1)


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
    """The network as it learns: batch normalisation, logits out under the same names."""

    def make(name: str, width: int, size: int) -> Any:
        fine = filters * 4 > width  # the finest sections have pixels to spare
        return NormalisedConv(width, size, 4 if fine else 3, name=name)

    image = keras.Input((None, None, 3), name="image", dtype="float32")
    sections = _encode(image, filters, make)
    whole, marks = _heads(sections, _decode(sections, filters, make, None))
    return keras.Model(image, {"probability": whole, "evidence": marks}, name="rustvid_training")


def fold(trained: Any, filters: int, dtype: str = "float32") -> Any:
    """`build(filters)` that computes what `trained` does in inference."""
    folded = build(filters, dtype)
    for layer in folded.layers:
        if not layer.weights:
            continue
        source = trained.get_layer(layer.name)
        normalised = isinstance(source, NormalisedConv)
        values = source.plain() if normalised else (source.kernel, source.bias)
        layer.set_weights([ops.convert_to_numpy(ops.cast(v, "float32")) for v in values])
    return folded


def adopt(trained: Any, arrays: Mapping[str, NDArray[Any]], pictures: NDArray[np.float32]) -> None:
    """Begin with the encoder of another network: the same function of the same picture.

    pictures: (B, h, w, 3) in [-1, 1]; their statistics become those of the normalisation.
    """
    x = ops.convert_to_tensor(pictures, "float32")
    for number in range(1, len(network.GROWTH) + 1):
        x = x if number == 1 else ops.max_pool(x, 2, padding="valid")
        for half in (1, 2):
            name = f"conv{number}_{half}"
            kernel = arrays[f"{name}/kernel"].astype("float32")
            bias = arrays[f"{name}/bias"].astype("float32")
            larger = START / kernel.std()
            seen = ops.conv(x, kernel, padding="same")
            mean, variance = (ops.convert_to_numpy(v) for v in ops.moments(seen, (0, 1, 2)))
            layer = trained.get_layer(name)
            variance = variance * larger**2
            values = (kernel * larger, np.sqrt(variance + EPSILON) / larger, mean + bias)
            layer.set_weights([*values, mean * larger, variance])
            x = ops.relu(seen + bias)
