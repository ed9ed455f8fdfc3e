"""Grad-CAM++ in closed form is what nested gradient tapes compute, element by element.

`tape.gradient` of a vector sums over the vector, so tapes nested on the feature map give sums
over rows of the Hessian, not the ∂²y/(∂A_ij^k)² of eq. 7. Here every element gets a copy of the
whole map of its own, in which it alone moves: what the tape then sums is one number.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import cv2
import keras
import numpy as np
import pytest
import tensorflow as tf
from numpy.typing import NDArray

from rustvid.method import network
from rustvid.method.localise import grad_cam, grad_cam_plus_plus, signed_evidence
from rustvid.method.models import find, read_weights

Array = NDArray[Any]
SCORES = ("exp", "sigmoid")


def closed_form(before_relu: Array, weights: Array, bias: float, score: str) -> Array:
    """Heat map (h, w) of one map (h, w, K), by the function under test."""
    features = np.maximum(before_relu, 0).astype(np.float32)
    logit = float(np.sum(features * weights)) + bias
    probability = np.array([1 / (1 + np.exp(-logit))], np.float32)
    heat = grad_cam_plus_plus(features[None], weights[None].astype(np.float32), probability, score)
    return np.asarray(heat)[0]


def derivatives(before_relu: Array, weights: Array, bias: float, score: str) -> list[Array]:
    """First, second and third derivative of the score by each element before the ReLU alone."""
    count = before_relu.size
    moves = tf.zeros(count, tf.float64)
    with tf.GradientTape() as third, tf.GradientTape() as second, tf.GradientTape() as first:
        for tape in (third, second, first):
            tape.watch(moves)
        copies = tf.reshape(before_relu, (1, count)) + tf.linalg.diag(moves)
        logits = tf.linalg.matvec(tf.nn.relu(copies), tf.reshape(weights, (count,))) + bias
        scores = tf.exp(logits) if score == "exp" else tf.sigmoid(logits)
        d1 = first.gradient(scores, moves)
        d2 = second.gradient(d1, moves)
        d3 = third.gradient(d2, moves)
    return [tf.reshape(d, before_relu.shape).numpy() for d in (d1, d2, d3)]


def eq_4_to_7(features: Array, d1: Array, d2: Array, d3: Array) -> Array:
    """The paper's own words, with the derivatives given; 0/0 of a dead element counts nothing."""
    denominator = 2 * d2 + features.sum(axis=(0, 1)) * d3
    alpha = np.divide(d2, denominator, out=np.zeros_like(d2), where=denominator != 0)  # eq. 7
    importance = (alpha * np.maximum(d1, 0)).sum(axis=(0, 1))  # eq. 6
    heat = np.maximum((importance * features).sum(axis=-1), 0)  # eq. 4
    return heat / heat.max() if heat.max() > 0 else heat


def small_map(seed: int, positive: float = 0.5) -> tuple[Array, Array]:
    """A map before its ReLU (4, 5, 3), and weights of both signs."""
    random = np.random.default_rng(seed)
    before_relu = random.normal(size=(4, 5, 3))
    weights = random.normal(positive - 0.5, 0.3, size=(4, 5, 3))
    return before_relu, weights


@pytest.mark.parametrize("score", SCORES)
@pytest.mark.parametrize("seed", range(8))
def test_the_closed_form_is_what_nested_tapes_give_element_by_element(
    score: str, seed: int
) -> None:
    before_relu, weights = small_map(seed)
    features = np.maximum(before_relu, 0)
    tapes = eq_4_to_7(features, *derivatives(before_relu, weights, -0.3, score))
    assert tapes.max() == 1  # so there is something to compare
    np.testing.assert_allclose(closed_form(before_relu, weights, -0.3, score), tapes, atol=1e-4)


@pytest.mark.parametrize("score", SCORES)
def test_the_derivatives_of_the_table_are_those_of_the_tapes(score: str) -> None:
    """The docstring's table, common factor included."""
    before_relu, weights = small_map(3)
    g = weights * (before_relu > 0)  # before the ReLU: a dead element has no derivative
    logit = float((np.maximum(before_relu, 0) * weights).sum()) - 0.3
    p = 1 / (1 + np.exp(-logit))
    e, d = np.exp(logit), p * (1 - p)
    table = {
        "exp": (e * g, e * g**2, e * g**3),
        "sigmoid": (d * g, d * (1 - 2 * p) * g**2, d * (1 - 6 * p + 6 * p**2) * g**3),
    }
    tapes = derivatives(before_relu, weights, -0.3, score)
    for written, taped in zip(table[score], tapes, strict=True):
        np.testing.assert_allclose(written, taped, atol=1e-10)


def test_the_two_scores_are_two_different_maps() -> None:
    before_relu, weights = small_map(1, positive=0.6)
    exp, sigmoid = (closed_form(before_relu, weights, 0.0, score) for score in SCORES)
    assert np.abs(exp - sigmoid).max() > 1e-3


# --- on the shipped weights


@lru_cache(maxsize=1)
def real_map() -> tuple[Array, Array, float, dict[str, Array]]:
    """Features (28, 28, K), weights towards corrosion, the logit, and the layer's own maps."""
    arrays = read_weights(find("rustseg-lite"))
    filters = arrays["conv1_1/kernel"].shape[-1]
    model = network.build(filters)
    network.assign_weights(model, arrays, "rustseg-lite")
    encoder = keras.Model(model.input, model.get_layer("conv5_2").output)
    features = tf.constant(encoder(rusty_plate()[None]))
    maps, logit, weights = {}, 0.0, None
    for score in SCORES:
        head = network.GradCamHead(score)
        head.build(features.shape)
        head.set_weights(model.get_layer("head").get_weights())
        with tf.GradientTape() as tape:
            tape.watch(features)
            probability, heat = head(features)
            clean = -tf.math.log(1 / probability - 1)  # the logit again
        weights = tape.gradient(clean, features)
        logit, maps[score] = float(clean[0]), np.asarray(heat)[0]
    assert weights is not None
    as_float64 = [np.asarray(a, np.float64)[0] for a in (features, weights)]
    return as_float64[0], as_float64[1], logit, maps


def rusty_plate() -> Array:
    """Gray steel with a rough brown patch, (572, 572, 3) float32 in [−1, 1]."""
    random = np.random.default_rng(5)
    picture = np.full((572, 572, 3), (125.0, 130.0, 135.0))
    picture[150:420, 200:480] = (150.0, 75.0, 35.0)
    grain = cv2.GaussianBlur(random.normal(size=(572, 572)), (0, 0), 3)
    picture += 12 / grain.std() * grain[..., None]
    return (picture / 127.5 - 1).astype(np.float32)


@pytest.mark.parametrize("score", SCORES)
def test_a_window_of_the_real_map_agrees_with_the_tapes(score: str) -> None:
    features, weights, logit, _ = real_map()
    alive = np.argsort(features.sum(axis=(0, 1)))[-24:]  # the channels with something to say
    row, column = np.unravel_index(features.sum(axis=-1)[:24, :24].argmax(), (24, 24))
    window = np.s_[row : row + 4, column : column + 4, alive]
    z, g = np.where(features > 0, features, -1.0)[window], weights[window]
    rest = logit - float((np.maximum(z, 0) * g).sum())  # what the rest of the map says
    tapes = eq_4_to_7(np.maximum(z, 0), *derivatives(z, g, rest, score))
    assert tapes.max() == 1
    np.testing.assert_allclose(closed_form(z, g, rest, score), tapes, atol=1e-4)


@pytest.mark.parametrize("score", SCORES)
def test_the_layers_own_map_is_the_map_of_its_gradient(score: str) -> None:
    """The whole 28×28×K: the head hands its weights over with the right sign and order."""
    features, weights, logit, maps = real_map()
    p = 1 / (1 + np.exp(-logit))
    factors = (1, 1, 1) if score == "exp" else (1, 1 - 2 * p, 1 - 6 * p + 6 * p**2)
    g = weights * (features > 0)
    expected = eq_4_to_7(features, *(c * g**n for n, c in enumerate(factors, start=1)))
    np.testing.assert_allclose(maps[score], expected, atol=1e-4)


# --- range, and the ends of the range


@pytest.mark.parametrize("score", SCORES)
@pytest.mark.parametrize("seed", range(8))
def test_heat_is_between_0_and_1_and_its_maximum_is_1(score: str, seed: int) -> None:
    heat = closed_form(*small_map(seed), bias=0.2, score=score)
    assert heat.shape == (4, 5)
    assert heat.dtype == np.float32
    assert heat.min() >= 0
    # eq. 7 of the sigmoid gives negative importance where p > 0.79 and a channel says much
    assert heat.max() == 1 or (score == "sigmoid" and heat.max() == 0)


@pytest.mark.parametrize("score", SCORES)
@pytest.mark.parametrize("case", ["all features dead", "all weights against", "weights zero"])
def test_heat_is_zero_where_nothing_speaks_for_corrosion(score: str, case: str) -> None:
    before_relu, weights = small_map(0)
    if case == "all features dead":
        before_relu = -np.abs(before_relu)
    else:
        weights = -np.abs(weights) * (case != "weights zero")
    heat = closed_form(before_relu, weights, 0.1, score)
    assert np.array_equal(heat, np.zeros((4, 5)))


@pytest.mark.parametrize("score", SCORES)
@pytest.mark.parametrize("logit", [-40.0, 40.0])
def test_heat_stays_alive_where_the_probability_saturates(score: str, logit: float) -> None:
    before_relu, weights = small_map(2)
    features = np.maximum(before_relu, 0)
    rest = logit - float((features * weights).sum())
    heat = closed_form(before_relu, weights, rest, score)
    assert np.isfinite(heat).all()
    assert heat.max() == 1
    if score == "exp":  # whose map does not know p at all
        np.testing.assert_array_equal(heat, closed_form(before_relu, weights, 0.0, score))


def test_the_maps_of_a_batch_do_not_know_each_other() -> None:
    (first, weights), (second, _) = small_map(1), small_map(2)
    features = np.maximum(np.stack([first, second]), 0).astype(np.float32)
    p = np.array([0.7, 0.9], np.float32)
    g = weights[None].astype(np.float32)
    both = np.asarray(grad_cam_plus_plus(features, g, p, "sigmoid"))
    for index in (0, 1):
        alone = np.s_[index : index + 1]
        np.testing.assert_allclose(
            both[alone], grad_cam_plus_plus(features[alone], g, p[alone], "sigmoid"), atol=1e-6
        )


def test_grad_cam_is_the_mean_gradient_of_each_filter_by_tape() -> None:
    before_relu, weights = small_map(3)
    moved = tf.constant(before_relu)
    with tf.GradientTape() as tape:
        tape.watch(moved)
        logit = tf.reduce_sum(tf.nn.relu(moved) * weights)
    gradient = tape.gradient(logit, moved).numpy()
    features = np.maximum(before_relu, 0)
    heat = np.maximum((gradient.mean(axis=(0, 1)) * features).sum(axis=-1), 0)
    found = grad_cam(features[None].astype(np.float32), weights[None].astype(np.float32))
    np.testing.assert_allclose(np.asarray(found)[0], heat / heat.max(), atol=1e-5)


def test_signed_evidence_adds_up_to_the_logit_and_keeps_what_speaks_against() -> None:
    before_relu, weights = small_map(4)
    features = np.maximum(before_relu, 0).astype(np.float32)[None]
    found = np.asarray(signed_evidence(features, weights[None].astype(np.float32)))[0]
    parts = (features[0] * weights).sum(axis=-1)
    assert (np.sign(found - 0.5) == np.sign(parts)).all() and found.min() < 0.5
    assert max(found.max(), 1 - found.min()) == pytest.approx(1)
    scale = abs(parts).max()
    assert ((found - 0.5) * 2 * scale).sum() == pytest.approx(parts.sum(), rel=1e-4)
