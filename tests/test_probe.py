"""The second witness of p(corrosion): what it knows, what it is fitted to, and who carries it."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest

from rustvid.config import ModelConfig
from rustvid.method import models, network, student
from rustvid.method.model import Model
from rustvid.training import evaluate, metrics, probe, shapes, train
from rustvid.training.data import Photo


@pytest.fixture(autouse=True)
def _float32() -> None:
    keras.mixed_precision.set_global_policy("float32")
    keras.utils.set_random_seed(3)


def grain(seed: int, *, red: bool) -> np.ndarray:
    """(96, 96, 3) uint8: coarse light and shade on rust's colour or on blue."""
    field = shapes.noise(np.random.default_rng(seed), 96, 6)[..., None]
    colour = np.array([150, 80, 45] if red else [60, 90, 160])
    return np.clip(colour * (1 + 0.25 * field), 0, 255).astype(np.uint8)


def photos(count: int) -> list[Photo]:
    """Grain, of which every second one is reddish and called corroded."""
    return [Photo(f"{n}", grain(n, red=n % 2 == 0), n % 2 == 0) for n in range(count)]


def logit(probability: object) -> np.ndarray:
    p = np.asarray(probability, np.float64)
    return np.log(p / (1 - p))


def test_the_witnesses_logits_are_added_and_the_pixels_stay() -> None:
    shipped = models.read_weights(models.find("rustvid-student"))
    both, alone = student.build(world=True), student.build()
    for model in (both, alone):
        network.assign_weights(model, shipped, "shipped")
    picture = np.random.default_rng(0).uniform(-1, 1, (2, 96, 128, 3)).astype(np.float32)
    image = keras.Input((96, 128, 3))
    second = keras.Model(image, student.known(image))
    network.assign_weights(second, shipped, "shipped")
    features = np.asarray(second(picture)).mean(axis=(1, 2))
    kernel, bias = (shipped[f"world_whole_head/{name}"] for name in ("kernel", "bias"))
    witness = features @ kernel[:, 0].astype(np.float32) + bias
    found, own = both(picture), alone(picture)
    expected = logit(own["probability"]) + witness
    np.testing.assert_allclose(logit(found["probability"]), expected, atol=1e-3)
    np.testing.assert_array_equal(found["evidence"], own["evidence"])


def test_the_second_encoder_that_ships_is_not_the_first() -> None:
    encoder = probe.world("rustvid-student")
    assert {name.removeprefix(student.WORLD) for name in encoder} < set(
        models.read_weights(models.find("rustvid-student"))
    )
    own = models.read_weights(models.find("rustvid-student"))
    assert not np.array_equal(encoder["world_top/kernel"], own["top/kernel"])


def test_a_probe_tells_apart_what_it_is_shown() -> None:
    some = photos(12)
    head = probe.fitted(some, probe.world(None))
    kernel, bias = head["world_whole_head/kernel"], head["world_whole_head/bias"]
    assert kernel.shape == (1280, 1) and bias.shape == (1,)
    unseen = photos(24)[12:]
    answers = probe._features(unseen, probe.world(None)) @ kernel[:, 0] + bias
    assert metrics.auc(np.array([p.corroded for p in unseen]), answers) > 0.95


def test_the_shift_balances_classes_whatever_their_numbers() -> None:
    truth = np.array([True] * 2 + [False] * 6)
    even = np.array([0.5] * 8)
    assert probe.shift(even, truth) == pytest.approx(0, abs=1e-6)
    high = np.array([0.9] * 8)  # says nothing but that everything is corroded
    assert probe.shift(high, truth) == pytest.approx(-np.log(9), abs=1e-6)
    told = np.array([0.99, 0.9, 0.8, 0.7, 0.7, 0.6, 0.6, 0.5])
    moved = 1 / (1 + np.exp(-logit(told) - probe.shift(told, truth)))
    assert moved[truth].mean() + moved[~truth].mean() == pytest.approx(1, abs=1e-6)
    assert np.isfinite(probe.shift(np.array([1.0, 0.0]), np.array([True, False])))


def test_a_student_is_levelled_by_what_taught_it_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "student.npz"
    model = student.build()
    model.get_layer("whole_head").bias.assign([3.0])
    network.save_weights(model, path)
    held_out = photos(8)
    train.levelled(path, held_out)  # too few to say anything
    assert models.read_weights(path)["whole_head/bias"] == 3
    monkeypatch.setattr(train, "_ENOUGH", 4)
    told = train.levelled(path, held_out)
    assert models.read_weights(path)["whole_head/bias"] < 1
    again = evaluate.classify(held_out, Model(ModelConfig(name=str(path))))
    np.testing.assert_allclose(again.probability, told.probability, atol=2e-3)
    assert told.probability.mean() == pytest.approx(0.5, abs=0.01)


def test_a_student_without_a_second_witness_still_runs_and_can_be_given_one(tmp_path: Path) -> None:
    path = tmp_path / "student.npz"
    network.save_weights(student.build(), path)
    assert not student.knows_world(models.read_weights(path))
    config = ModelConfig(name=str(path), size=96, precision="float32", redness=0)
    picture = [grain(1, red=True)]
    before = Model(config).look(picture)
    train.save_with_probe(path, photos(6), None)
    assert student.knows_world(models.read_weights(path))
    after = Model(config).look(picture)
    assert before.probability[0] != after.probability[0]
    np.testing.assert_allclose(before.evidence, after.evidence, atol=2e-3)
