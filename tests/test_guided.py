"""The paper's classifier that learns by its own heat map: the map that is taught is the map that
is shown, and what is begun with is kept."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import keras
import numpy as np
import pytest
import tensorflow as tf
from test_training import RUST, grainy, write_set

from rustvid.errors import ModelError, UsageError
from rustvid.method import models, network
from rustvid.method.framing import framed
from rustvid.training import guided, metrics, neuron, train
from rustvid.training.data import Photo
from rustvid.training.recipe import PaperConfig, TrainConfig


def config(filters: int = 2, crop: int = 572, **changes: Any) -> TrainConfig:
    paper = PaperConfig(filters=filters)
    options = {"network": "guided", "rounds": 1, "start": None, "crop": crop, **changes}
    return TrainConfig(paper=paper, **options)


def pictures(size: int, count: int = 2) -> np.ndarray:
    """(count, size, size, 3) float32 in [-1, 1], rust-coloured grain and grey."""
    grain = [grainy(RUST if n % 2 else np.array([120, 125, 130]), n, size) for n in range(count)]
    return np.stack(grain).astype(np.float32) / 127.5 - 1


def with_bias(model: Any) -> Any:
    """Weights as after some training: the biases are not zero, the neuron sees both ways."""
    rng = np.random.default_rng(1)
    model.set_weights([w + rng.normal(0, 0.05, w.shape).astype("f4") for w in model.get_weights()])
    return model


def as_it_runs(pupil: Any) -> Any:
    return pupil.ready(pupil.model.get_weights(), "float32")


def arrays_of(model: Any) -> dict[str, np.ndarray]:
    """As in a weights file, but not rounded to float16."""
    convert = keras.ops.convert_to_numpy
    return {f"{x.name}/{v.name}": convert(v) for x in model.layers for v in x.weights}


def answer(model: Any, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    found = model(images, training=False)
    return tuple(keras.ops.convert_to_numpy(found[key]) for key in ("probability", "evidence"))


def test_the_map_that_is_taught_is_the_map_that_is_shown() -> None:
    """At 572, whose neuron weighs every position, against the network as it runs."""
    pupil = guided.pupil(config())
    with_bias(pupil.model)
    images = pictures(572)
    logit, marks = answer(pupil.model, images)
    probability, shown = answer(as_it_runs(pupil), images)
    np.testing.assert_allclose(1 / (1 + np.exp(-logit)), probability, rtol=1e-4)
    assert shown.max() == 1 and marks.shape == (2, 224, 224)
    for taught, heat in zip(marks, shown, strict=True):
        ratio = np.exp(taught)  # (H + 0.01) / (1 − H + 0.01)
        taught_heat = (1.01 * ratio - 0.01) / (1 + ratio)
        fine = cv2.resize(heat, (224, 224), interpolation=cv2.INTER_LINEAR)
        np.testing.assert_allclose(taught_heat, fine, atol=2e-3)


def test_a_mean_over_positions_runs_as_a_neuron_with_equal_weights() -> None:
    """Of a picture whose every part is the same, all sizes give the same answer."""
    pupil = guided.pupil(config(crop=156))
    with_bias(pupil.model)
    tile = pictures(16, 1)
    small, large = np.tile(tile, (1, 10, 10, 1))[:, :156, :156], np.tile(tile, (1, 36, 36, 1))
    logit, _ = answer(pupil.model, small)
    probability, _ = answer(as_it_runs(pupil), large[:, :572, :572])
    np.testing.assert_allclose(1 / (1 + np.exp(-logit)), probability, rtol=1e-4)


@pytest.mark.parametrize("crop", [156, 572])
def test_a_wider_network_begins_as_the_narrower_ones_equal(crop: int) -> None:
    first = guided.pupil(config(2, crop))
    with_bias(first.model)
    wide = guided.pupil(config(3, crop))
    guided.begin(wide.model, arrays_of(as_it_runs(first)), "narrow")
    images = pictures(crop)
    for before, after in zip(answer(first.model, images), answer(wide.model, images), strict=True):
        np.testing.assert_allclose(after, before, rtol=1e-3, atol=1e-3)
    kernels = [w for w in wide.model.get_weights() if w.ndim == 4]
    assert all(kernel[..., -1].any() for kernel in kernels)  # new filters have drawn weights


def test_weights_whose_sum_is_beyond_half_precision_begin_a_training() -> None:
    """784 positions of 104 each: 65,504 is the largest number of half precision."""
    small = guided.pupil(config(crop=156))
    arrays = {k: v.astype(np.float16) for k, v in arrays_of(as_it_runs(small)).items()}
    arrays["head/kernel"][:] = 104.0
    guided.begin(small.model, arrays, "large")
    head = small.model.get_layer("head")
    np.testing.assert_allclose(keras.ops.convert_to_numpy(head.kernel), 784 * 104.0, rtol=1e-3)


def test_a_training_at_572_goes_on_where_the_small_one_ended(tmp_path: Path) -> None:
    small = as_it_runs(guided.pupil(config(crop=156)))
    path = tmp_path / "small.npz"
    network.save_weights(small, path)
    network.assign_weights(small, models.read_weights(path), str(path))  # the file holds float16
    large = guided.pupil(config(crop=572, start=str(path)))
    images = pictures(572)
    for before, after in zip(answer(small, images), answer(as_it_runs(large), images), strict=True):
        np.testing.assert_allclose(after, before, atol=1e-4)


@pytest.mark.parametrize("weight", [1e-4, 1e-8, 1e-12, 1e-15, 0.0, -1e-12])
def test_the_map_of_a_neuron_that_gives_next_to_no_weight_has_a_gradient(weight: float) -> None:
    """New filters begin so: one value that is not a number ends the training."""
    pupil = guided.pupil(config(crop=156))
    weights = pupil.model.get_weights()
    weights[-2] = np.full_like(weights[-2], -weight)
    pupil.model.set_weights(weights)
    images = keras.ops.convert_to_tensor(pictures(156))
    with tf.GradientTape() as tape:
        loss = keras.ops.mean(pupil.model(images, training=True)["evidence"] ** 2)
    gradients = tape.gradient(loss, pupil.model.trainable_variables)
    finite = [np.isfinite(g.numpy()).all() for g in gradients if g is not None]
    assert len(finite) > 20 and all(finite)


def test_a_step_in_bfloat16_keeps_its_weights_and_its_map_in_float32() -> None:
    keras.utils.set_random_seed(1)
    whole, half = (
        guided.pupil(config(crop=156)),
        guided.pupil(config(crop=156, precision="mixed_bfloat16")),
    )
    with_bias(whole.model)
    half.model.set_weights(whole.model.get_weights())
    computes = {layer.name: layer.compute_dtype for layer in half.model.layers}
    assert (computes["conv5_2"], computes["head"]) == ("bfloat16", "float32")
    assert {variable.dtype for variable in half.model.weights} == {"float32"}
    images = pictures(156)
    (_, wanted), (_, found) = answer(whole.model, images), answer(half.model, images)
    assert np.ptp(wanted) > 1  # logits: there is something to compare
    assert np.abs(found - wanted).mean() < 0.05 * np.ptp(wanted)


def test_what_it_cannot_begin_with_is_said(tmp_path: Path) -> None:
    wide = tmp_path / "wide.npz"
    network.save_weights(as_it_runs(guided.pupil(config(3, 156))), wide)
    with pytest.raises(ModelError, match="is wider than the 32 last filters"):
        guided.pupil(config(2, 156, start=str(wide)))
    with pytest.raises(ModelError, match="is a student"):
        guided.pupil(config(2, 156, start="rustvid-student"))
    with pytest.raises(UsageError, match=r"crop must be 16 n \+ 140 .* got 224"):
        guided.pupil(config(2, 224))
    with pytest.raises(UsageError, match="rounds"):
        guided.pupil(config(2, 156, rounds=2))
    with pytest.raises(UsageError, match="encoder_pace"):
        guided.pupil(config(2, 156, encoder_pace=0.5))


def test_labels_are_compared_where_the_map_looks_and_only_of_pictures_with_rust() -> None:
    """A crop of 156 has 2×2 positions, which look at its middle 32×32 pixels: 16×16 labels."""
    loss = guided.map_loss(0.0)
    right = np.zeros((1, 78, 78), np.float32)
    right[:, :39] = 1  # the upper half is rust
    logit = np.where(np.arange(16)[None, :, None] < 8, 5.0, -5.0) * np.ones((1, 16, 16))
    assert float(loss(right, logit.astype("f4"))) < 0.01
    assert float(loss(1 - right, logit.astype("f4"))) > 4
    outside = np.zeros_like(right)
    outside[:, :10] = 1  # beyond what the map looks at
    for nothing in (np.zeros_like(right), outside, np.full_like(right, -1)):
        assert float(loss(nothing, logit.astype("f4"))) == 0


def test_the_map_learns_where_the_rust_is(tmp_path: Path) -> None:
    """Two colours, a hundred steps: the heat map lies on the rust of a picture never seen."""
    write_set(tmp_path / "photos", 8)
    recipe = config(
        4,
        172,
        first=100,
        rate=3e-3,
        warmup=5,
        horizon=20,
        composites=4,
        on_corroded=0,
        clean=2,
        corroded=1,
        validation=0.2,
        longest=320,
    )
    weights = train.train(tmp_path / "photos", tmp_path / "out", recipe)
    assert weights.name == "rustseg.npz" and models.kind_of_file(weights) == "classifier"
    assert weights.with_suffix(".md").read_text().startswith("# Model card: rustseg\n")
    picture = grainy(np.array([70, 110, 140]), 90, 572)
    picture[:, 286:] = grainy(RUST, 91, 572)[:, 286:]
    whole = network.build(4)
    network.assign_weights(whole, models.read_weights(weights), "w")
    _, heat = answer(whole, picture[None].astype(np.float32) / 127.5 - 1)
    left, right = heat[0, :, :12].mean(), heat[0, :, 16:].mean()
    assert right > 3 * left


def test_the_neuron_fitted_again_tells_photos_apart_and_leaves_its_map_alone() -> None:
    """One filter speaks for corrosion, one against it; the taught neuron uses the first; noise
    else."""
    rng = np.random.default_rng(0)
    labels = rng.random(400) < 0.3
    means = rng.random((400, 6)).astype(np.float32)
    means[:, 0] += labels
    means[:, 1] += ~labels
    own = 2 * means[:, 0] + 3 * means[:, 2]  # it has a liking for noise, too
    free = np.array([False, True, False, True, True, True])
    share, added, against = neuron.fitted(own, means, labels, free)
    logit = share * own + means @ added - against
    assert metrics.auc(labels, logit) > metrics.auc(labels, own) + 0.05
    assert share > 0 > added[1] and (added <= 0).all() and not added[~free].any()
    assert abs((logit > 0)[labels].mean() - (logit <= 0)[~labels].mean()) < 0.1  # balanced


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_refitted_neuron_runs_as_it_was_fitted(
    monkeypatch: pytest.MonkeyPatch, dtype: str
) -> None:
    pupil = guided.pupil(config(2, 156))
    whole, looking = as_it_runs(pupil), pupil.ready(pupil.model.get_weights(), dtype)
    photos = [Photo("a", grainy(RUST, 3), True), Photo("b", grainy(RUST // 2, 4), False)]
    pictures = np.stack([framed(photo.image) for photo in photos]).astype(np.float32) / 127.5 - 1
    before, _ = answer(whole, pictures)
    monkeypatch.setattr(
        neuron, "fitted", lambda own, means, labels, free: (2.0, np.zeros(means.shape[1]), 0.25)
    )
    neuron.refit(whole, photos, looking)
    assert whole.get_layer("head").kernel.dtype == "float32"
    after, _ = answer(whole, pictures)
    logits = [np.log(p / (1 - p)) for p in (before, after)]
    np.testing.assert_allclose(logits[1], 2 * logits[0] - 0.25, rtol=1e-3, atol=1e-4)
