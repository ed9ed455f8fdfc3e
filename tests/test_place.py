"""A heat map lies where its positions look."""

from __future__ import annotations

from dataclasses import replace

import cv2
import keras
import numpy as np
import pytest

from rustvid.config import LocaliseConfig, ModelConfig
from rustvid.method import network
from rustvid.method.model import Model
from rustvid.method.place import FIELD, POSITION, placed
from rustvid.method.sizes import CLASSIFIER_SIZE

SIDE = (CLASSIFIER_SIZE, CLASSIFIER_SIZE)


def handing_through() -> keras.Model:
    """An encoder of one filter whose every convolution hands the pixel in its middle on."""
    image = keras.Input((*SIDE, 3))
    model = keras.Model(image, network.encoder(image, 1)[-1])
    for layer in model.layers:
        for variable in layer.weights:
            value = np.zeros(variable.shape, np.float32)
            if value.ndim == 4:
                value[1, 1, 0] = 1
            variable.assign(value)
    return model


def test_what_a_position_sees_follows_from_the_network() -> None:
    sides = [network.encoder(keras.Input((side, side, 3)), 1)[-1].shape[1] for side in (140, 156)]
    assert sides == [1, 2] and (FIELD, POSITION) == (140, 16)


@pytest.mark.parametrize("spot", [(100, 400), (300, 286), (480, 90)])
def test_a_bright_spot_is_hot_where_it_is(spot: tuple[int, int]) -> None:
    picture = np.zeros((1, *SIDE, 3), np.float32)
    picture[0, spot[0] - 2 : spot[0] + 2, spot[1] - 2 : spot[1] + 2] = 1
    heat = np.asarray(handing_through().predict_on_batch(picture))[..., 0]
    where = cv2.resize(placed(heat)[0], SIDE)
    hot = np.argwhere(where > 0.5 * where.max()).mean(axis=0)
    assert np.abs(hot - spot).max() < POSITION


def test_a_map_is_placed_unless_the_papers_way_is_asked_for() -> None:
    config = ModelConfig(name="rustseg-lite", batch=1)
    picture = np.random.default_rng(0).integers(0, 255, (*SIDE, 3), np.uint8)
    place = LocaliseConfig()
    ours, papers = (
        Model(config, how).look([picture]).evidence[0]
        for how in (place, replace(place, place="picture"))
    )
    assert papers.shape == (28, 28) and ours.shape == (36, 36)
    np.testing.assert_array_equal(ours[4:-4, 4:-4], papers)
    assert (ours[:4, 4:-4] == papers[0]).all() and (ours[4:-4, -4:] == papers[:, -1:]).all()
