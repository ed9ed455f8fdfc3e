"""The taught classifier's neuron, fitted once more to whole photographs, near what it was.

Crops taught the encoder and, by the heat map, the neuron; what a whole photograph is called, they
taught it badly. Logistic regression on all photographs with two kinds of feature: the neuron's own
logit, whose share is free, and the means of the last map's filters, whose weights are drawn to
zero. So what is not needed for p(corrosion) stays, and the heat map, which weighs the filters
alike, hardly changes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from rustvid.method.framing import framed
from rustvid.training.data import Photo

Floats = NDArray[np.float32]

_STRENGTH = 1e-2  # scikit-learn's C, on standardised features: the best of nine for validation
_FREE = 100.0  # of the own logit's deviation: next to no pull on its share


def refit(whole: Any, photos: Sequence[Photo], looking: Any = None) -> None:
    """Give the classifier as it runs the neuron that is fitted to these photos.

    looking: the same classifier in a quicker arithmetic, to see the photos with
    """
    neuron = whole.get_layer("head")
    kernel = ops.convert_to_numpy(neuron.kernel)
    own, means = _seen(looking or whole, kernel, photos)
    labels = np.array([photo.corroded for photo in photos])
    share, added, against = fitted(own, means, labels)
    filters = means.shape[1]
    everywhere = -np.tile(added[:, None] / (len(kernel) // filters), (len(kernel) // filters, 1))
    neuron.kernel.assign(share * kernel + everywhere)  # the neuron's own answer is 0 for corrosion
    neuron.bias.assign([against])


def fitted(own: Floats, means: Floats, labels: NDArray[np.bool_]) -> tuple[float, Floats, float]:
    """own (n,): the neuron's logit of corrosion, without bias; means (n, K): of the filters.

    Returns the share of `own`, the weights (K,) that are added to it, and the bias of the clean.
    """
    deviation, spread = means.std(axis=0) + 1e-6, own.std() + 1e-6
    features = np.column_stack([own / spread * _FREE, means / deviation])
    regression = LogisticRegression(C=_STRENGTH, class_weight="balanced", max_iter=2000)
    regression.fit(features, labels)
    share, *added = regression.coef_[0]
    weights = np.asarray(added / deviation, np.float32)
    return float(share * _FREE / spread), weights, -float(regression.intercept_[0])


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
