"""`rustvid tune` finds a planted optimum, and keeps what was there where nothing is better."""

from __future__ import annotations

import shutil
from pathlib import Path

import cv2
import fakes
import numpy as np
import pytest

from rustvid.config import Config, apply, load
from rustvid.errors import UsageError
from rustvid.method.classify import Answer
from rustvid.method.models import find
from rustvid.method.refine import check
from rustvid.training.examples import ExampleSet
from rustvid.training.tune import cross_validated, draw, tune


class Ramp(fakes.ColourModel):
    """Its evidence is the red of the picture."""

    def look(self, images: list[np.ndarray]) -> Answer:  # type: ignore[override]
        red = np.stack([image[..., 0].astype(np.float32) / 255 for image in images])
        return Answer(np.full(len(images), 0.9, np.float32), red)


@pytest.fixture
def ramps(tmp_path: Path) -> Path:
    """Pictures that grow redder to the right; the true mask is where red is above 0.6."""
    folder = tmp_path / "ramps"
    folder.mkdir()
    for number in range(12):
        red = np.linspace(0, 255, 96)[None] + np.linspace(-40, 40, 96)[:, None] * (number / 12)
        image = np.zeros((96, 96, 3), np.uint8)
        image[..., 2] = np.clip(red, 0, 255)  # OpenCV writes BGR
        cv2.imwrite(str(folder / f"{number}.bmp"), image)
        cv2.imwrite(str(folder / f"{number}.png"), (image[..., 2] > 0.6 * 255).astype(np.uint8))
    return folder


def test_a_planted_optimum_is_found(ramps: Path, tmp_path: Path) -> None:
    base = fakes.quick("refine.level=0.2")
    found = tune([ExampleSet(ramps)], base, trials=60, pictures=30, model=Ramp())
    assert found.better and abs(found.config.refine.level - 0.6) < 0.04
    assert found.before < 0.6 and found.best > 0.9 and found.validated > 0.9
    path = found.write(tmp_path / "tuned.yaml")
    assert load(path, Config()).refine == found.config.refine
    again = tune([ExampleSet(ramps)], base, trials=60, pictures=30, model=Ramp())
    assert again.config == found.config  # the same seed, the same search


def test_settings_that_are_right_are_kept(ramps: Path, tmp_path: Path) -> None:
    base = fakes.quick("refine.level=0.6")
    found = tune([ExampleSet(ramps)], base, trials=5, pictures=30, model=Ramp())
    assert not found.better and found.config == base
    assert "nothing is changed" in found.write(tmp_path / "tuned.yaml").read_text()


def test_weights_are_named_so_that_they_are_found_from_anywhere(
    ramps: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name of a shipped model stays one, though a folder may be called so, too."""
    monkeypatch.chdir(tmp_path)
    copied = Path(shutil.copy(find("rustseg-lite"), "own.npz"))
    (tmp_path / "rustvid-student").mkdir()
    for given, written in (
        (str(copied), str(copied.resolve())),
        ("rustvid-student", "rustvid-student"),
    ):
        for level in (0.2, 0.6):  # the second is kept as it is
            base = fakes.quick(f"refine.level={level}", f"model.name={given}")
            found = tune([ExampleSet(ramps)], base, trials=20, model=Ramp())
            assert load(found.write(tmp_path / "tuned.yaml"), Config()).model.name == written


def test_a_choice_that_only_fits_its_own_pictures_is_not_believed() -> None:
    """Each of ten settings is perfect on one picture and blind on the others."""
    counts = np.zeros((11, 10, 4), np.int64)
    counts[0] = (5, 5, 0, 90)  # the settings before: 0.5 everywhere
    counts[1:] = (0, 0, 5, 95)
    for number in range(10):
        counts[number + 1, number] = (500, 0, 0, 0)
    groups = [str(number) for number in range(10)]
    best = max(c.sum(axis=0)[0] / c.sum(axis=0)[:3].sum() for c in counts)
    assert best > 0.9 and cross_validated(counts, groups) < 0.2


def test_pictures_of_one_group_are_never_on_both_sides() -> None:
    counts = np.zeros((3, 6, 4), np.int64)
    counts[0] = (1, 1, 0, 0)
    counts[1, :3], counts[1, 3:] = (9, 1, 0, 0), (0, 5, 5, 0)
    counts[2, 3:], counts[2, :3] = (9, 1, 0, 0), (0, 5, 5, 0)
    # with the group held out, what is best elsewhere is the worst on it
    assert cross_validated(counts, ["a"] * 3 + ["b"] * 3) == 0


def test_what_is_drawn_is_within_the_ranges_of_the_options() -> None:
    rng = np.random.default_rng(0)
    for method in ("advanced", "crf", "kmeans", "threshold", "student", "student-crf"):
        base = fakes.quick(f"refine.method={method}").refine
        seen = [draw(rng, base) for _ in range(100)]
        assert len(set(seen)) > (50 if method not in ("kmeans", "threshold") else 10)
        for settings in seen:
            assert settings.method == method
            config = apply(Config(), f"refine.level={settings.level}")
            for name in ("size", "erosion", "threshold", "iterations"):
                value = getattr(settings, name)
                config = apply(config, f"refine.{name}={'null' if value is None else value}")
            for name, value in vars(settings.crf).items():
                config = apply(config, f"refine.crf.{name}={value}")
            assert settings.erosion % 2 == 1


@pytest.mark.parametrize("method", ["crf", "advanced", "student-crf"])
def test_what_is_drawn_for_the_quick_crf_is_what_a_run_takes(method: str) -> None:
    """Its cells want a reach of ten pixels, which small pictures make short."""
    base = fakes.quick(f"refine.method={method}", "refine.engine=fast", "refine.size=224").refine
    rng = np.random.default_rng(0)
    drawn = [draw(rng, base) for _ in range(200)]
    for settings in drawn:
        check(settings)
    assert {settings.size for settings in drawn} == {224, 286, 416}


def test_too_few_or_clean_pictures_are_an_error(ramps: Path) -> None:
    for number in range(4, 12):
        (ramps / f"{number}.bmp").unlink()
    with pytest.raises(UsageError, match="5 pictures"):
        tune([ExampleSet(ramps)], fakes.quick(), model=Ramp())
    for number in range(4, 9):
        cv2.imwrite(str(ramps / f"{number}.bmp"), np.zeros((96, 96, 3), np.uint8))
    for path in ramps.glob("*.png"):
        cv2.imwrite(str(path), np.zeros((96, 96), np.uint8))
    with pytest.raises(UsageError, match="nothing to tune to"):
        tune([ExampleSet(ramps)], fakes.quick(), model=Ramp())
