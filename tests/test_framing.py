"""The classifier sees the picture framed by its mirror image, and its map lies where it looks."""

from __future__ import annotations

import cv2
import keras
import numpy as np
import pytest

from rustvid.config import LocaliseConfig, ModelConfig
from rustvid.method import network
from rustvid.method.framing import FIELD, MARGIN, POSITION, framed
from rustvid.method.model import Model
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


@pytest.mark.parametrize("spot", [(30, 540), (300, 286), (560, 90)])
def test_a_bright_spot_is_hot_where_it_is(spot: tuple[int, int]) -> None:
    picture = np.zeros((*SIDE, 3), np.uint8)
    picture[spot[0] - 4 : spot[0] + 4, spot[1] - 4 : spot[1] + 4] = 255
    found = handing_through().predict_on_batch(framed(picture)[None].astype(np.float32))
    heat = cv2.resize(np.asarray(found)[0, ..., 0], SIDE)
    hot = np.argwhere(heat > 0.5 * heat.max()).mean(axis=0)
    assert np.abs(hot - spot).max() < 20  # a position is 20 pixels of the picture wide


def test_the_frame_is_the_pictures_mirror_image() -> None:
    picture = np.random.default_rng(0).integers(0, 255, (448, 448, 3), np.uint8)
    seen = framed(picture)
    assert seen.shape == (*SIDE, 3)
    np.testing.assert_array_equal(seen[MARGIN:-MARGIN, MARGIN:-MARGIN], picture)
    np.testing.assert_array_equal(seen[MARGIN:-MARGIN, :MARGIN], picture[:, MARGIN:0:-1])


def test_a_picture_is_framed_unless_the_papers_way_is_asked_for() -> None:
    config = ModelConfig(name="rustseg-lite", batch=1)
    picture = np.random.default_rng(0).integers(0, 255, (*SIDE, 3), np.uint8)
    papers = Model(config, LocaliseConfig(frame=False))
    by_hand = papers.look([framed(picture)])
    ours = Model(config).look([picture])
    np.testing.assert_array_equal(ours.evidence, by_hand.evidence)
    assert not np.array_equal(ours.evidence, papers.look([picture]).evidence)
