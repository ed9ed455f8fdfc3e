"""The student: shapes, names, folding, and that it can learn at all."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest
from keras import ops

from rustvid.errors import ModelError
from rustvid.method import models, network, student
from rustvid.training import train

FILTERS = 4


@pytest.fixture(autouse=True)
def _float32() -> None:
    keras.mixed_precision.set_global_policy("float32")
    keras.utils.set_random_seed(1)


def picture(seed: int, size: tuple[int, int] = (64, 96)) -> np.ndarray:
    """(2, h, w, 3) float32 in [-1, 1]."""
    return np.random.default_rng(seed).uniform(-1, 1, (2, *size, 3)).astype(np.float32)


@pytest.mark.parametrize("size", [(64, 96), (160, 48)])
def test_any_multiple_of_16_gives_evidence_at_half_size(size: tuple[int, int]) -> None:
    found = student.build(FILTERS)(picture(0, size), training=False)
    evidence = ops.convert_to_numpy(found["evidence"])
    assert evidence.shape == (2, size[0] // student.STRIDE, size[1] // student.STRIDE)
    assert found["probability"].shape == (2,)
    assert evidence.min() >= 0 and evidence.max() <= 1


def test_encoder_layers_are_those_of_the_papers_classifier() -> None:
    own = student.build(FILTERS)
    for layer in network.build(FILTERS).layers:
        if layer.name.startswith("conv"):
            assert own.get_layer(layer.name).kernel.shape == layer.kernel.shape


def test_folding_is_exact_to_1e_5() -> None:
    trained = student.build_trainable(FILTERS)
    rng = np.random.default_rng(2)
    trained.set_weights([w + rng.uniform(0, 0.3, w.shape) for w in trained.get_weights()])
    image = picture(3)
    learned, runs = trained(image, training=False), student.fold(trained, FILTERS)(image)
    for name in ("probability", "evidence"):
        expected = ops.convert_to_numpy(ops.sigmoid(learned[name]))
        np.testing.assert_allclose(ops.convert_to_numpy(runs[name]), expected, atol=1e-5)


def test_normalised_convolutions_are_zero_mean_and_unit_variance_before_relu() -> None:
    layer = student.NormalisedConv(5, 3, 1)
    x = 3 + 2 * np.random.default_rng(6).standard_normal((4, 34, 34, 7)).astype(np.float32)
    mean, variance = (layer(x), layer._batch(x))[1]
    kernel, bias = layer.plain(mean, variance)
    seen = ops.convert_to_numpy(ops.conv(x, kernel, padding="valid") + bias)
    np.testing.assert_allclose(seen.mean((0, 1, 2)), 0, atol=1e-3)
    np.testing.assert_allclose(seen.std((0, 1, 2)), 1, atol=1e-3)


def test_running_statistics_follow_the_batches() -> None:
    layer = student.NormalisedConv(5, 3, 2)
    x = 3 + np.random.default_rng(7).standard_normal((4, 32, 32, 7)).astype(np.float32)
    for _ in range(200):
        layer(x, training=True)
    mean, variance = layer._batch(x)
    np.testing.assert_allclose(layer.mean, mean, atol=1e-2)
    np.testing.assert_allclose(layer.variance, variance, rtol=2e-2)


def test_an_adopted_encoder_computes_what_it_did() -> None:
    donor = student.build(FILTERS)
    arrays = {
        f"{layer.name}/{variable.name}": ops.convert_to_numpy(variable)
        for layer in donor.layers
        for variable in layer.weights
    }
    trained = student.build_trainable(FILTERS)
    student.adopt(trained, arrays, picture(8))
    image = picture(9)
    deep = [
        keras.Model(model.inputs[0], model.get_layer(name).output)(image)
        for model, name in ((donor, "conv5_2"), (student.fold(trained, FILTERS), "conv5_2"))
    ]
    np.testing.assert_allclose(deep[0], deep[1], atol=1e-4)


def test_saved_weights_come_back(tmp_path: Path) -> None:
    model = student.fold(student.build_trainable(FILTERS), FILTERS)
    network.save_weights(model, tmp_path / "w.npz")
    other = student.build(FILTERS)
    network.assign_weights(other, models.read_weights(tmp_path / "w.npz"), "w")
    a, b = model(picture(5)), other(picture(5))
    np.testing.assert_allclose(a["evidence"], b["evidence"], atol=5e-3)  # float16


def test_weights_of_other_filters_are_refused(tmp_path: Path) -> None:
    network.save_weights(student.build(8), tmp_path / "w.npz")
    with pytest.raises(ModelError, match="shape"):
        network.assign_weights(student.build(4), models.read_weights(tmp_path / "w.npz"), "w")


def test_student_overfits_two_images() -> None:
    images = np.random.default_rng(0).normal(0, 0.1, (2, 128, 128, 3)).astype(np.float32)
    labels = np.zeros((2, 64, 64), np.float32)
    images[0, 32:96, 16:80] += (0.4, -0.3, -0.7)  # a rust-coloured patch
    images[1, 32:96, 16:80] += (-0.7, -0.3, 0.4)  # a blue one
    labels[0, 16:48, 8:40] = 1
    model = student.build_trainable(FILTERS)
    train.compile_for(model, train.TrainConfig(rate=1e-2, warmup=5, first=250, rounds=1))
    truth = {"evidence": labels, "probability": np.array([1, 0], np.float32)}
    for _ in range(250):
        model.train_on_batch(images, truth)
    found = student.fold(model, FILTERS)(images)
    marked = ops.convert_to_numpy(found["evidence"]) > 0.5
    assert (marked == (labels > 0.5)).mean() > 0.98
    probability = ops.convert_to_numpy(found["probability"])
    assert probability[0] > 0.8 and probability[1] < 0.2
