"""From a heat map to pixels: eq. 8–9, two colours, the diamond, the CRF, and all in turn."""

from __future__ import annotations

import subprocess
import sys
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from rustvid.config import RefineConfig
from rustvid.method import refine as package
from rustvid.method.refine import energy_of, kmeans, refine, threshold

Array = NDArray[Any]
METHODS = ("advanced", "crf", "kmeans", "threshold", "student", "student-crf")
STEEL, RUST = (120, 140, 160), (150, 75, 35)


def scene(size: int = 96) -> tuple[Array, Array]:
    """A picture (s, s, 3) of steel with a rusty rectangle, and the rectangle's mask."""
    patch = np.zeros((size, size), np.uint8)
    patch[int(0.3 * size) : int(0.6 * size), int(0.3 * size) : int(0.75 * size)] = 1
    picture = np.where(patch[..., None] == 1, RUST, STEEL)
    grain = np.random.default_rng(0).normal(0, 6, picture.shape)
    return np.clip(picture + grain, 0, 255).astype(np.uint8), patch


def blurry(patch: Array, side: int = 28, sigma: float = 1.2) -> Array:
    """A heat map (side, side) of the patch, as soft as Grad-CAM++ makes it."""
    heat = cv2.resize(patch.astype(np.float32), (side, side), interpolation=cv2.INTER_AREA)
    heat = cv2.GaussianBlur(heat, (0, 0), sigma)
    return (heat / heat.max()).astype(np.float32)


def overlap(mask: Array, truth: Array) -> float:
    """Intersection over union."""
    both, either = np.logical_and(mask, truth).sum(), np.logical_or(mask, truth).sum()
    return float(both / either)


def drawn(picture: str) -> Array:
    return np.array(
        [[255 * (c == "#") for c in line.split()] for line in picture.split("\n") if line.strip()],
        np.uint8,
    )


# --- rescale and filter (eq. 8–9)


def test_the_threshold_is_1_less_maximum_plus_mean() -> None:
    heat = np.float32([[1.0, 0.6], [0.3, 0.1]])  # mean 0.5
    assert threshold.dynamic_threshold(heat) == pytest.approx(0.5)
    heat = np.float32([[0.8, 0.4], [0.0, 0.0]])  # mean 0.3
    assert threshold.dynamic_threshold(heat) == pytest.approx(0.5)


def test_heat_at_or_above_the_threshold_is_kept_as_it_is_and_the_rest_is_0() -> None:
    heat = np.float32([[1.0, 0.6], [0.5, 0.4999]])
    kept = threshold.filtered(heat, 0.5)
    assert kept.dtype == np.uint8
    assert kept.tolist() == [[255, 153], [128, 0]]  # 0.5 · 255 = 127.5


@pytest.mark.parametrize(
    ("heat", "code"), [(0.5019, 128), (0.4999, 127), (0.998, 254), (0.999, 255), (0.0, 0)]
)
def test_heat_becomes_the_nearest_of_the_256_codes(heat: float, code: int) -> None:
    assert threshold.filtered(np.float32([[heat]]), 0.0).tolist() == [[code]]


def test_no_heat_gives_no_mask() -> None:
    heat = np.zeros((28, 28), np.float32)
    assert not threshold.filtered(heat, threshold.dynamic_threshold(heat)).any()


def test_enlarging_is_linear_between_the_centres_of_the_cells() -> None:
    wide = threshold.enlarge(np.float32([[0, 1], [0, 1]]), 8)
    assert wide.shape == (8, 8)
    expected = [0, 0, 0.125, 0.375, 0.625, 0.875, 1, 1]
    np.testing.assert_allclose(wide, [expected] * 8, atol=1e-6)


# --- K-means


def test_two_colours_do_not_depend_on_the_number_of_threads() -> None:
    """Sums are rounded in another order by two threads; pixels at the border then change sides."""
    for seed in range(12):
        noise = np.random.default_rng(seed).normal(120, 40, (200, 200, 3))
        picture = np.clip(noise, 0, 255).astype(np.uint8)
        found = set()
        for threads in (1, 2):
            with threadpool_limits(threads, "openmp"):
                found.add(kmeans.two_colours(picture, 8192, 0).tobytes())
        assert len(found) == 1


@pytest.mark.parametrize("pixels", [0, 500])
@pytest.mark.parametrize("seed", range(5))
def test_two_clusters_are_the_two_colours_of_a_picture(pixels: int, seed: int) -> None:
    picture, patch = scene()
    cluster = kmeans.two_colours(picture, pixels, seed)
    assert cluster.dtype == bool
    if not cluster[patch == 1].any():
        cluster = ~cluster  # which is which is arbitrary
    np.testing.assert_array_equal(cluster, patch == 1)


def test_the_seed_decides_where_the_colours_do_not() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (40, 40, 3), np.uint8)
    seen = {kmeans.two_colours(noise, 100, seed).tobytes() for seed in (0, 1, 2) for _ in range(3)}
    assert len(seen) == 3


def test_trim_keeps_the_cluster_that_covers_most_of_the_mask() -> None:
    cluster = drawn("# # # .") > 0
    mask = np.uint8([[0, 200, 100, 50]])  # three pixels, two of them in the cluster
    assert kmeans.trim(mask, cluster).tolist() == [[0, 200, 100, 0]]
    assert kmeans.trim(mask, ~cluster).tolist() == [[0, 200, 100, 0]]


def test_the_largest_cluster_is_measured_by_area_not_by_heat() -> None:
    cluster = drawn("# # .") > 0
    assert kmeans.trim(np.uint8([[10, 10, 255]]), cluster).tolist() == [[10, 10, 0]]


def test_a_picture_of_one_colour_keeps_its_mask_and_stays_silent() -> None:
    plain = np.full((32, 32, 3), 90, np.uint8)
    mask = np.full((32, 32), 200, np.uint8)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        cluster = kmeans.two_colours(plain, 0, seed=0)
    np.testing.assert_array_equal(kmeans.trim(mask, cluster), mask)


# --- erosion


def test_the_diamond_is_five_across_and_no_square() -> None:
    mask = drawn("""
        . . . . . . . . . . .
        . . . # . . . . . . .
        . . # # # . . # # . .
        . # # # # # . # # . .
        . . # # # . . . . . .
        . . . # . . . . . . .
        . . . . . . . . . . .
    """)
    assert (
        kmeans.erode(mask, 5).tolist()
        == drawn("""
        . . . . . . . . . . .
        . . . . . . . . . . .
        . . . . . . . . . . .
        . . . # . . . . . . .
        . . . . . . . . . . .
        . . . . . . . . . . .
        . . . . . . . . . . .
    """).tolist()
    )


def test_a_square_loses_two_pixels_on_each_side() -> None:
    mask = np.zeros((11, 11), np.uint8)
    mask[1:10, 1:10] = 180
    eroded = kmeans.erode(mask, 5)
    expected = np.zeros_like(mask)
    expected[3:8, 3:8] = 180
    np.testing.assert_array_equal(eroded, expected)


def test_the_edge_of_the_picture_is_no_edge_of_the_rust() -> None:
    everywhere = np.full((9, 9), 255, np.uint8)
    np.testing.assert_array_equal(kmeans.erode(everywhere, 5), everywhere)


def test_a_width_of_1_erodes_nothing() -> None:
    mask = drawn(". # .")
    np.testing.assert_array_equal(kmeans.erode(mask, 1), mask)


# --- the whole way


@pytest.mark.parametrize("size", [96, 160])
@pytest.mark.parametrize("method", ["crf", "advanced"])
def test_a_blurry_heat_map_snaps_to_the_edge_of_the_painted_patch(method: Any, size: int) -> None:
    picture, patch = scene(size)
    heat = blurry(patch)
    before = overlap(refine(picture, heat, RefineConfig(method="threshold", size=size)), patch)
    after = overlap(refine(picture, heat, RefineConfig(method=method, size=size)), patch)
    assert before < 0.85  # or there was nothing to do
    assert after > 0.9


@pytest.mark.parametrize("method", METHODS)
def test_a_mask_is_0_or_1_at_the_working_size_whatever_the_pictures(method: Any) -> None:
    picture, patch = scene(120)
    heat = blurry(patch, side=30)
    for size, shown in ((64, picture), (97, picture[:80]), (120, picture)):
        mask = refine(shown, heat, RefineConfig(method=method, size=size))
        assert mask.shape == (size, size)
        assert mask.dtype == np.uint8
        assert set(np.unique(mask)) <= {0, 1}


@pytest.mark.parametrize("method", METHODS)
def test_the_same_input_gives_the_same_mask_and_is_left_alone(method: Any) -> None:
    picture, patch = scene()
    heat = blurry(patch)
    kept = picture.copy(), heat.copy()
    config = RefineConfig(method=method, size=96)
    np.testing.assert_array_equal(refine(picture, heat, config), refine(picture, heat, config))
    np.testing.assert_array_equal(picture, kept[0])
    np.testing.assert_array_equal(heat, kept[1])


@pytest.mark.parametrize("method", METHODS)
def test_no_evidence_gives_an_empty_mask(method: Any) -> None:
    picture, _ = scene()
    mask = refine(picture, np.zeros((28, 28), np.float32), RefineConfig(method=method, size=96))
    assert not mask.any()


def test_threshold_alone_is_eq_9() -> None:
    picture, patch = scene()
    heat = blurry(patch)
    mask = refine(picture, heat, RefineConfig(method="threshold", size=96))
    level = 1 - (heat.max() - heat.mean())
    np.testing.assert_array_equal(mask, threshold.enlarge(heat, 96) >= level)


@pytest.mark.parametrize("level", [0.2, 0.5, 0.8])
def test_a_students_mask_is_what_lies_above_the_level(level: float) -> None:
    picture, patch = scene()
    heat = blurry(patch, side=96)
    mask = refine(picture, heat, RefineConfig(method="student", size=96, level=level))
    np.testing.assert_array_equal(mask, heat > level)


@pytest.mark.parametrize("engine", ["densecrf", "fast"])
def test_a_students_evidence_snaps_to_the_edge_of_the_painted_patch(engine: Any) -> None:
    picture, patch = scene(192)
    heat = 0.8 * blurry(patch, side=48)
    config = RefineConfig(method="student", size=192, level=0.2, engine=engine)
    before = overlap(refine(picture, heat, config), patch)
    after = overlap(refine(picture, heat, replace(config, method="student-crf")), patch)
    assert before < 0.85 and after > 0.93


@pytest.mark.parametrize("engine", ["densecrf", "fast"])
def test_a_touch_of_the_crf_takes_place_where_the_evidence_lies(
    engine: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    shapes = []

    def spy(picture: Array, energy: Array, *_: Any) -> Array:
        shapes.append((picture.shape, energy.shape))
        return np.ones(picture.shape[:2], np.uint8)

    monkeypatch.setattr(package, "crf" if engine == "densecrf" else "fast_crf", spy)
    picture, patch = scene()
    heat = blurry(patch, side=32)[:24]
    config = RefineConfig(method="student-crf", size=96, level=0.2, engine=engine)
    assert refine(picture, heat, config).all()
    assert shapes == [((24, 32, 3), (2, 24 * 32))]
    assert not refine(picture, np.zeros((24, 32), np.float32), config).any() and len(shapes) == 1


def test_the_level_of_a_student_is_where_the_crf_has_no_opinion() -> None:
    evidence = np.array([[0.0, 0.3, 0.6, 1.0]], np.float32)
    sound, corroded = energy_of(evidence, 0.3)
    np.testing.assert_allclose(np.exp(-sound) + np.exp(-corroded), 1, rtol=1e-5)
    assert corroded[1] == pytest.approx(np.log(2), abs=1e-5) and np.isfinite(corroded).all()
    odds = (0.6 / 0.4) / (0.3 / 0.7)
    assert np.exp(-corroded[2]) == pytest.approx(odds / (1 + odds), rel=1e-5)


def test_specks_are_left_out_and_the_rest_stays_as_it_is() -> None:
    heat = np.zeros((100, 100), np.float32)
    heat[10:40, 10:40] = heat[60:63, 60:63] = heat[80, 80:84] = heat[81, 84] = 0.9
    picture = np.zeros((100, 100, 3), np.uint8)
    kept = heat > 0.5
    for least, gone in ((0, ()), (0.04, ()), (0.05, ()), (0.051, (80, 81)), (0.1, (60, 80, 81))):
        config = RefineConfig(method="student", size=100, level=0.5, least_region=least)
        for row in gone:
            kept[row : row + 3, 50:] = False
        np.testing.assert_array_equal(refine(picture, heat, config), kept)
    everything = RefineConfig(method="student", size=100, level=0.5, least_region=100)
    assert not refine(picture, heat, everything).any()
    assert refine(picture, heat + 1, everything).all()


@pytest.mark.parametrize(
    ("method", "asked", "used"),
    [("advanced", None, 10), ("crf", None, 25), ("crf", 3, 3), ("student-crf", None, 10)],
)
def test_iterations_are_the_papers_unless_asked_otherwise(
    monkeypatch: pytest.MonkeyPatch, method: Any, asked: int | None, used: int
) -> None:
    seen = []

    def spy(_picture: Array, _energy: Array, _config: Any, iterations: int) -> Array:
        seen.append(iterations)
        return np.zeros((96, 96), np.uint8)

    monkeypatch.setattr(package, "crf", spy)
    picture, patch = scene()
    refine(picture, blurry(patch), RefineConfig(method=method, size=96, iterations=asked))
    assert seen == [used]


def test_a_mask_that_erosion_ate_costs_no_crf(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(package, "crf", lambda *_: pytest.fail("seconds of work for nothing"))
    picture, patch = scene()
    mask = refine(picture, blurry(patch), RefineConfig(method="advanced", size=96, erosion=99))
    assert mask.shape == (96, 96)
    assert not mask.any()


def test_a_worker_loads_no_network_to_refine() -> None:
    code = "import sys, rustvid.method.refine; print(*sys.modules)"
    root = Path(__file__).resolve().parents[1]
    loaded = subprocess.run(
        [sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True
    ).stdout.split()
    assert "rustvid.method.refine.crf" in loaded
    assert not {"tensorflow", "keras", "av"} & set(loaded)


def test_kmeans_is_advanced_without_its_crf() -> None:
    picture, patch = scene()
    evidence = blurry(patch)
    found = refine(picture, evidence, RefineConfig(method="kmeans", size=96, erosion=1))
    heat = refine(picture, evidence, RefineConfig(method="threshold", size=96))
    assert (found <= heat).all() and found.sum() < heat.sum()
    assert (found <= patch).all()  # what was marked of the steel is trimmed away
    eroded = refine(picture, evidence, RefineConfig(method="kmeans", size=96, erosion=5))
    assert (eroded == kmeans.erode(found, 5)).all()


def test_a_threshold_of_ones_own_takes_the_place_of_eq_8() -> None:
    picture, patch = scene()
    evidence = blurry(patch)
    heat = threshold.enlarge(evidence, 96)
    for own in (0.2, 0.8):
        found = refine(picture, evidence, RefineConfig(method="threshold", size=96, threshold=own))
        assert (found == (heat >= own)).all()
