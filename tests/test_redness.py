"""The frame's own colours as evidence: what is redder than the rest of the frame gains."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from rustvid.method import redness


def frame(background: tuple[int, int, int], spot: tuple[int, int, int]) -> np.ndarray:
    """A spot on the middle ninth of a background: (90, 120, 3) uint8 RGB."""
    image = np.full((90, 120, 3), background, np.uint8)
    image[30:60, 40:80] = spot
    return image


def doubtful(shape: tuple[int, int] = (45, 60)) -> np.ndarray:
    """Evidence 0.3 on the left half of the frame, which holds half of the spot; else nothing."""
    evidence = np.zeros(shape, np.float32)
    evidence[:, : shape[1] // 2] = 0.3
    return evidence


INSIDE, OUTSIDE = (22, 25), (22, 5)  # in the spot and beside it, both doubtful


@pytest.mark.parametrize("light", [(1.0, 1.0, 1.0), (0.7, 1.0, 0.8), (1.0, 0.8, 0.6)])
def test_a_spot_redder_than_the_rest_gains_in_any_light(light: tuple[float, ...]) -> None:
    image = (frame((150, 150, 150), (150, 100, 80)) * np.array(light)).astype(np.uint8)
    found = redness.weighed(doubtful(), image, 0.15)
    assert found[INSIDE] > 0.6
    assert found[OUTSIDE] == pytest.approx(0.3, abs=0.03)  # as red as the rest: nothing changes
    assert found.shape == (45, 60) and found.dtype == np.float32


def test_what_is_greener_than_the_rest_loses() -> None:
    image = frame((150, 130, 120), (100, 150, 100))
    assert redness.weighed(doubtful(), image, 0.15)[INSIDE] < 0.1


def test_it_adds_gain_times_redness_to_the_logit() -> None:
    image = frame((120, 120, 120), (160, 110, 90))
    redder = cv2.cvtColor(image, cv2.COLOR_RGB2LAB)[45, 60, 1] - 128.0
    found = float(redness.weighed(doubtful(), image, 0.1)[22, 26])
    expected = np.log(0.3 / 0.7) + 0.1 * redder
    assert np.log(found / (1 - found)) == pytest.approx(expected, abs=0.05)


def test_where_everything_is_evident_the_least_evident_is_the_rest() -> None:
    evidence = np.linspace(0.5, 0.99, 45 * 60, dtype=np.float32).reshape(45, 60)
    found = redness.weighed(evidence, frame((120, 70, 50), (120, 70, 50)), 0.15)
    assert np.allclose(found, evidence, atol=2e-3)


def test_no_gain_changes_nothing_and_extremes_stay_finite() -> None:
    image = frame((0, 255, 0), (255, 0, 0))
    evidence = doubtful()
    assert redness.weighed(evidence, image, 0) is evidence
    for value in (0.0, 1.0):
        found = redness.weighed(np.full((8, 8), value, np.float32), image, 2.0)
        assert np.isfinite(found).all() and 0 <= found.min() <= found.max() <= 1
