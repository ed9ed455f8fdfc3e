"""The student: shapes, names, and that it can learn at all."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest
from keras import ops

from rustvid.errors import ModelError
from rustvid.method import efficientnet, models, network, student
from rustvid.training import losses, pupils, train


@pytest.fixture(autouse=True)
def _float32() -> None:
    keras.mixed_precision.set_global_policy("float32")
    keras.utils.set_random_seed(1)


def picture(seed: int, size: tuple[int, int] = (64, 96)) -> np.ndarray:
    """(2, h, w, 3) float32 in [-1, 1]."""
    return np.random.default_rng(seed).uniform(-1, 1, (2, *size, 3)).astype(np.float32)


@pytest.mark.parametrize("size", [(64, 96), (160, 32)])
def test_any_multiple_of_32_gives_evidence_at_half_size(size: tuple[int, int]) -> None:
    found = student.build()(picture(0, size), training=False)
    evidence = ops.convert_to_numpy(found["evidence"])
    assert evidence.shape == (2, size[0] // student.STRIDE, size[1] // student.STRIDE)
    assert found["probability"].shape == (2,)
    assert evidence.min() >= 0 and evidence.max() <= 1


def test_the_encoder_is_efficientnet_lite0() -> None:
    image = keras.Input((64, 96, 3))
    features = efficientnet.encoder(image)
    assert [f.shape[1:] for f in features] == [
        (32, 48, 16),
        (16, 24, 24),
        (8, 12, 40),
        (4, 6, 112),
        (2, 3, 320),
    ]
    model = keras.Model(image, efficientnet.top(features[-1]))
    # the published network's, less its 1,000 classes, and one bias where normalisation has
    # a factor and an offset for each of 21,008 filters
    assert model.count_params() == 4_652_008 - 1_281_000 - 21_008


def test_logits_are_the_answers_before_the_sigmoid() -> None:
    raw, ready = student.build(logits=True), student.build()
    ready.set_weights(raw.get_weights())
    logits, answers = raw(picture(3)), ready(picture(3))
    for name in ("probability", "evidence"):
        expected = ops.convert_to_numpy(ops.sigmoid(logits[name]))
        np.testing.assert_allclose(ops.convert_to_numpy(answers[name]), expected, atol=1e-6)


def test_saved_weights_come_back(tmp_path: Path) -> None:
    model = student.build()
    network.save_weights(model, tmp_path / "w.npz")
    other = student.build()
    network.assign_weights(other, models.read_weights(tmp_path / "w.npz"), "w")
    a, b = model(picture(5)), other(picture(5))
    np.testing.assert_allclose(a["evidence"], b["evidence"], atol=5e-3)  # float16


def test_weights_of_another_network_are_refused() -> None:
    arrays = {"stem/kernel": np.zeros((3, 3, 3, 16), np.float16)}
    with pytest.raises(ModelError, match="shape"):
        network.assign_weights(student.build(), arrays, "w")
    with pytest.raises(ModelError, match="lacks"):
        network.assign_weights(student.build(), {}, "w")


def test_student_overfits_two_images() -> None:
    images = np.random.default_rng(0).normal(0, 0.1, (2, 128, 128, 3)).astype(np.float32)
    labels = np.zeros((2, 64, 64), np.float32)
    images[0, 32:96, 16:80] += (0.4, -0.3, -0.7)  # a rust-coloured patch
    images[1, 32:96, 16:80] += (-0.7, -0.3, 0.4)  # a blue one
    labels[0, 16:48, 8:40] = 1
    model = student.build(logits=True)
    pupils.begin(model, "rustvid-student")
    config = train.TrainConfig(rate=1e-3, warmup=5, first=80, rounds=1)
    train.compile_for(model, config, losses.pixel_loss(config.dice_weight))
    truth = {"evidence": labels, "probability": np.array([1, 0], np.float32)}
    for _ in range(80):
        model.train_on_batch(images, truth)
    ready = student.build()
    ready.set_weights(model.get_weights())
    found = ready(images)
    marked = ops.convert_to_numpy(found["evidence"]) > 0.5
    assert (marked == (labels > 0.5)).mean() > 0.98
    probability = ops.convert_to_numpy(found["probability"])
    assert probability[0] > 0.8 and probability[1] < 0.2
