"""Flags name the paper's failure modes; the confidence orders frames by their error."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import fakes
import numpy as np
import pytest

from rustvid.config import RefineConfig
from rustvid.frames import Trust
from rustvid.method import trust
from rustvid.pipeline import run
from rustvid.training import metrics

SIZE = 96
STUDENT = RefineConfig(method="student", level=0.25)
ADVANCED = RefineConfig(method="advanced")


def half(value: float = 1.0) -> np.ndarray:
    """(96, 96) float32: the left half at `value`."""
    found = np.zeros((SIZE, SIZE), np.float32)
    found[:, : SIZE // 2] = value
    return found


def picture(left: tuple[int, int, int], right: tuple[int, int, int]) -> np.ndarray:
    """(96, 96, 3) uint8 of two colours."""
    found = np.full((SIZE, SIZE, 3), right, np.uint8)
    found[:, : SIZE // 2] = left
    return found


RUSTY = picture((150, 80, 45), (150, 160, 170))


def judged(
    mask: np.ndarray,
    evidence: np.ndarray | None = None,
    image: np.ndarray = RUSTY,
    config: RefineConfig = STUDENT,
    p: float = 0.9,
) -> Trust:
    heat = half() if evidence is None else evidence
    return trust.judge(image, p, heat, np.uint8(mask > 0.5), config)


def test_a_good_mask_has_no_flag_and_much_confidence() -> None:
    found = judged(half())
    assert found.flags == () and found.confidence > 0.9


def test_a_mask_of_the_whole_frame_is_all_rust() -> None:
    whole = np.ones((SIZE, SIZE), np.float32)
    found = judged(whole, whole)
    assert found.flags == (trust.ALL_RUST,)
    assert found.confidence < judged(half()).confidence / 1.5


def test_a_mask_far_larger_than_what_is_hot_is_flagged() -> None:
    spot = np.zeros((28, 28), np.float32)
    spot[4:9, 4:9] = 1
    found = judged(half(), spot, config=ADVANCED)
    assert trust.EXCEEDS_HEAT in found.flags
    assert trust.EXCEEDS_HEAT not in judged(half(), config=ADVANCED).flags


def test_a_mask_beside_the_heat_is_the_wrong_cluster() -> None:
    found = judged(half()[:, ::-1], config=ADVANCED)
    assert trust.WRONG_CLUSTER in found.flags
    assert trust.WRONG_CLUSTER not in judged(half(), config=ADVANCED).flags


@pytest.mark.parametrize(
    ("left", "right", "shadow"),
    [
        ((30, 32, 34), (150, 160, 170), True),
        ((30, 32, 34), (40, 42, 44), False),  # the whole frame is dark
        ((65, 30, 12), (150, 160, 170), False),  # dark, but brown
        ((120, 122, 124), (220, 225, 230), False),  # grey in bright light
    ],
)
def test_shadow_is_dark_and_colourless_against_the_rest(
    left: tuple[int, int, int], right: tuple[int, int, int], shadow: bool
) -> None:
    assert (trust.SHADOW in judged(half(), image=picture(left, right)).flags) == shadow


def test_a_tiny_or_empty_mask_is_not_flagged() -> None:
    dark = picture((10, 10, 10), (200, 200, 200))
    assert judged(half(0.0), half(0.0), image=dark).flags == ()


def test_doubt_and_a_small_p_lower_the_confidence() -> None:
    sure = judged(half()).confidence
    doubtful = judged(half(), half(0.3)).confidence
    assert doubtful < sure
    assert judged(half(), p=0.55).confidence < sure


def test_the_confidence_orders_frames_by_their_error() -> None:
    """Evidence with more and more noise: the masks are more and more wrong."""
    rng = np.random.default_rng(0)
    truth = half() > 0.5
    errors, confidences = [], []
    for strength in np.linspace(0, 0.8, 24):
        pull = rng.uniform(0, 1, truth.shape) * strength
        evidence = np.float32(half() * (1 - pull) + (1 - half()) * pull)
        mask = evidence > 0.25
        errors.append(abs(float(mask.mean()) - float(truth.mean())))
        confidences.append(judged(np.float32(mask), evidence).confidence)
    assert metrics.spearman(np.array(confidences), np.array(errors)) < -0.7


def test_a_frame_not_called_corroded_is_surer_the_smaller_its_p() -> None:
    none = np.zeros((SIZE, SIZE), np.uint8)
    low, high = (trust.judge(RUSTY, p, None, none, STUDENT).confidence for p in (0.05, 0.45))
    assert 0.5 < high < low <= 1


def test_everything_stays_within_0_and_1() -> None:
    rng = np.random.default_rng(1)
    for seed in range(50):
        evidence = rng.uniform(0, 1, (28, 28)).astype(np.float32) ** rng.uniform(0.1, 4)
        mask = (rng.uniform(0, 1, (SIZE, SIZE)) < rng.uniform()).astype(np.float32)
        config = (STUDENT, ADVANCED, RefineConfig(method="student", level=1.0))[seed % 3]
        image = rng.integers(0, 255, (SIZE, SIZE, 3), np.uint8)
        found = judged(mask, evidence, image, config, rng.uniform(0.5, 1))
        assert 0 <= found.confidence <= 1
        assert set(found.flags) <= set(trust.FLAGS)


def test_the_table_and_the_summary_tell_it(clip: Path, tmp_path: Path) -> None:
    table = tmp_path / "areas.csv"
    config = fakes.quick("sample.every=4", f"output.csv={table}")
    summary = run(replace(config, input=str(clip)), model=fakes.ColourModel())
    rows = list(csv.DictReader(table.read_text().splitlines()))
    analysed = [row for row in rows if row["analysed"] == "1"]
    assert 0 < len(analysed) < len(rows)
    assert all(0 <= float(row["confidence"]) <= 1 for row in analysed)
    assert all(row["confidence"] == row["flags"] == "" for row in rows if row not in analysed)
    least = min(float(row["confidence"]) for row in analysed)
    assert summary.as_dict()["least_confidence"] == pytest.approx(least, abs=1e-4)
    assert any(line.startswith("least confidence") for line in summary.lines())


def test_a_flag_is_written_and_counted(clip: Path, tmp_path: Path) -> None:
    table = tmp_path / "areas.csv"
    config = fakes.quick("refine.level=0", f"output.csv={table}")

    class Everywhere(fakes.ColourModel):
        @staticmethod
        def _rust(image: np.ndarray) -> np.ndarray:
            return np.full((48, 48), 0.9, np.float32)

    summary = run(replace(config, input=str(clip)), model=Everywhere())
    rows = list(csv.DictReader(table.read_text().splitlines()))
    assert {row["flags"] for row in rows} == {trust.ALL_RUST}
    assert summary.flags == {trust.ALL_RUST: len(rows)}
    assert any(f"{len(rows)} {trust.ALL_RUST}" in line for line in summary.lines())
