"""Decoding by hardware: what does not work is said and done in software, with the same pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rustvid.config import Config, SourceConfig, apply
from rustvid.errors import ConfigError, SourceError
from rustvid.video import hardware, open_source
from rustvid.video.opening import PROTOCOLS


def pictures(path: Path, hwaccel: Any) -> tuple[list[Any], list[str]]:
    with open_source(str(path), (80, 60), SourceConfig(hwaccel=hwaccel)) as source:
        return [frame.picture.planes[0].copy() for frame in source.frames()], source.notes


def test_none_says_nothing_and_asks_no_device(clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hardware, "HWAccel", None)
    monkeypatch.setattr(hardware, "hwdevices_available", None)
    seen, notes = pictures(clip, "none")
    assert seen and not notes


@pytest.mark.parametrize("device", hardware.DEVICES)
def test_a_device_that_is_not_there_is_said_and_done_without(
    device: str, clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hardware, "hwdevices_available", lambda: ["drm"])
    seen, notes = pictures(clip, device)
    assert notes == [
        f"source.hwaccel {device}: {device} is not in this FFmpeg; decoded in software"
    ]
    for one, other in zip(seen, pictures(clip, "none")[0], strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_device_that_fails_is_said_with_its_reason(
    clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Broken:
        def __init__(self, device: str, **_: Any) -> None:
            raise RuntimeError(f"no {device} in this house")

    monkeypatch.setattr(hardware, "HWAccel", Broken)
    monkeypatch.setattr(hardware, "hwdevices_available", lambda: ["qsv", "cuda", "drm"])
    container, notes = hardware.best_opened(clip, PROTOCOLS, SourceConfig(hwaccel="auto"))
    container.close()
    assert notes == [
        "source.hwaccel auto: cuda does not work (no cuda in this house); "
        "qsv does not work (no qsv in this house); decoded in software"
    ]


def test_the_first_device_that_decodes_a_picture_is_taken(
    clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    works = {"cuda": "does not decode it", "vaapi": ""}
    monkeypatch.setattr(hardware, "_problem", lambda path, protocols, device, config: works[device])
    monkeypatch.setattr(hardware, "HWAccel", lambda device: device)
    monkeypatch.setattr(hardware, "opened", lambda *given: given[:3])
    monkeypatch.setattr(hardware, "hwdevices_available", lambda: ["vaapi", "cuda"])
    found, notes = hardware.best_opened(clip, PROTOCOLS, SourceConfig(hwaccel="auto"))
    assert found == (clip, PROTOCOLS, "vaapi")
    assert notes == ["decoded by hardware: vaapi"]


def test_software_that_steps_in_is_no_hardware(clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    software = hardware.opened
    monkeypatch.setattr(hardware, "opened", lambda path, *_: software(path))
    monkeypatch.setattr(hardware, "HWAccel", lambda device, **_: device)
    assert hardware._problem(clip, PROTOCOLS, "cuda", SourceConfig()) == "does not decode it"


def test_a_film_that_cannot_be_opened_is_an_error_with_and_without(tmp_path: Path) -> None:
    path = tmp_path / "film.mp4"
    path.write_bytes(b"no film at all")
    for asked in ("none", "auto"):
        with pytest.raises(SourceError, match=r"film\.mp4"):
            hardware.best_opened(path, PROTOCOLS, SourceConfig(hwaccel=asked))


def test_a_device_that_nobody_knows_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"source\.hwaccel must be auto, none, cuda.*abacus"):
        apply(Config(), "source.hwaccel=abacus")
