"""The paper's classifier (Fig. 3), taught where rust is by its own heat map.

    rustvid train DATA --out DIR --config train_rustseg

Taught by whole photographs' labels alone, it learns the company that rust keeps, and that is what
its Grad-CAM++ map shows. Here the map itself is compared with pixels whose label is known while it
is trained (guided attention; Li et al. 2018, "Tell Me Where to Look"): those of composites, and
those of corroded photos of which a teacher is sure. No pixel is labelled by hand.

Any crop of 16 n + 140 pixels will do. At 572 the neuron has a weight for every position, as it has
when it runs; at smaller ones it weighs the mean over positions, which is the same neuron with the
same weight everywhere. So a short training at 572 can follow a long one at 284. And a network can
be begun with a narrower one's weights: it starts as that one's equal (Chen et al. 2016, "Net2Net").
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import keras
import numpy as np
from keras import layers, ops
from numpy.typing import NDArray

from rustvid.errors import ModelError, UsageError
from rustvid.method import models, network
from rustvid.method.framing import FIELD, POSITION
from rustvid.method.localise import grad_cam_plus_plus
from rustvid.method.sizes import CLASSIFIER_SIZE
from rustvid.training.composites import IGNORE
from rustvid.training.losses import Loss, pixel_loss
from rustvid.training.pupils import Pupil, Ready
from rustvid.training.recipe import TrainConfig

_LABELS = 2  # pixels of the picture per label, each way (see training/batches.py)
_RUST = 0.5  # label from which a pixel is rust
_LAST = "conv5_2/bias"  # as long as the last map has filters
_NEURON = "head/kernel"
_SURE = 0.01  # from 0 and 1 of the map, so that its logit stays finite

Arrays = Mapping[str, NDArray[Any]]


class TaughtHead(layers.Layer):  # type: ignore[misc]
    """The neuron as it learns: (B, h, w, K) → logit of corrosion (B,), and Grad-CAM++'s map
    (B, 8 h, 8 w), as logits.

    flat: a weight for every position (h w K, 1), else one for all (K, 1)
    """

    def __init__(self, *, flat: bool, **options: Any) -> None:
        super().__init__(**options)
        self.flat = flat

    def build(self, shape: tuple[int, ...]) -> None:
        size = int(np.prod(shape[1:])) if self.flat else shape[-1]
        self.kernel = self.add_weight((size, 1), initializer="he_uniform", name="kernel")
        self.bias = self.add_weight((1,), initializer="zeros", name="bias")

    def call(self, features: Any) -> tuple[Any, Any]:
        features = ops.cast(features, "float32")
        height, width, filters = features.shape[1:]
        if self.flat:
            weights = -ops.reshape(self.kernel, (1, height, width, filters))
        else:
            weights = -ops.reshape(self.kernel, (1, 1, 1, filters)) / (height * width)
        logit = ops.sum(weights * features, axis=(1, 2, 3)) - self.bias[0]
        # What speaks against has no share in the map (eq. 6); without it eq. 7 stays finite.
        heat = grad_cam_plus_plus(features, ops.relu(weights), ops.sigmoid(logit), "exp")
        finer = POSITION // _LABELS
        heat = ops.image.resize(
            heat[..., None], (finer * height, finer * width), interpolation="bilinear"
        )[..., 0]
        return logit, ops.log(heat + _SURE) - ops.log(1 - heat + _SURE)


def pupil(config: TrainConfig) -> Pupil:
    """The classifier, begun with the weights of `config.start`; raises UsageError."""
    side, filters = config.crop, config.paper.filters
    if side < FIELD or (side - FIELD) % POSITION:
        raise UsageError(
            f"crop must be 16 n + {FIELD} for the paper's classifier (284, 412, 572), got {side}"
        )
    if config.rounds != 1:
        raise UsageError(
            f"rounds: a guided classifier has one, received {config.rounds}; its teacher labels"
        )
    for name in ("encoder_pace", "neuron_pace"):
        if getattr(config, name) != 1:
            raise UsageError(f"{name} is the student's; a guided classifier learns at one pace")
    image = keras.Input((side, side, 3), name="image")
    features = network.encoder(image, filters, dtype=config.precision)[-1]
    head = TaughtHead(flat=side == CLASSIFIER_SIZE, name="head", dtype="float32")
    logit, marks = head(features)
    model = keras.Model(image, {"evidence": marks, "probability": logit})
    if config.start:
        path = models.find(config.start)
        begin(model, models.read_weights(path), str(path))
    return Pupil(model, _ready(filters), map_loss(config.dice_weight), CLASSIFIER_SIZE, "rustseg")


def begin(model: Any, arrays: Arrays, origin: str) -> None:
    """Start as the equal of a trained classifier with as many filters, or fewer.

    New filters see everything, as He draws them, but the old ones do not see them, and the neuron
    gives them no weight. Raises ModelError where the arrays are of no such classifier.
    """
    if models.kind_of(arrays, origin) != "classifier":
        raise ModelError(f"{origin}: is a student; a classifier begins with a classifier")
    own = {
        f"{layer.name}/{variable.name}": ops.convert_to_numpy(variable)
        for layer in model.layers
        for variable in layer.weights
    }
    filters, old = len(own[_LAST]), len(arrays.get(_LAST, ()))
    if old > filters:
        raise ModelError(f"{origin}: is wider than the {filters} last filters of this network")
    found = {
        name: _grown(own[name], arrays[name]) for name in own if name in arrays and name != _NEURON
    }
    if old and _NEURON in arrays:
        mine = own[_NEURON].reshape(-1, filters, 1)
        theirs = arrays[_NEURON].reshape(-1, old, 1)
        if len(mine) == 1:
            # One weight for all positions; half precision ends at 65,504, the sum of 784 may not.
            theirs = theirs.sum(axis=0, keepdims=True, dtype=np.float32)
        found[_NEURON] = _grown(mine, theirs).reshape(-1, 1)
    network.assign_weights(model, found, origin)


def _grown(own: NDArray[Any], old: NDArray[Any]) -> NDArray[Any]:
    """The old weights (…, inputs, outputs), or bias (outputs,), amid a wider layer's own."""
    grown = own.copy()
    if old.ndim == 1:
        grown[: len(old)] = old
        return grown
    inputs, outputs = old.shape[-2:]
    grown[..., inputs:, :outputs] = 0
    grown[..., :inputs, :outputs] = old
    return grown


def _ready(filters: int) -> Ready:
    """How what has learned becomes the classifier that runs: the neuron's weight for the mean is
    shared out to all positions."""
    built = cache(lambda dtype: network.build(filters, dtype=dtype))

    def ready(weights: Sequence[NDArray[Any]], dtype: str) -> Any:
        whole = built(dtype)
        *encoder, kernel, bias = weights
        positions = whole.get_layer("head").kernel.shape[0] // len(kernel)
        whole.set_weights([*encoder, np.tile(kernel / positions, (positions, 1)), bias])
        return whole

    return ready


def map_loss(dice_weight: float) -> Loss:
    """The pixels' loss of pictures with rust, where the map looks. Of a picture without rust the
    map, which is 1 at its highest point, says nothing."""
    inner = pixel_loss(dice_weight)

    def loss(label: Any, logit: Any) -> Any:
        margin = (label.shape[1] - logit.shape[1]) // 2
        label = label[:, margin : margin + logit.shape[1], margin : margin + logit.shape[2]]
        rusty = ops.any(label > _RUST, axis=(1, 2), keepdims=True)
        return inner(ops.where(rusty, label, IGNORE), logit)

    return loss
