"""A run that was broken off goes on, and ends as one that never was."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import media
import numpy as np
import pytest
from fakes import ColourModel, quick

from rustvid.cli import main
from rustvid.errors import Interrupted, UsageError
from rustvid.frames import Measured
from rustvid.pipeline import run
from rustvid.report.summary import Summary
from rustvid.video.pieces import cuts
from rustvid.video.sink import part_of

pytestmark = pytest.mark.usefixtures("no_leftovers")

Told = pytest.CaptureFixture[str]
FRAMES = 150


@pytest.fixture(scope="module")
def film(clips: Path) -> Path:
    """Fifteen seconds, ten frames a second, with sound: fifteen groups of pictures."""
    return media.clip(clips / "resume.mp4", frames=FRAMES, rate=Fraction(10))


def annotate(source: Path, out: Path, *assignments: str, **wanted: Any) -> Summary:
    config = quick(f"output.path={json.dumps(str(out))}", *assignments)
    return run(replace(config, input=str(source)), model=ColourModel(), **wanted)


def stopping(after: int) -> Callable[[Measured, int | None], None]:
    def stop(result: Measured, expected: int | None) -> None:
        if result.frame.index == after:
            raise Interrupted(signal.SIGTERM)

    return stop


def crashing(folder: Path, copy: Path, after: int) -> Callable[[Measured, int | None], None]:
    """Copy what a SIGKILL would leave at that frame."""

    def crash(result: Measured, expected: int | None) -> None:
        if result.frame.index == after:
            shutil.copytree(folder, copy)
            raise Interrupted(signal.SIGTERM)

    return crash


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def assert_same(whole: Path, resumed: Path, source: Path) -> None:
    """Frames, times, rows and sound are those of an unbroken run."""
    assert whole.with_suffix(".csv").read_bytes() == resumed.with_suffix(".csv").read_bytes()
    before, after = media.decode_rgb(whole), media.decode_rgb(resumed)
    assert [media.frame_number(rgb) for rgb in after] == list(range(len(before)))
    assert media.frame_times(resumed) == media.frame_times(whole)
    for old, new in zip(before, after, strict=True):
        assert np.abs(old.astype(int) - new).mean() < 3
    assert media.packets(resumed, "audio") == media.packets(whole, "audio")
    assert names(resumed.parent) == [resumed.with_suffix(".csv").name, resumed.name]


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv", ".ts"])
@pytest.mark.parametrize("after", [9, 73, 149])
def test_a_run_that_was_stopped_goes_on(suffix: str, after: int, film: Path, tmp_path: Path) -> None:
    whole, resumed = tmp_path / "whole" / f"o{suffix}", tmp_path / "resumed" / f"o{suffix}"
    whole.parent.mkdir()
    resumed.parent.mkdir()
    annotate(film, whole)
    assert annotate(film, resumed, progress=stopping(after)).exit_code == 143
    summary = annotate(film, resumed, "output.resume=true")
    assert summary.exit_code == 0 and summary.frames == FRAMES
    assert max(0, after - 20) <= summary.resumed_at <= after
    assert_same(whole, resumed, film)


@pytest.mark.parametrize("every", [1, 7])
@pytest.mark.parametrize("codec", ["h264", "hevc", "av1", "vp9", "ffv1"])
def test_a_run_that_was_killed_thrice_goes_on(
    codec: str, every: int, film: Path, tmp_path: Path
) -> None:
    given = (f"output.codec={codec}", f"sample.every={every}")
    whole = tmp_path / "whole" / "o.mkv"
    whole.parent.mkdir()
    reference = annotate(film, whole, *given)
    folder = tmp_path / "0"
    folder.mkdir()
    for number, after in enumerate((62, 64, 120), 1):
        copy = tmp_path / str(number)
        resume = f"output.resume={'true' if number > 1 else 'false'}"
        crash = crashing(folder, copy, after)
        assert annotate(film, folder / "o.mkv", *given, resume, progress=crash).exit_code == 143
        folder = copy
    summary = annotate(film, folder / "o.mkv", *given, "output.resume=true")
    assert summary.exit_code == 0 and summary.frames == FRAMES and summary.resumed_at > 60
    assert (summary.analysed, summary.corroded) == (reference.analysed, reference.corroded)
    assert_same(whole, folder / "o.mkv", film)


def test_masks_go_on_too_and_are_the_same_bit_for_bit(film: Path, tmp_path: Path) -> None:
    films = []
    for name in ("whole", "resumed"):
        folder = tmp_path / name
        folder.mkdir()
        given = ("sample.every=4", f"output.mask={folder / 'm.mkv'}")
        if name == "resumed":
            annotate(film, folder / "o.mp4", *given, progress=stopping(88))
            given = (*given, "output.resume=true")
        assert annotate(film, folder / "o.mp4", *given).exit_code == 0
        assert names(folder) == ["m.mkv", "o.csv", "o.mp4"]
        films.append(np.stack(media.decode_rgb(folder / "m.mkv")))
    assert np.array_equal(films[0], films[1])


def test_away_from_the_joint_the_pictures_are_those_of_an_unbroken_run(
    film: Path, tmp_path: Path
) -> None:
    annotate(film, tmp_path / "whole.mp4")
    annotate(film, tmp_path / "resumed.mp4", progress=stopping(75))
    summary = annotate(film, tmp_path / "resumed.mp4", "output.resume=true")
    joint = summary.resumed_at
    pairs = zip(
        media.decode_rgb(tmp_path / "whole.mp4"),
        media.decode_rgb(tmp_path / "resumed.mp4"),
        strict=True,
    )
    differ = [n for n, (old, new) in enumerate(pairs) if not np.array_equal(old, new)]
    assert all(joint <= n < joint + 30 for n in differ), (joint, differ)
