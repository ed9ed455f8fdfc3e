"""What is recorded is sent on as well; and whatever becomes of that, the recording goes on."""

from __future__ import annotations

import io
import itertools
import socket
import subprocess
import sys
from contextlib import suppress
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import media
import pytest
from cameras import Camera, Web
from test_live import PATIENCE, until
from test_watch import Run, config_for, consistent, free_port, names

from rustvid.config import Config, OutputConfig, SourceConfig
from rustvid.errors import UsageError
from rustvid.preflight import preflight
from rustvid.video import republish
from rustvid.video.encoded import PICTURE, Encoded
from rustvid.video.republish import Republisher

pytestmark = pytest.mark.usefixtures("no_leftovers")

ROOT = Path(__file__).resolve().parents[1]
_LISTEN = """
import sys; sys.path.insert(0, "tests")
import av, media
url, options = sys.argv[1], dict(pair.split("=") for pair in sys.argv[2:])
with av.open(url, options=options, timeout=(240, 60)) as container:
    print(*sorted(stream.type for stream in container.streams), flush=True)
    for frame in container.decode(video=0):
        number = media.frame_number(frame.to_ndarray(format="rgb24"))
        if frame.time is not None:  # of RTSP the first one has none
            print(float(frame.time), number, flush=True)
"""


class Receiver:
    """A process that takes what is sent to it; `lines` are of the frames that it has decoded."""

    def __init__(self, scheme: str, log: Path, port: int | None = None) -> None:
        self.port = port or free_port()
        self.url = f"{scheme}://127.0.0.1:{self.port}" + ("/live" if scheme == "rtsp" else "")
        if scheme == "rtsp":
            words = [self.url, "rtsp_flags=listen", "listen_timeout=240"]
        else:
            words = [f"{self.url}?listen=1"]
        self._log = log
        with log.open("wb") as told:
            self._child = subprocess.Popen(
                [sys.executable, "-c", _LISTEN, *words],
                cwd=ROOT,
                stdout=told,
                stderr=subprocess.STDOUT,
            )

    def __enter__(self) -> Receiver:
        return self

    def __exit__(self, *error: object) -> None:
        self._child.kill()
        self._child.wait()

    @property
    def lines(self) -> list[str]:
        return self._log.read_text().splitlines()

    def until(self, count: int) -> None:
        """So many frames have come."""
        until(lambda: len(self.lines) > count or self._child.poll() is not None, f"{count} frames")
        assert len(self.lines) > count, self.lines


def to(url: str, path: Path | None) -> Config:
    """A run that sends on, and records if there is a path."""
    out = (f"output.path={path}",) if path else ()
    return config_for("", f"output.republish={url}", *out)


@pytest.mark.parametrize("scheme", ["rtsp", "tcp"])
def test_the_annotated_video_is_sent_on_while_it_is_recorded(scheme: str, tmp_path: Path) -> None:
    out = tmp_path / "live.mp4"
    with (
        Camera() as camera,
        Receiver(scheme, tmp_path / "got.txt") as receiver,
        Run(replace(to(receiver.url, out), input=camera.url)) as running,
    ):
        receiver.until(30)
        kinds, *frames = receiver.lines
    assert kinds == "video"
    times = [float(line.split()[0]) for line in frames if len(line.split()) == 2]
    assert times == sorted(times) and len(set(times)) == len(times) >= 29
    assert running.summary and running.summary.exit_code == 0
    assert len(consistent(out)) == running.summary.frames
    assert running.summary.live["republished"] >= 29


def decoded(stream: bytes) -> list[float]:
    """Times of the frames that somebody sees who gets this part of a stream."""
    with av.open(io.BytesIO(stream), format="mpegts") as container:
        return [frame.time for frame in container.decode(video=0)]


def test_datagrams_hold_whole_packets_and_whoever_comes_late_sees_it_too(tmp_path: Path) -> None:
    """Over UDP; the receiver is there first, and reads all that comes."""
    out = tmp_path / "live.mp4"
    got: list[bytes] = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver, Camera() as camera:
        receiver.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_000_000)
        receiver.bind(("127.0.0.1", 0))
        receiver.settimeout(PATIENCE)
        config = to(f"udp://127.0.0.1:{receiver.getsockname()[1]}", out)
        with Run(replace(config, input=camera.url)) as running:
            while not got or running.count("republished") < 100:
                got.append(receiver.recv(65536))
        receiver.setblocking(False)
        with suppress(BlockingIOError):
            while True:
                got.append(receiver.recv(65536))
    assert all(len(data) % 188 == 0 and data[0] == 0x47 for data in got)
    assert max(map(len, got)) <= 1316
    assert running.summary and running.summary.exit_code == 0
    assert len(consistent(out)) == running.summary.frames
    all_of_it, late = decoded(b"".join(got)), decoded(b"".join(got[len(got) // 2 :]))
    on_its_way = len(all_of_it) - running.summary.live["republished"]
    assert len(all_of_it) >= 100 and on_its_way in (0, 1)  # the last one, when the run counts
    assert all(a < b for a, b in itertools.pairwise(all_of_it))
    assert 0 < len(late) < len(all_of_it) and set(late) <= set(all_of_it)


def test_a_protocol_that_ffmpeg_does_not_know_here_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(republish.FORMATS, "pigeon", "mpegts")
    with pytest.raises(UsageError, match="FFmpeg here does not know pigeon; send it to udp://"):
        preflight(config_for("rtsp://camera/x", "output.republish=pigeon://host:9000"))
    for known in ("udp://host:9000", "tcp://host:9000", "rtsp://host/x", "rtmp://host/x"):
        preflight(config_for("rtsp://camera/x", f"output.republish={known}"))


def test_who_hangs_up_is_called_again_and_the_recording_goes_on(tmp_path: Path) -> None:
    out = tmp_path / "live.mp4"
    with (
        Camera() as camera,
        Receiver("rtsp", tmp_path / "1.txt") as receiver,
        Run(replace(to(receiver.url, out), input=camera.url)) as running,
    ):
        receiver.until(10)
        receiver.__exit__()
        seen = running.count("written")
        running.until(lambda: running.count("written") > seen + 50, "recording goes on")
        with Receiver("rtsp", tmp_path / "2.txt", receiver.port) as again:
            again.until(10)
    assert running.summary and running.summary.live["republish_connections"] >= 2
    assert [int(row["frame"]) for row in consistent(out)] == list(range(running.summary.frames))


def test_it_goes_on_over_segments_and_needs_no_file(tmp_path: Path) -> None:
    for number, config in enumerate((config_for("", "output.segment=1"), config_for(""))):
        with (
            Camera() as camera,
            Receiver("tcp", tmp_path / f"{number}.txt") as receiver,
        ):
            output = replace(config.output, republish=receiver.url)
            if config.output.segment:
                output = replace(output, path=str(tmp_path / "live.mp4"))
            with Run(replace(config, input=camera.url, output=output)) as running:
                receiver.until(60)
            assert running.summary and running.summary.exit_code == 0
            assert running.summary.live["republish_connections"] == 1
    assert len(list(tmp_path.glob("live-*.mp4"))) >= 2
    assert not [name for name in names(tmp_path) if "nowhere" in name]


@pytest.mark.parametrize("recorded", [True, False])
def test_sound_is_sent_on_where_it_can_be(recorded: bool, tmp_path: Path) -> None:
    out = tmp_path / "live.mp4" if recorded else None
    film = media.clip(tmp_path / "film.ts", frames=300, rate=Fraction(30))
    with (
        Web(film, seconds=10.0) as web,
        Receiver("tcp", tmp_path / "got.txt") as receiver,
        Run(replace(to(receiver.url, out), input=web.url)) as running,
    ):
        receiver.until(20)
        assert receiver.lines[0] == "audio video"
    assert running.summary and running.summary.exit_code == 0


def test_where_nobody_listens_the_recording_and_its_end_do_not_wait(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "rustvid.live")
    out = tmp_path / "live.mp4"
    url = f"rtsp://me:s3cret@127.0.0.1:{free_port()}/key-s3cret"
    with Camera() as camera, Run(replace(to(url, out), input=camera.url)) as running:
        running.until(lambda: running.count("republish_dropped") > 20, "packets given up")
    assert running.summary and running.summary.exit_code == 0
    assert len(consistent(out)) == running.summary.frames > 20
    assert running.summary.live["republished"] == 0
    assert "republish to rtsp://127.0.0.1" in caplog.text and "s3cret" not in caplog.text


def packet(size: int, *, key: bool) -> Encoded:
    return Encoded(PICTURE, b"x" * size, Fraction(0), Fraction(0), Fraction(1, 25), key)


def test_a_full_queue_goes_whole_and_the_next_key_frame_begins_it_anew(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(republish, "_MOST_BYTES", 1000)
    sender = Republisher("rtsp://127.0.0.1:9/x", SourceConfig())  # not started: nobody takes
    sender.take(packet(10, key=False))
    assert sender.dropped == 1, "nothing before a key frame is of use"
    sender.take(packet(500, key=True))
    sender.take(packet(400, key=False))
    assert sender.dropped == 1
    sender.take(packet(200, key=False))
    assert sender.dropped == 4 and sender._bytes == 0
    sender.take(packet(10, key=False))
    assert sender.dropped == 5
    sender.take(packet(10, key=True))
    assert sender.dropped == 5 and len(sender._queue) == 1


def test_what_cannot_be_sent_on_is_refused() -> None:
    config = config_for("rtsp://camera/x", "output.republish=rtsp://h/x", "output.codec=av1")
    with pytest.raises(UsageError, match="sends h264 or hevc"):
        preflight(config)
    assert OutputConfig().republish is None
    with suppress(av.error.FFmpegError):
        av.open("rtsp://127.0.0.1:9/x", timeout=1.0).close()
