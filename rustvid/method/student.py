"""The student: an encoder that has seen the world, and a U-Net's other half; pixels in one pass.

Input (B, H, W, 3) float32, RGB scaled x / 127.5 - 1, H and W multiples of 32. Output a dict:
"probability" (B,) float32 in [0, 1], p(corrosion) of the whole picture; "evidence" (B, H/2, W/2)
float32 in [0, 1], probability of corrosion of every 2×2 pixels.

The encoder is EfficientNet-Lite0 with ImageNet's image labels behind it. The paper's own (Fig. 3)
learned from scratch on these few thousand photographs what company rust keeps, not rust.

Learning rust from composites, the encoder forgets what else there is in the world. So p(corrosion)
has a second witness, of which a student may do without: the same encoder as ImageNet left it, and
one linear neuron on its features (a linear probe; Kumar et al. 2022 on why it errs less on pictures
from elsewhere). It sees the picture small, so it costs little more.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
from keras import layers, ops

from rustvid.method import efficientnet

STRIDE = 2  # pixels of the picture per pixel of evidence, each way
WIDTHS = (96, 64, 48, 32)  # filters of the way back up, at strides 16, 8, 4 and 2
WORLD = "world_"  # before the names of the second encoder's layers
WORLD_SIZE = 224  # pixels, of the picture that it sees, each way
CALM = 0.1  # the encoder's features reach ±100, and a fresh convolution expects about ±1


def build(dtype: str | None = "float32", *, logits: bool = False, world: bool = False) -> Any:
    """The network; logits: leave out the sigmoids, as the losses want it; world: with the second
    encoder, whose answer is added to the first's as one independent witness's to another's."""
    image = keras.Input((None, None, 3), name="image", dtype="float32")
    features = efficientnet.encoder(image, dtype)
    whole = _whole(efficientnet.top(features[-1], dtype))
    if world:
        whole = whole + _whole(known(image, dtype), WORLD)
    marks = _marks(_up(features, dtype))
    if not logits:
        whole, marks = ops.sigmoid(whole), ops.sigmoid(marks)
    outputs = {"probability": whole, "evidence": marks}
    return keras.Model(image, outputs, name="rustvid_student")


def knows_world(arrays: Mapping[str, Any]) -> bool:
    """Whether a student of these weights has the second encoder."""
    return f"{WORLD}whole_head/kernel" in arrays


def known(image: Any, dtype: str | None = "float32") -> Any:
    """What the second encoder knows of a picture (B, H, W, 3): (B, 7, 7, 1280).

    It sees 224×224, as when it learned ImageNet; of 448×448 these are the means of 2×2 pixels.
    """
    small = ops.image.resize(image, (WORLD_SIZE, WORLD_SIZE), interpolation="bilinear")
    return efficientnet.top(efficientnet.encoder(small, dtype, WORLD)[-1], dtype, WORLD)


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


def _whole(features: Any, prefix: str = "") -> Any:
    """Logit of p(corrosion) of the whole picture, (B,) float32."""
    mean = layers.GlobalAveragePooling2D(dtype="float32", name=f"{prefix}mean")(features)
    head = layers.Dense(1, dtype="float32", name=f"{prefix}whole_head")
    return ops.squeeze(head(mean), axis=-1)


def _marks(pixels: Any) -> Any:
    """Logits of the evidence, (B, H/2, W/2) float32."""
    head = layers.Conv2D(1, 1, dtype="float32", name="evidence_head")
    return ops.squeeze(head(pixels), axis=-1)
