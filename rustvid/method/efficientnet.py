"""EfficientNet-Lite0, the student's encoder (Tan & Le 2019; the Lite variant has no squeeze and
excitation, and ReLU6 for swish, so that it is quick on any processor).

Keras 3 operations only. Batch normalisation is folded into the convolutions already: it was fixed
when the network learned ImageNet, and stays so while it learns rust.
"""

from __future__ import annotations

from typing import Any

from keras import layers

# (blocks, expansion, kernel size, stride of the first, filters) of the seven stages, Table 1
STAGES = (
    (1, 1, 3, 1, 16),
    (2, 6, 3, 2, 24),
    (2, 6, 5, 2, 40),
    (3, 6, 3, 2, 80),
    (3, 6, 5, 1, 112),
    (4, 6, 5, 2, 192),
    (1, 6, 3, 1, 320),
)
STEM, TOP = 32, 1280  # filters before the first stage and after the last


def encoder(image: Any, dtype: str | None = None, prefix: str = "") -> list[Any]:
    """Features at strides 2, 4, 8, 16 and 32, finest first: 16, 24, 40, 112 and 320 of them.

    image: (B, H, W, 3), RGB / 127.5 - 1, H and W multiples of 32
    prefix: of the layers' names, where a model has two encoders
    """
    outputs: list[Any] = []
    x = convolution(f"{prefix}stem", STEM, 3, dtype, stride=2, activation="relu6")(image)
    for number, (blocks, expansion, kernel, stride, filters) in enumerate(STAGES, start=1):
        for block in range(1, blocks + 1):
            if block == 1 and stride == 2:
                outputs.append(x)
            name = f"{prefix}stage{number}_{block}"
            step = stride if block == 1 else 1
            y = _inverted_residual(x, name, expansion, kernel, step, filters, dtype)
            x = y if block == 1 else layers.Add(name=f"{name}_add", dtype=dtype)([x, y])
    return [*outputs, x]


def top(features: Any, dtype: str | None = None, prefix: str = "") -> Any:
    """The last 1×1 convolution: 1,280 features at stride 32, what ImageNet's classes rest on."""
    return convolution(f"{prefix}top", TOP, 1, dtype, activation="relu6")(features)


def _inverted_residual(
    x: Any, name: str, expansion: int, kernel: int, stride: int, filters: int, dtype: str | None
) -> Any:
    """Widen by 1×1, look around channel by channel, narrow by 1×1 without a non-linearity."""
    if expansion > 1:
        wide = x.shape[-1] * expansion
        x = convolution(f"{name}_expand", wide, 1, dtype, activation="relu6")(x)
    x = layers.DepthwiseConv2D(
        kernel,
        strides=stride,
        padding="same",
        activation="relu6",
        name=f"{name}_depth",
        dtype=dtype,
    )(x)
    return convolution(f"{name}_project", filters, 1, dtype)(x)


def convolution(
    name: str,
    filters: int,
    size: int,
    dtype: str | None,
    *,
    stride: int = 1,
    activation: str | None = None,
) -> Any:
    """A convolution that keeps the picture's size (over its stride)."""
    return layers.Conv2D(
        filters,
        size,
        strides=stride,
        padding="same",
        activation=activation,
        kernel_initializer="he_uniform",
        name=name,
        dtype=dtype,
    )
