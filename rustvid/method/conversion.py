"""From Keras to LiteRT: the network as one flatbuffer, its weights inside. Needs TensorFlow."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import tensorflow as tf
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

from rustvid.errors import UsageError
from rustvid.method import framework


def converted(path: Path, score: str, size: tuple[int, int]) -> bytes:
    """The network of these weights for one picture of (width, height), float32, as a flatbuffer.

    It takes (1, height, width, 3) uint8 RGB; its outputs are p(corrosion) (1,) and the evidence
    (1, h, w), in this order. The weights are made constants first: as variables they would be
    read anew at every convolution, which costs twice the time.
    """
    if framework.backend() != "tensorflow":
        raise UsageError(
            f"model.engine litert: is made by TensorFlow, and Keras uses {framework.backend()}; "
            "set KERAS_BACKEND=tensorflow, or model.engine=keras"
        )
    model = framework.assembled(path, score, "float32", size)
    width, height = size

    @tf.function(input_signature=[tf.TensorSpec((1, height, width, 3), tf.uint8)])  # type: ignore[untyped-decorator]
    def answer(pictures: Any) -> tuple[Any, Any]:
        found = model(pictures, training=False)
        return found["probability"], found["evidence"]

    frozen = convert_variables_to_constants_v2(answer.get_concrete_function())
    return bytes(tf.lite.TFLiteConverter.from_concrete_functions([frozen]).convert())
