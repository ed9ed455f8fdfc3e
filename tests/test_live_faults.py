"""What a camera, a network and a disk do to a run; after each, files are whole and nothing is left.

After every fault the run is alive, or has ended as promised; its film decodes to the last frame,
has a row for each, at times that only go forward; and no process, thread, socket or shared memory
is left over.
"""

from __future__ import annotations

import itertools
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import av
import pytest
from cameras import Camera, Process, coded
from test_live import sockets, until
from test_watch import ROOT, SLOW, Run, command, config_for, consistent, names, rows

__all__ = ["command"]  # a fixture


@pytest.fixture(autouse=True)
def nothing_is_left(no_leftovers: None) -> Iterator[None]:
    """Besides processes and shared memory: no thread of ours, no socket."""
    before = sockets()
    yield
    until(lambda: not any("rustvid" in t.name for t in threading.enumerate()), "no thread left")
    until(lambda: sockets() <= before, "no socket left")


def recording(tmp_path: Path, **source: Any) -> Any:
    return config_for("", f"output.path={tmp_path / 'live.mp4'}", **source)


def whole(tmp_path: Path, running: Run) -> list[dict[str, str]]:
    """The film and its table, of a run that has ended well."""
    assert running.summary and running.summary.exit_code == 0, running.summary
    assert names(tmp_path) == ["live.csv", "live.mp4"]
    table = consistent(tmp_path / "live.mp4")
    stamps = [float(row["time_s"]) for row in table]
    assert all(a < b for a, b in itertools.pairwise(stamps))
    assert [row["utc"] for row in table] == sorted(row["utc"] for row in table)
    assert len(table) == running.summary.frames
    return table


def more(running: Run, count: int = 5) -> None:
    seen = running.count("written")
    running.until(lambda: running.count("written") >= seen + count, f"{count} more frames")


def test_a_camera_that_is_killed_twenty_times(tmp_path: Path) -> None:
    with Camera() as camera, Run(replace(recording(tmp_path), input=camera.url)) as running:
        more(running)
        for _ in range(20):
            before = running.count("reconnects")
            camera.kill()
            camera.start()
            running.until(lambda b=before: running.count("reconnects") > b, "a reconnect")
            more(running, 2)
    table = whole(tmp_path, running)
    assert sum(row["status"] == "reconnected" for row in table) >= 20
    assert running.summary and running.summary.live["reconnects"] >= 20


def test_a_camera_s_process_that_is_killed_is_taken_up_when_it_is_back(tmp_path: Path) -> None:
    with Process() as camera, Run(replace(recording(tmp_path), input=camera.url)) as running:
        for _ in range(2):
            more(running)
            camera.kill()
            camera.start()
        more(running)
    assert any(row["status"] == "reconnected" for row in whole(tmp_path, running))


def test_a_camera_that_is_stopped_and_goes_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """SIGSTOP: the connection stands, and nothing comes. test_live_clock.py has the ten seconds."""
    caplog.set_level("INFO", "rustvid.live")
    config = recording(tmp_path, read_timeout=1.0, open_timeout=2.0)
    with Process() as camera, Run(replace(config, input=camera.url)) as running:
        more(running)
        camera.signal(signal.SIGSTOP)
        running.until(lambda: running.count("reconnects") > 0, "the drop")
        camera.signal(signal.SIGCONT)
        more(running, 20)
    said = [record.getMessage() for record in caplog.records]
    at = [next(i for i, line in enumerate(said) if w in line) for w in (": stalled", ": waiting")]
    assert at == sorted(at), said
    table = whole(tmp_path, running)
    assert any(row["status"] == "reconnected" for row in table)
    assert running.summary and running.summary.live["lost"] > 0


def test_a_camera_that_refuses_connections_for_long(tmp_path: Path) -> None:
    """Nobody listens on its port, for ten tries and more, at growing pauses; then the first works.

    test_live_clock.py has the thirty seconds, and when the first try after them begins.
    """
    config = recording(tmp_path, retry_first=0.01, retry_longest=0.05)
    with Camera() as camera, Run(replace(config, input=camera.url)) as running:
        more(running)
        camera.kill()
        before = running.count("reconnects")
        running.until(lambda: running.count("reconnects") >= before + 10, "ten tries")
        tries, played = running.count("reconnects"), camera.connections
        camera.start()
        more(running)
        assert running.count("reconnects") <= tries + 2, "one that was on its way, and the next"
        assert camera.connections == played + 1
    assert any(row["status"] == "reconnected" for row in whole(tmp_path, running))


def test_three_of_a_hundred_datagrams_get_lost(tmp_path: Path) -> None:
    """Of a film whose frames need one another, so that one loss damages what follows."""
    size = (320, 240)
    camera = Camera(size, loss=0.03, frames=coded(size, 25))
    with camera, Run(replace(recording(tmp_path, transport="udp"), input=camera.url)) as running:
        running.until(
            lambda: (
                running.count("written") > 100
                and running.count("lost") + running.count("damaged") > 0
            ),
            "losses, and a hundred frames",
        )
    whole(tmp_path, running)


def test_a_publisher_that_restarts_its_clock(tmp_path: Path) -> None:
    with Camera() as camera, Run(replace(recording(tmp_path), input=camera.url)) as running:
        for count in (80, 10, 10):  # after three seconds and more, and soon again
            more(running, count)
            camera.restart_clock = True
            running.until(lambda: not camera.restart_clock, "the restart")
        more(running, 10)
    table = whole(tmp_path, running)
    assert sum(row["status"] == "time repaired" for row in table) >= 1
    assert running.summary and running.summary.live["reconnects"] == 0


def played(part: Path) -> list[float]:
    """Times of the frames of a part that was cut anywhere: the last one may be half there."""
    found: list[float] = []
    with av.open(str(part)) as container, suppress(av.error.InvalidDataError):
        for frame in container.decode(video=0):
            found.append(frame.time)
    assert all(a < b for a, b in itertools.pairwise(found))
    return found


@pytest.mark.parametrize("kind", ["mp4", "mkv"])
def test_a_disk_that_fills_up(kind: str, command: list[str], tmp_path: Path) -> None:
    """No file may grow beyond 200 kB: what fitted plays, and the run ends with its code."""
    code = command[2].replace(
        "import sys;", "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, "
        "(200_000, 200_000));", 1,
    )  # fmt: skip
    out = tmp_path / f"live.{kind}"
    with Camera() as camera:
        ended = subprocess.run(
            [sys.executable, "-c", code, *command[3:], camera.url, "--out", str(out)],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=SLOW,
        )
    assert ended.returncode == 5, ended.stderr
    assert "cannot be written" in ended.stderr and "Traceback" not in ended.stderr
    part = tmp_path / f"live.part.{kind}"
    table = rows(part.with_suffix(".csv"))
    frames = played(part)
    assert 0 < len(table) <= len(frames), "every row has its picture"
