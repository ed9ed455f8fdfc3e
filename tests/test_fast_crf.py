"""The CRF on a grid: its kernels against the sums they stand for, its masks against densecrf's."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from rustvid.config import Config, CrfConfig, RefineConfig
from rustvid.errors import UsageError
from rustvid.method import refine as package
from rustvid.method.refine import fast, refine
from rustvid.method.refine.fast import fast_crf
from rustvid.preflight import preflight

crf = sys.modules["rustvid.method.refine.crf"]  # the package's `crf` is the function
Array = NDArray[Any]
STEEL, RUST = (120, 140, 160), (150, 75, 35)


def scene(size: int, seed: int = 0) -> tuple[Array, Array]:
    """Steel with a rusty disc, in grain and in a light that falls off; and the disc."""
    disc = np.zeros((size, size), np.uint8)
    cv2.circle(disc, (int(0.45 * size), int(0.5 * size)), int(0.25 * size), 1, -1)
    light = np.linspace(0.7, 1.1, size)[None, :, None]
    grain = np.random.default_rng(seed).normal(0, 8, (size, size, 3))
    picture = np.where(disc[..., None] == 1, RUST, STEEL) * light + grain
    return np.clip(picture, 0, 255).astype(np.uint8), disc


def rough(disc: Array, seed: int = 0) -> Array:
    """A mask 0–255 that knows the disc about: shifted, with holes, with strays."""
    random = np.random.default_rng(seed)
    noise = cv2.GaussianBlur(random.normal(0, 1, disc.shape), (0, 0), disc.shape[0] / 60)
    guess = np.roll(disc, disc.shape[0] // 20, axis=(0, 1)) * 1.0 + 2.0 * noise / noise.std() / 4
    return np.where(guess > 0.5, 220, 0).astype(np.uint8)


def overlap(a: Array, b: Array) -> float:
    return float((a & b).sum() / (a | b).sum())


def all_pairs(image: Array, reach: float, tolerance: float) -> Array:
    """Eq. 10's appearance kernel between all pixels of a small picture, (n, n)."""
    height, width = image.shape[:2]
    rows, columns = np.mgrid[:height, :width].reshape(2, -1).astype(float)
    colours = image.reshape(-1, 3).astype(float)
    place = (rows[:, None] - rows) ** 2 + (columns[:, None] - columns) ** 2
    colour = ((colours[:, None] - colours) ** 2).sum(axis=2)
    return np.exp(-place / (2 * reach**2) - colour / (2 * tolerance**2))


@pytest.mark.parametrize("tolerance", [8.0, 13.0, 30.0])
def test_the_appearance_kernel_is_the_sum_over_all_pairs(tolerance: float) -> None:
    image, disc = scene(48)
    values = np.random.default_rng(1).random((48, 48)).astype(np.float32) * (0.2 + disc)
    wanted = (all_pairs(image, 8.0, tolerance) @ values.ravel()).reshape(48, 48)
    found = fast._bilateral(image, 8.0, tolerance)(values.astype(np.float32))
    error = np.abs(found - wanted) / wanted
    assert np.median(error) < 0.16 and np.corrcoef(found.ravel(), wanted.ravel())[0, 1] > 0.97


def test_two_labels_in_one_are_the_mean_field_of_two(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the same kernels, softmax over two labels step by step gives the same field."""
    image, disc = scene(24)
    config = CrfConfig(appearance_sigma_xy=200.0, smoothness_sigma_xy=30.0)
    scale, mask = 24 / crf.PAPER_SIZE, rough(disc)
    appear = all_pairs(image, 200.0 * scale, 13.0)
    smooth = all_pairs(np.zeros_like(image), 30.0 * scale, 1.0)
    exact = iter([smooth, appear])
    monkeypatch.setattr(fast, "_gaussian", lambda reach: _applied(next(exact)))
    monkeypatch.setattr(fast, "_bilateral", lambda *_: _applied(next(exact)))
    energy = crf.unary(mask, config.confidence)
    q = _softmax(-energy)
    for _ in range(5):
        message = np.zeros_like(q)
        for weight, kernel in ((3.0, smooth), (10.0, appear)):
            norm = 1 / np.sqrt(kernel.sum(axis=1))
            message += weight * (norm * (kernel @ (norm * q).T).T)
        q = _softmax(message - energy)
    wanted = q.argmax(axis=0).reshape(24, 24)
    assert 0 < wanted.mean() < 1
    np.testing.assert_array_equal(fast_crf(image, energy, config, 5), wanted)


def _applied(kernel: Array) -> Any:
    return lambda values: (kernel @ values.ravel()).reshape(values.shape).astype(np.float32)


def _softmax(logits: Array) -> Array:
    shifted = np.exp(logits - logits.max(axis=0))
    return np.asarray(shifted / shifted.sum(axis=0))


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("size", [192, 286])
def test_it_marks_what_densecrf_marks(size: int, seed: int) -> None:
    image, disc = scene(size, seed)
    mask = rough(disc, seed)
    energy = crf.unary(mask, CrfConfig().confidence)
    dense, found = (f(image, energy, CrfConfig(), 10) for f in (crf.crf, fast_crf))
    assert overlap(mask > 0, disc > 0) < 0.8  # there was something to do
    assert overlap(dense, disc) > 0.95
    assert overlap(found, dense) > 0.97


def test_a_picture_of_one_colour_and_one_of_noise_are_no_trouble() -> None:
    mask = rough(scene(96)[1])
    plain = np.full((96, 96, 3), 128, np.uint8)
    noise = np.random.default_rng(0).integers(0, 256, (96, 96, 3), np.uint8)
    for image in (plain, noise):
        found = fast_crf(image, crf.unary(mask, 0.9), CrfConfig(), 10)
        assert found.shape == mask.shape and set(np.unique(found)) <= {0, 1}
    for most in (700, 60):
        assert fast._colours(noise, 5.0, most)[1].shape[0] <= most


@pytest.mark.parametrize("changes", [{"appearance_sigma_xy": 3.0}, {"appearance_sigma_rgb": 2.0}])
def test_a_reach_too_short_for_cells_is_told(changes: dict[str, float]) -> None:
    """Before anything is loaded: it depends on the configuration alone."""
    config = replace(CrfConfig(), **changes)
    with pytest.raises(UsageError, match=r"refine\.engine fast needs a reach of .*use densecrf"):
        fast.check(config, 572)
    whole = replace(Config(), input="film.mp4", refine=RefineConfig(engine="fast", crf=config))
    with pytest.raises(UsageError, match="use densecrf"):
        preflight(whole)
    fast.check(CrfConfig(), 192)


@pytest.mark.parametrize(("reach", "bounded"), [(80.0, False), (60.0, False), (10.0, True)])
def test_short_reaches_take_fewer_colours_not_hours(
    reach: float, bounded: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cells of place grow with one over the reach squared: all products together are bounded."""
    image, known = np.zeros((572, 572, 3), np.uint8), fast._colours
    allowed: list[int] = []
    monkeypatch.setattr(fast, "_colours", lambda *given: allowed.append(given[2]) or known(*given))
    fast._bilateral(image, reach, 13.0)
    (most,) = allowed
    assert (most < fast._MOST_COLOURS) == bounded
    places = (572 / (reach / fast._CELLS_OF_REACH)) ** 2
    assert most**2 * places < 1.2 * fast._MOST_PRODUCTS


@pytest.mark.parametrize("method", ["advanced", "crf"])
def test_refine_takes_the_engine_that_is_asked_for(
    method: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    image, disc = scene(192)
    heat = cv2.GaussianBlur(cv2.resize(disc, (28, 28)).astype(np.float32), (0, 0), 1.2)
    config = RefineConfig(method=method, size=192)
    dense, quick = (refine(image, heat, replace(config, engine=e)) for e in ("densecrf", "fast"))
    assert overlap(quick, dense) > 0.95
    monkeypatch.setattr(package, "crf", lambda *_: "densecrf's")
    monkeypatch.setattr(package, "fast_crf", lambda *_: "the fast one's")
    assert refine(image, heat, config) == "densecrf's"
    assert refine(image, heat, replace(config, engine="fast")) == "the fast one's"
