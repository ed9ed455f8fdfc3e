"""The student: an encoder that has seen the world, and a U-Net's other half; pixels in one pass.

Input (B, H, W, 3) float32, RGB scaled x / 127.5 - 1, H and W multiples of 32. Output a dict:
"probability" (B,) float32 in [0, 1], p(corrosion) of the whole picture; "evidence" (B, H/2, W/2)
float32 in [0, 1], probability of corrosion of every 2×2 pixels.

The encoder is EfficientNet-Lite0 with ImageNet's image labels behind it. The paper's own (Fig. 3)
learned from scratch on these few thousand photographs what company rust keeps, not rust.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import layers, ops

from rustvid.method import efficientnet

STRIDE = 2  # pixels of the picture per pixel of evidence, each way
WIDTHS = (96, 64, 48, 32)  # filters of the way back up, at strides 16, 8, 4 and 2
CALM = 0.1  # the encoder's features reach ±100, and a fresh convolution expects about ±1


def build(dtype: str | None = "float32", *, logits: bool = False) -> Any:
    """The network; logits: leave out the sigmoids, as the losses want it."""
    image = keras.Input((None, None, 3), name="image", dtype="float32")
    features = efficientnet.encoder(image, dtype)
    whole = _whole(efficientnet.top(features[-1], dtype))
    marks = _marks(_up(features, dtype))
    if not logits:
        whole, marks = ops.sigmoid(whole), ops.sigmoid(marks)
    outputs = {"probability": whole, "evidence": marks}
    return keras.Model(image, outputs, name="rustvid_student")


def _up(features: list[Any], dtype: str | None) -> Any:
    """Back up to half the picture's size, joining the features met on the way: (B, H/2, W/2, f)."""
    calm = [layers.Rescaling(CALM, name=f"calm{i}", dtype=dtype)(f) for i, f in enumerate(features)]
    x = calm.pop()
    for number, width in zip((4, 3, 2, 1), WIDTHS, strict=True):
        x = efficientnet.convolution(f"up{number}_0", width, 1, dtype, activation="relu")(x)
        x = layers.UpSampling2D(2, interpolation="nearest", name=f"up{number}", dtype=dtype)(x)
        x = layers.Concatenate(name=f"join{number}", dtype=dtype)([x, calm.pop()])
        x = efficientnet.convolution(f"up{number}_1", width, 3, dtype, activation="relu")(x)
    return x


def _whole(features: Any) -> Any:
    """Logit of p(corrosion) of the whole picture, (B,) float32."""
    mean = layers.GlobalAveragePooling2D(dtype="float32", name="mean")(features)
    return ops.squeeze(layers.Dense(1, dtype="float32", name="whole_head")(mean), axis=-1)


def _marks(pixels: Any) -> Any:
    """Logits of the evidence, (B, H/2, W/2) float32."""
    head = layers.Conv2D(1, 1, dtype="float32", name="evidence_head")
    return ops.squeeze(head(pixels), axis=-1)
