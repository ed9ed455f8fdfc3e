"""The second witness of p(corrosion): a linear probe on an encoder that stays as ImageNet left it.

Fine-tuned on a few thousand photographs, an encoder forgets what it knew of the rest of the world;
a linear neuron on what it knew before errs less on pictures from elsewhere (Kumar et al. 2022,
"Fine-Tuning can Distort Pretrained Features"). Logistic regression: no rounds, no learning rate.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from rustvid.method import models, network, student
from rustvid.method.sizes import STUDENT_SIZE
from rustvid.training import imagenet
from rustvid.training.data import Photo

Arrays = dict[str, NDArray[np.float32]]

_STRENGTH = 3e-3  # scikit-learn's C, on standardised features
_AT_ONCE = 8  # photos


def world(start: str | None) -> Arrays:
    """The second encoder's weights: from ImageNet's package where the first began with it too,
    else as they ship."""
    if start == "imagenet":
        return {student.WORLD + name: array for name, array in imagenet.weights().items()}
    arrays = models.read_weights(models.find("rustvid-student"))
    return {name: array for name, array in arrays.items() if name.startswith(student.WORLD)}


def fitted(photos: Sequence[Photo], encoder: Arrays) -> Arrays:
    """The neuron's kernel (1280, 1) and bias (1,), classes weighing alike, for these photos."""
    features = _features(photos, encoder)
    mean, deviation = features.mean(axis=0), features.std(axis=0) + 1e-6
    labels = [photo.corroded for photo in photos]
    regression = LogisticRegression(C=_STRENGTH, class_weight="balanced", max_iter=1000)
    regression.fit((features - mean) / deviation, labels)
    kernel = regression.coef_[0] / deviation
    bias = regression.intercept_ - kernel @ mean
    name = f"{student.WORLD}whole_head"
    return {
        f"{name}/kernel": kernel[:, None].astype(np.float32),
        f"{name}/bias": bias.astype(np.float32),
    }


def shift(probability: NDArray[np.float64], truth: NDArray[np.bool_]) -> float:
    """What to add to the logits of p(corrosion) (n,) so that they suit the truth (n,), both classes
    weighing alike: where the gradient of the cross entropy by it is zero.

    Batches are made of rust for the pixels' sake: more pictures in them are corroded than anywhere.
    """
    weight = np.where(truth, 0.5 / truth.sum(), 0.5 / (~truth).sum())
    low, high = -20.0, 20.0
    for _ in range(50):
        middle = (low + high) / 2
        excess = float((weight * (shifted(probability, middle) - truth)).sum())
        low, high = (low, middle) if excess > 0 else (middle, high)
    return (low + high) / 2


def shifted(probability: NDArray[np.float64], by: float) -> NDArray[np.float64]:
    """Probabilities whose logits are so much higher."""
    p = np.clip(probability, 1e-6, 1 - 1e-6)
    return np.asarray(1 / (1 + (1 - p) / p * np.exp(-by)))


def _features(photos: Sequence[Photo], encoder: Arrays) -> NDArray[np.float32]:
    """(n, 1280), of every photo as the pipeline shows it."""
    image = keras.Input((STUDENT_SIZE, STUDENT_SIZE, 3), dtype="float32")
    model = keras.Model(image, ops.mean(student.known(image), axis=(1, 2)))
    network.assign_weights(model, encoder, "the second encoder")
    model.compile(jit_compile=False)
    found = []
    for start in range(0, len(photos), _AT_ONCE):
        some = photos[start : start + _AT_ONCE]
        seen = [_seen(photo) for photo in some]
        seen += seen[-1:] * (_AT_ONCE - len(some))  # another number would be compiled anew
        found.append(model.predict_on_batch(np.stack(seen))[: len(some)])
    return np.concatenate(found)


def _seen(photo: Photo) -> NDArray[np.float32]:
    size = (STUDENT_SIZE, STUDENT_SIZE)
    shrunk = cv2.resize(photo.image, size, interpolation=cv2.INTER_AREA)
    return shrunk.astype(np.float32) / 127.5 - 1
