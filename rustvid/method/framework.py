"""The network on Keras: on any of its backends, on a GPU, in any precision."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from rustvid.errors import UsageError
from rustvid.method import network, student
from rustvid.method.classify import Answer
from rustvid.method.models import kind_of, read_weights


class KerasNetwork:
    """One pass over pictures of (width, height): (n, height, width, 3) uint8 RGB to an Answer.

    shapes: numbers of pictures that are compiled; others are padded to the next one
    """

    def __init__(
        self,
        path: Path,
        score: str,
        precision: str,
        size: tuple[int, int],
        shapes: Sequence[int],
        device: str | None = None,
    ) -> None:
        self._shapes = sorted(set(shapes))
        self._device = device
        with self._on_device():
            self._model = assembled(path, score, precision, size)
            self._model.compile(jit_compile=False)  # on a CPU, XLA is no faster and compiles long

    def __call__(self, pictures: NDArray[np.uint8]) -> Answer:
        """The answer for 1 to `max(shapes)` pictures."""
        count = len(pictures)
        shape = next(shape for shape in self._shapes if shape >= count)
        padding = np.repeat(pictures[-1:], shape - count, axis=0)
        with self._on_device():
            answer = self._model.predict_on_batch(np.concatenate([pictures, padding]))
        return Answer(
            np.asarray(answer["probability"], np.float32)[:count],
            np.asarray(answer["evidence"], np.float32)[:count],
        )

    def _on_device(self) -> AbstractContextManager[Any]:
        return keras.device(self._device) if self._device else nullcontext()


def assembled(path: Path, score: str, precision: str, size: tuple[int, int]) -> Any:
    """The Keras model of these weights on uint8 pictures of (width, height)."""
    arrays = read_weights(path)
    if kind_of(arrays, str(path)) == "student":
        inner = student.build(precision, world=student.knows_world(arrays))
    else:
        filters = int(arrays["conv1_1/kernel"].shape[-1])
        inner = network.build(filters, score=score, dtype=precision)
    network.assign_weights(inner, arrays, str(path))
    width, height = size
    pictures = keras.Input((height, width, 3), dtype="uint8", name="pictures")
    return keras.Model(pictures, inner(ops.cast(pictures, "float32") / 127.5 - 1.0))


def gpus() -> list[str]:
    """Keras's names of the GPUs that the backend sees."""
    try:
        return list(keras.distribution.list_devices("gpu"))
    except (RuntimeError, AttributeError):  # JAX where there is none; on PyTorch Keras cannot list
        return []


def backend() -> str:
    """What Keras computes with: tensorflow, jax, torch, …"""
    return str(keras.backend.backend())


def device_of(asked: str) -> str | None:
    """Keras's name of the device; None leaves the choice to the backend. Raises UsageError."""
    kind, _, number = asked.partition(":")
    if asked == "auto":
        return None
    count = len(gpus()) if kind == "gpu" else 1
    if int(number or 0) >= count:
        raise UsageError(f"model.device {asked}: the backend sees {count} GPUs; use auto or cpu")
    return f"{kind}:{number or 0}"
