"""A real RTSP server, GStreamer's; where Debian's packages are missing these tests say so."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import av
import pytest
from cameras import Camera
from test_live import until
from test_watch import Run, config_for, consistent

pytestmark = pytest.mark.usefixtures("no_leftovers")

PYTHON = "/usr/bin/python3"  # the system's: GStreamer's bindings are for it
SCRIPT = Path(__file__).with_name("gst_camera.py")
NEEDED = (
    "gir1.2-gst-rtsp-server-1.0 python3-gi gstreamer1.0-plugins-base gstreamer1.0-plugins-good "
    "gstreamer1.0-plugins-bad gstreamer1.0-plugins-ugly gstreamer1.0-libav"
)
_TRY = (
    "import gi; gi.require_version('Gst', '1.0'); gi.require_version('GstRtspServer', '1.0')\n"
    "from gi.repository import Gst, GstRtspServer; Gst.init(None)\n"
    "assert all(map(Gst.ElementFactory.find, ('x264enc', 'rtph264pay', 'avenc_aac')))"
)


@lru_cache(maxsize=1)
def there() -> bool:
    """Can the server run on this machine?"""
    if not Path(PYTHON).exists():
        return False
    return subprocess.run([PYTHON, "-c", _TRY], capture_output=True).returncode == 0


@pytest.fixture(autouse=True)
def installed() -> None:
    if not there():
        pytest.skip(f"gst-rtsp-server is not installed: apt-get install {NEEDED}")


class Server:
    """The server, a process; `lines` is what it has printed."""

    def __init__(self, log: Path, *words: str) -> None:
        self._log = log
        with log.open("wb") as told:
            self._child = subprocess.Popen(
                [PYTHON, str(SCRIPT), *words], stdin=subprocess.PIPE, stdout=told
            )

    def __enter__(self) -> Server:
        until(lambda: bool(self.lines) or self._child.poll() is not None, "its port")
        self.port = int(self.lines[0])
        self.url = f"rtsp://127.0.0.1:{self.port}/live"
        return self

    def __exit__(self, *error: object) -> None:
        self._child.kill()
        self._child.communicate()

    @property
    def lines(self) -> list[str]:
        return self._log.read_text().splitlines()


@pytest.mark.parametrize("transport", ["tcp", "udp"])
def test_picture_and_sound_of_a_real_server_are_recorded(transport: str, tmp_path: Path) -> None:
    out = tmp_path / "live.mp4"
    config = config_for("", f"output.path={out}", transport=transport)
    with Server(tmp_path / "log.txt", "--audio", "--user", "me:s3cret") as server:
        url = server.url.replace("//", "//me:s3cret@")
        with Run(replace(config, input=url)) as running:
            running.until(lambda: running.count("written") >= 60, "sixty frames")
    assert running.summary and running.summary.exit_code == 0
    table = consistent(out)
    length = float(table[-1]["time_s"])
    with av.open(str(out)) as container:
        (sound,) = container.streams.audio
        stamps = [packet.pts * packet.time_base for packet in container.demux(sound) if packet.size]
    assert float(stamps[-1]) > length / 2, "sound to the end, about"
    assert running.summary.live["reconnects"] == 0


def test_a_real_server_refuses_a_wrong_password(tmp_path: Path) -> None:
    config = config_for("", f"output.path={tmp_path / 'live.mp4'}")
    with Server(tmp_path / "log.txt", "--user", "me:right") as server:
        url = server.url.replace("//", "//me:s3cret@")
        with Run(replace(config, input=url)) as running:
            until(lambda: running.over, "the end")
    assert running.summary and running.summary.exit_code == 3
    assert "401" in str(running.summary.error) and "s3cret" not in str(running.summary.error)


def test_a_real_server_that_is_killed_and_comes_back(tmp_path: Path) -> None:
    out = tmp_path / "live.mp4"
    with Server(tmp_path / "1.txt") as server:
        config = config_for(server.url, f"output.path={out}")
        with Run(config) as running:
            running.until(lambda: running.count("written") >= 20, "twenty frames")
            server.__exit__()
            seen = running.count("written")
            with Server(tmp_path / "2.txt", "--port", str(server.port)):
                running.until(lambda: running.count("written") > seen + 20, "twenty more")
    assert running.summary and running.summary.live["reconnects"] >= 1
    assert any(row["status"] == "reconnected" for row in consistent(out))


def test_a_real_server_takes_what_is_sent_on(tmp_path: Path) -> None:
    out = tmp_path / "live.mp4"
    with Camera((320, 240)) as camera, Server(tmp_path / "log.txt", "--record") as server:
        config = config_for(camera.url, f"output.path={out}", f"output.republish={server.url}")
        with Run(config) as running:
            running.until(lambda: server.lines.count("picture") >= 30, "thirty pictures there")
    assert running.summary and running.summary.exit_code == 0
    assert len(consistent(out)) == running.summary.frames
