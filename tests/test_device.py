"""A camera at this machine (V4L2). None is needed: what FFmpeg is asked, and what it refuses."""

from __future__ import annotations

import errno
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import media
import pytest
from test_live import until, watched

from rustvid.cli import main
from rustvid.config import SourceConfig
from rustvid.errors import SourceError, UsageError
from rustvid.video import connection
from rustvid.video.address import address_of
from rustvid.video.health import State

pytestmark = pytest.mark.usefixtures("no_leftovers")

THERE = r"`ls /dev/video\*`"


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[tuple[Any, Any]]]:
    """Answer for PyAV: one after another an error is raised or a film opened, the last for ever."""

    def answering(*answers: OSError | Path) -> list[tuple[Any, Any]]:
        calls: list[tuple[Any, Any]] = []
        really = av.open

        def opened(*arguments: Any, **wanted: Any) -> Any:
            if isinstance(arguments[0], str):  # a connection; the rest is of our own making
                calls.append((arguments, wanted))
                answer = answers[min(len(calls), len(answers)) - 1]
                if isinstance(answer, OSError):
                    raise answer
                return really(str(answer))
            return really(*arguments, **wanted)

        monkeypatch.setattr(connection.av, "open", opened)
        return calls

    return answering


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("/dev/video0", "/dev/video0"),
        ("v4l2:/dev/video1", "/dev/video1"),
        ("v4l2:///dev/video1", "/dev/video1"),
        ("v4l2:/dev/v4l/by-id/usb-cam-index0", "/dev/v4l/by-id/usb-cam-index0"),
    ],
)
def test_a_device_reaches_pyav_as_v4l2(
    name: str, path: str, asked: Callable[..., Any], tmp_path: Path
) -> None:
    calls = asked(media.clip(tmp_path / "film.mp4", frames=10))
    with watched(name) as source:
        frames = source.frames()
        assert [next(frames).index for _ in range(3)] == [0, 1, 2]
    (arguments, wanted) = calls[0]
    assert arguments == (path,) and wanted["format"] == "v4l2"
    allowed = wanted["options"]["protocol_whitelist"].split(",")
    assert "file" in allowed, "a device is a file to FFmpeg"
    assert "rtsp_transport" not in wanted["options"]
    assert wanted["timeout"] == (20.0, SourceConfig().read_timeout)


@pytest.mark.parametrize("name", ["v4l2:", "v4l2://", "v4l2:///"])
def test_an_address_without_a_device_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match=r"names no device; write v4l2:/dev/video0"):
        address_of(name, SourceConfig())


def test_a_missing_device_is_said_with_the_remedy() -> None:
    """By FFmpeg itself."""
    with (
        watched("/dev/video987") as source,
        pytest.raises(SourceError, match=rf"^/dev/video987: no such device; {THERE}"),
    ):
        next(source.frames())
    assert source.health.state is State.FAILED and source.health.reconnects == 0


@pytest.mark.parametrize("kind", ["/dev/null", "film", "folder"])
def test_what_is_no_video_device_is_said(kind: str, tmp_path: Path) -> None:
    """By FFmpeg itself: it asks the device what it can do."""
    film, folder = media.clip(tmp_path / "film.mp4", frames=3), tmp_path / "folder"
    folder.mkdir()
    path = {"film": str(film), "folder": str(folder)}.get(kind, kind)
    with (
        watched(f"v4l2:{path}") as source,
        pytest.raises(SourceError, match=rf"^v4l2:{path}: is no video device; {THERE}"),
    ):
        next(source.frames())


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.EACCES, "may not be opened; add the user to the group video"),
        (errno.EPERM, "group video"),
        (errno.ENODEV, "a second device that is for data alone"),
    ],
)
def test_a_device_that_cannot_be_used_is_given_up(
    number: int, words: str, asked: Callable[..., Any]
) -> None:
    calls = asked(OSError(number, "no"))
    failed = pytest.raises(SourceError, match=f"^/dev/video0: .*{words}")
    with watched("/dev/video0") as source, failed as told:
        next(source.frames())
    assert len(calls) == 1 and "\n" not in str(told.value)


def test_a_device_that_is_busy_is_asked_again(asked: Callable[..., Any], tmp_path: Path) -> None:
    busy = OSError(errno.EBUSY, "Device or resource busy")
    asked(busy, busy, media.clip(tmp_path / "film.mp4", frames=10))
    with watched("/dev/video0", retry_first=0.3) as source:
        until(lambda: "another program uses it" in source.health.reason, "the reason")
        assert next(source.frames()).index == 0


def test_a_device_that_is_unplugged_is_waited_for(
    asked: Callable[..., Any], tmp_path: Path
) -> None:
    """It is there no more, then somebody else's; then it is back."""
    film = media.clip(tmp_path / "film.mp4", frames=10)
    gone = OSError(errno.ENOENT, "No such file or directory")
    asked(film, gone, OSError(errno.ENODEV, "No such device"), film)
    with watched("/dev/video0", keep_all=True) as source:
        frames = source.frames()
        statuses = [next(frames).status for _ in range(20)]
    assert statuses[10] == "reconnected" and source.health.reconnects >= 3


def test_a_device_may_be_waited_for_from_the_start(
    asked: Callable[..., Any], tmp_path: Path
) -> None:
    film = media.clip(tmp_path / "film.mp4", frames=10)
    asked(OSError(errno.ENOENT, "none"), OSError(errno.EACCES, "not yet"), film)
    with watched("/dev/video0", retry_refused=True) as source:
        assert next(source.frames()).index == 0


def test_the_command_line_says_it_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from fakes import ColourModel

    monkeypatch.setattr("rustvid.pipeline.Model", lambda *_: ColourModel())
    words = ["/dev/video987", "--out", str(tmp_path / "live.mp4"), "-q", "--set", "workers=0"]
    assert main(words) == 3
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1
    assert err.startswith("rustvid: /dev/video987: no such device; ")
    assert list(tmp_path.iterdir()) == []
