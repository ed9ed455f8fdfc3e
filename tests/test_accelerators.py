"""Encoding by hardware: what is not there is said and done in software; what works is used."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import media
import numpy as np
import pytest
from cameras import Camera
from fakes import ColourModel, quick
from test_watch import Run, config_for

from rustvid.config import OutputConfig, apply
from rustvid.errors import RustVidError, UsageError
from rustvid.pipeline import run
from rustvid.report.summary import Summary
from rustvid.video import accelerators
from rustvid.video.accelerators import Accelerated, accelerated

SHAPE, RATE = (120, 160), Fraction(30)
WORKS = Accelerated("libx264", {"preset": "ultrafast", "forced-idr": "1", "bf": "0"}, "nv12")


def annotated(film: Path, out: Path, *assignments: str) -> Summary:
    config = quick(f"output.path={out}", *assignments)
    config = apply(config, f"input={film}")
    return run(config, model=ColourModel())


@pytest.fixture(autouse=True)
def asked_anew() -> Iterator[None]:
    """What works is found out once a run, not once for all tests."""
    accelerated.cache_clear()
    yield
    accelerated.cache_clear()


@pytest.fixture
def one_works(monkeypatch: pytest.MonkeyPatch) -> None:
    """A device whose encoder is x264 in disguise, fed with NV12 as Quick Sync is."""
    monkeypatch.setattr(accelerators, "_options", lambda config, device: WORKS)
    monkeypatch.setattr(accelerators, "_unfit", lambda *_: "")


def test_software_is_the_default_and_nothing_is_said() -> None:
    assert accelerated(OutputConfig(), "yuv420p", SHAPE, RATE) == (None, "")


@pytest.mark.parametrize("device", ["nvenc", "qsv", "amf"])
def test_a_device_that_does_not_work_is_named_with_the_reason(device: str) -> None:
    """None of them works where the tests run; where one does, its test is the next one."""
    config = apply(OutputConfig(), f"hwaccel={device}")
    found, told = accelerated(config, "yuv420p", SHAPE, RATE)
    if found:
        assert told == f"encoded by hardware: h264_{device}"
        return
    assert told.startswith(f"output.hwaccel {device}: h264_{device} ")
    assert told.endswith("; encoded in software") and "\n" not in told


def test_the_film_is_encoded_in_software_and_the_summary_says_why(
    clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(accelerators, "_problem", lambda *_: "does not work (no device)")
    summary = annotated(clip, tmp_path / "out.mp4", "output.hwaccel=nvenc")
    assert summary.exit_code == 0 and len(media.decode_rgb(tmp_path / "out.mp4")) == 30
    assert summary.warnings == [
        "output.hwaccel nvenc: h264_nvenc does not work (no device); encoded in software"
    ]


@pytest.mark.parametrize(
    ("codec", "kind", "shape", "told"),
    [
        ("h264", "yuv420p10le", SHAPE, "not yuv420p10le of 160×120"),
        ("h264", "yuv420p", (121, 160), "not yuv420p of 160×121"),
        ("h264", "full-range yuv420p", SHAPE, "not full-range yuv420p of 160×120"),
        ("vp9", "yuv420p", SHAPE, "vp9_nvenc is not in this FFmpeg"),
        ("ffv1", "yuv420p", SHAPE, "ffv1_nvenc is not in this FFmpeg"),
    ],
)
def test_pictures_and_codecs_that_hardware_does_not_take_are_told(
    codec: str, kind: str, shape: tuple[int, int], told: str
) -> None:
    config = apply(apply(OutputConfig(), "hwaccel=nvenc"), f"codec={codec}")
    found, said = accelerated(config, kind, shape, RATE)
    assert found is None and told in said


@pytest.mark.usefixtures("one_works")
def test_an_encoder_that_works_is_used_and_said(clip: Path, tmp_path: Path) -> None:
    """Pictures are converted to the format that it takes; frames, times and rows are all there."""
    plain = annotated(clip, tmp_path / "plain.mp4")
    summary = annotated(clip, tmp_path / "out.mp4", "output.hwaccel=auto")
    assert plain.warnings == [] and summary.warnings == ["encoded by hardware: libx264"]
    tables = [(tmp_path / name).read_bytes() for name in ("plain.csv", "out.csv")]
    assert tables[0] == tables[1]
    software, hardware = (
        np.stack(media.decode_rgb(tmp_path / name)).astype(float)
        for name in ("plain.mp4", "out.mp4")
    )
    assert software.shape == hardware.shape
    assert np.abs(software - hardware).mean() < 4  # another quality, the same colours


@pytest.mark.usefixtures("one_works")
def test_masks_are_lossless_and_so_never_by_hardware(clip: Path, tmp_path: Path) -> None:
    mask = f"output.mask={tmp_path / 'masks.mkv'}"
    summary = annotated(clip, tmp_path / "out.mp4", "output.hwaccel=auto", mask)
    assert summary.warnings == ["encoded by hardware: libx264"]
    assert set(np.unique(np.stack(media.decode_rgb(tmp_path / "masks.mkv")))) <= {0, 255}


@pytest.mark.usefixtures("one_works")
def test_all_segments_of_a_camera_have_the_encoder_of_the_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are to be joined; a device that has no session left later on is not asked again."""
    tries: list[str] = []

    def problem(encoder: Accelerated, *_: object) -> str:
        tries.append(encoder.name)
        return "" if len(tries) == 1 else "has no session left"

    monkeypatch.setattr(accelerators, "_problem", problem)
    config = config_for(
        "", f"output.path={tmp_path / 'live.mp4'}", "output.segment=1s", "output.hwaccel=auto"
    )
    with Camera() as camera, Run(replace(config, input=camera.url)) as running:
        running.until(lambda: len([*tmp_path.glob("live-*Z-????.mp4")]) >= 3, "three segments")
    assert tries == ["libx264"]
    assert running.summary and running.summary.warnings == ["encoded by hardware: libx264"]


def test_what_hardware_began_is_not_gone_on_with(clip: Path, tmp_path: Path) -> None:
    """By the next run the device may be gone, and films of two encoders do not join."""
    out = tmp_path / "out.mp4"
    config = apply(quick(f"output.path={out}", "output.hwaccel=auto"), f"input={clip}")

    def enough(result: object, expected: int | None) -> None:
        if result.frame.index == 20:  # type: ignore[attr-defined]
            raise RustVidError("the battery is empty")

    assert run(config, enough, model=ColourModel()).exit_code == 1
    with pytest.raises(UsageError, match=r"films do not join; start again with --overwrite"):
        run(apply(config, "output.resume=true"), model=ColourModel())


@pytest.mark.usefixtures("one_works")
def test_an_encoder_that_swallows_pictures_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    assert accelerated(OutputConfig(hwaccel="qsv"), "yuv420p", SHAPE, RATE)[0] == WORKS
    accelerated.cache_clear()
    monkeypatch.setattr(accelerators, "_problem", lambda *_: "made 0 packets of 3 pictures")
    found, told = accelerated(OutputConfig(hwaccel="qsv"), "yuv420p", SHAPE, RATE)
    assert found is None
    assert told == ("output.hwaccel qsv: libx264 made 0 packets of 3 pictures; encoded in software")


@pytest.mark.parametrize(("device", "option"), [("nvenc", "cq"), ("qsv", "global_quality")])
def test_crf_is_the_quality_of_any_encoder(device: str, option: str) -> None:
    config = OutputConfig(hwaccel="auto", crf=17)
    assert accelerators._options(config, device).options[option] == "17"
    usual = accelerators._options(OutputConfig(), device).options[option]
    assert usual == str(accelerators._QUALITY["h264"])


def test_quick_sync_is_given_nv12() -> None:
    assert accelerators._options(OutputConfig(), "qsv").pixel_format == "nv12"
    assert accelerators._options(OutputConfig(), "nvenc").pixel_format == "yuv420p"
