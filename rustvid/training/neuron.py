"""The taught classifier's neuron, fitted once more to whole photographs, and its map left alone.

Crops taught the encoder and, by the heat map, the neuron; what a whole photograph is called, they
taught it badly. Logistic regression on all photographs with two kinds of feature: the neuron's own
logit, whose share is free, and the means of those filters of the last map to which the neuron gives
no weight for corrosion. These may only gain weight against it. Grad-CAM++ shows nothing of what
speaks against (eq. 6), so the heat map stays as it was taught.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from rustvid.method.framing import framed
from rustvid.training.data import Photo

Floats = NDArray[np.float32]

_STRENGTH = 1e-2  # as scikit-learn's C, on standardised features
_STEPS = 2000


def refit(whole: Any, photos: Sequence[Photo], looking: Any = None) -> None:
    """Give the classifier as it runs the neuron that is fitted to these photos.

    looking: the same classifier in a quicker arithmetic, to see the photos with
    """
    neuron = whole.get_layer("head")
    kernel = ops.convert_to_numpy(neuron.kernel)
    own, means = _seen(looking or whole, kernel, photos)
    labels = np.array([photo.corroded for photo in photos])
    filters = means.shape[1]
    towards = -kernel.reshape(-1, filters)  # the neuron's own answer is 0 for corrosion
    free = (towards <= 0).all(axis=0)
    share, added, against = fitted(own, means, labels, free)
    everywhere = -np.tile(added[:, None] / (len(kernel) // filters), (len(kernel) // filters, 1))
    neuron.kernel.assign(share * kernel + everywhere)
    neuron.bias.assign([against])


def fitted(
    own: Floats, means: Floats, labels: NDArray[np.bool_], free: NDArray[np.bool_]
) -> tuple[float, Floats, float]:
    """own (n,): the neuron's logit of corrosion, without bias; means (n, K): of the filters; free
    (K,): those that may gain weight against corrosion.

    Returns the share of `own`, which is positive, the weights (K,), none of them positive, that are
    added to it, and the bias of the clean. Accelerated projected gradient (Beck & Teboulle 2009).
    """
    spread, deviation = own.std() + 1e-6, means[:, free].std(axis=0) + 1e-6
    features = np.column_stack([own / spread, means[:, free] / deviation, np.ones(len(own))])
    features = features.astype(np.float64)
    balance = np.where(labels, 0.5 / labels.mean(), 0.5 / (~labels).mean())
    pull = np.full(features.shape[1], 1 / _STRENGTH)
    pull[[0, -1]] = 0  # own share and bias are free
    low, high = np.full_like(pull, -np.inf), np.zeros_like(pull)
    low[0], high[[0, -1]] = 1e-3, np.inf
    weighted = features * np.sqrt(balance)[:, None]
    step = 1 / (np.linalg.norm(weighted, 2) ** 2 / 4 + pull.max())
    found = np.zeros_like(pull)
    found[0] = 1.0
    ahead, pace = found, 1.0
    for _ in range(_STEPS):
        p = 1 / (1 + np.exp(-np.clip(features @ ahead, -50, 50)))
        gradient = features.T @ (balance * (p - labels)) + pull * ahead
        before, found = found, np.clip(ahead - step * gradient, low, high)
        pace, earlier = (1 + np.sqrt(1 + 4 * pace**2)) / 2, pace
        ahead = found + (earlier - 1) / pace * (found - before)
    added = np.zeros(means.shape[1], np.float32)
    added[free] = found[1:-1] / deviation
    return float(found[0] / spread), added, -float(found[-1])


def _seen(whole: Any, kernel: Floats, photos: Sequence[Photo]) -> tuple[Floats, Floats]:
    """Of every photo, as the pipeline shows it, the neuron's logit and the means of the filters."""
    last = keras.Model(whole.input, whole.get_layer("conv5_2").output)
    last.compile(jit_compile=False)
    own, means = [], []
    for photo in photos:
        picture = framed(photo.image)[None].astype(np.float32) / 127.5 - 1
        features = np.asarray(last.predict_on_batch(picture), np.float32)[0]
        own.append(-float(features.ravel() @ kernel[:, 0]))
        means.append(features.mean(axis=(0, 1)))
    return np.array(own, np.float32), np.stack(means)
