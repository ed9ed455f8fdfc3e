"""A live run: its files, its events, the page that shows it, and what it does under faults."""

from __future__ import annotations

import csv
import itertools
import json
import signal
import socket
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from fractions import Fraction
from functools import reduce
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any

import av
import cv2
import media
import numpy as np
import pytest
from cameras import Camera, Web
from fakes import ColourModel, quick
from test_live import QUICK, until
from test_report import result

from rustvid import cli
from rustvid.cli import main
from rustvid.config import Config, EventsConfig, OutputConfig, apply
from rustvid.errors import ConfigError, SinkError, SourceError, UsageError
from rustvid.frames import Measured
from rustvid.live.board import Board
from rustvid.live.deliver import Courier, program, webhook
from rustvid.live.events import Events, Rule
from rustvid.live.recorder import outdated, segment_path
from rustvid.live.watch import watch
from rustvid.pipeline import process, run
from rustvid.preflight import preflight
from rustvid.report.csv import LIVE_COLUMNS
from rustvid.report.summary import Summary

pytestmark = pytest.mark.usefixtures("no_leftovers")

ROOT = Path(__file__).resolve().parents[1]
SLOW = 300.0  # seconds for a process that loads TensorFlow on a busy machine


def config_for(url: str, *assignments: str, **source: Any) -> Config:
    config = replace(quick(*assignments), input=url)
    return replace(config, source=replace(config.source, **{**QUICK, **source}))


class Run:
    """A live run in a thread of its own: `with` ends it as a signal would."""

    def __init__(self, config: Config) -> None:
        self.summary: Summary | None = None
        self.error: BaseException | None = None
        self.board: Board | None = None
        self._config = config
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def _watch(self) -> None:
        try:
            self.summary = watch(self._config, self._stop.is_set, self._look, ColourModel())
        except BaseException as exc:  # noqa: BLE001 - for the test to see
            self.error = exc

    def _look(self, board: Board) -> None:
        self.board = board

    def __enter__(self) -> Run:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        self._thread.join()

    @property
    def over(self) -> bool:
        return not self._thread.is_alive()

    def count(self, name: str) -> int:
        return self.board.snapshot().counts.get(name, 0) if self.board else 0

    def until(self, condition: Callable[[], bool], what: str) -> None:
        until(lambda: condition() or self.over, what)
        assert self.error is None, self.error
        assert condition(), f"the run is over, and not: {what}; {self.summary}"


def rows(path: Path) -> list[dict[str, str]]:
    text = path.read_text(encoding="utf-8")
    assert text.endswith("\n")
    table = list(csv.DictReader(text.splitlines()))
    assert table and all(tuple(row) == LIVE_COLUMNS for row in table)
    return table


def times(path: Path) -> list[float]:
    """Of every frame; all of them decode, and time goes on."""
    with av.open(str(path)) as container:
        found = [frame.time for frame in container.decode(video=0)]
    assert all(a < b for a, b in itertools.pairwise(found))
    return found


def consistent(video: Path) -> list[dict[str, str]]:
    """As many rows as frames, at the same steps of time."""
    table, frames = rows(video.with_suffix(".csv")), times(video)
    assert len(table) == len(frames)
    begin = float(table[0]["time_s"])
    assert [float(row["time_s"]) - begin for row in table] == pytest.approx(frames, abs=0.002)
    return table


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


# --- files


def test_a_live_run_writes_a_film_and_its_table(tmp_path: Path) -> None:
    out = tmp_path / "live.mp4"
    with Camera() as camera, Run(config_for(camera.url, f"output.path={out}")) as running:
        running.until(lambda: running.count("written") >= 40, "forty frames")
    summary = running.summary
    assert summary and summary.error is None and summary.exit_code == 0
    table = consistent(out)
    assert len(table) == summary.frames >= 40
    assert all(row["utc"].endswith("Z") for row in table)
    assert [row["utc"] for row in table] == sorted(row["utc"] for row in table)
    assert summary.latency_median is not None and summary.live["dropped"] >= 0
    assert names(tmp_path) == ["live.csv", "live.mp4"]
    assert "latency: median" in "\n".join(summary.lines())
    assert summary.as_dict()["live"]["read"] >= 40


def test_the_film_plays_while_it_is_written(tmp_path: Path) -> None:
    part = tmp_path / "live.part.mp4"

    def plays() -> bool:
        with suppress(OSError, av.error.FFmpegError):
            return len(times(part)) >= 20
        return False

    config = config_for("", f"output.path={tmp_path / 'live.mp4'}")
    with Camera() as camera, Run(replace(config, input=camera.url)) as running:
        running.until(plays, "twenty frames in the part file")


def test_a_run_goes_on_over_drops_and_changes_of_size(tmp_path: Path) -> None:
    out = tmp_path / "live.mp4"
    with Camera() as camera, Run(config_for(camera.url, f"output.path={out}")) as running:
        for number in range(3):
            seen = running.count("written")
            running.until(lambda seen=seen: running.count("written") > seen + 10, "ten more frames")
            camera.kill()
            camera.size = [(160, 120), (320, 240)][number % 2]
            camera.start()
        seen = running.count("written")
        running.until(lambda: running.count("written") > seen + 10, "frames at the end")
    table = consistent(out)
    assert {"reconnected", "resized"} <= {row["status"] for row in table}
    assert running.summary and running.summary.live["reconnects"] >= 3
    assert running.summary.live["lost"] > 0


def test_segments_follow_one_another_without_a_gap(tmp_path: Path) -> None:
    out = tmp_path / "live.mp4"
    config = config_for("", f"output.path={out}", "output.segment=1s", "output.keep=7d")
    with Camera() as camera, Run(replace(config, input=camera.url)) as running:
        running.until(lambda: running.count("written") >= 90, "ninety frames")
    films = sorted(tmp_path.glob("live-*Z-????.mp4"))
    assert len(films) >= 3
    assert not out.exists() and not list(tmp_path.glob("*.part.*"))
    tables = [consistent(film) for film in films]
    joined = list(itertools.chain(*tables))
    assert [int(row["frame"]) for row in joined] == list(range(len(joined)))
    assert all(float(a["time_s"]) < float(b["time_s"]) for a, b in itertools.pairwise(joined))
    for film, table in zip(films, tables, strict=True):
        assert times(film)[0] == 0
        stamp = film.stem.split("-")[1]
        utc = table[0]["utc"].replace("-", "").replace(":", "")
        assert utc[:15] == stamp[:15]


def test_the_oldest_segments_go(tmp_path: Path) -> None:
    live, hour = tmp_path / "live.mp4", 3600.0
    now = 1_800_000_000.0
    for age in range(5):
        film = segment_path(live, now - age * hour, 9 - age)
        film.write_bytes(b"x" * 900)
        film.with_suffix(".csv").write_bytes(b"x" * 100)
    left = segment_path(live, now - 9 * hour, 1)
    left.with_name(f"{left.stem}.part.mp4").write_bytes(b"x" * 500)
    for other in ("other-20200101T000000Z-0001.mp4", "live-notes.mp4", "live.mp4"):
        (tmp_path / other).write_bytes(b"x" * 10_000)
    paths = [live, live.with_suffix(".csv")]

    def gone(**wanted: Any) -> list[float]:
        found = outdated(paths, OutputConfig(**wanted), now)
        for path in found:
            assert path.name.startswith("live-2")
        return sorted(path.stat().st_size for path in found)

    assert gone() == []
    assert gone(keep=2.5 * hour) == [100, 100, 500, 900, 900]
    assert gone(keep_size=3000) == [100, 100, 500, 900, 900]
    assert gone(keep_size=5000) == [500]
    assert gone(keep=8 * hour, keep_size=10**9) == [500]
    assert len(gone(keep_size=1)) == 9  # of eleven: the newest film and its table stay
    (tmp_path / "live-20261399T120000Z-0003.mp4").write_bytes(b"x")  # of no day
    assert gone(keep_size=5000) == [500]


def test_old_segments_go_while_a_run_goes_on(tmp_path: Path) -> None:
    out = tmp_path / "live.mp4"
    old = segment_path(out, 1e9, 1)
    old.write_bytes(b"of long ago")
    config = config_for("", f"output.path={out}", "output.segment=1", "output.keep=1h")
    with Camera() as camera, Run(replace(config, input=camera.url)) as running:
        running.until(lambda: not old.exists(), "the old one removed")


def test_the_summary_names_no_segment_that_was_removed(tmp_path: Path) -> None:
    out = tmp_path / "live.mp4"
    config = config_for("", f"output.path={out}", "output.segment=1", "output.keep_size=1")
    with Camera() as camera, Run(replace(config, input=camera.url)) as running:
        running.until(lambda: running.count("written") > 100, "four segments")
    assert running.summary
    assert {path.name for path in running.summary.outputs} == {
        path.name for path in tmp_path.iterdir()
    }


def test_sound_is_copied_over_drops(tmp_path: Path) -> None:
    film = media.clip(tmp_path / "film.ts", frames=60, rate=Fraction(30))
    out = tmp_path / "live.mp4"
    web = Web(film, seconds=2.0)
    with web, Run(config_for(web.url, f"output.path={out}")) as running:
        running.until(lambda: web.connections >= 2 and running.count("written") > 80, "two")
    consistent(out)
    with av.open(str(out)) as container:
        (sound,) = container.streams.audio
        stamps = [packet.pts * packet.time_base for packet in container.demux(sound) if packet.size]
    assert all(a < b for a, b in itertools.pairwise(stamps))
    assert float(stamps[-1]) > 2.0 and len(stamps) > 100
    assert running.summary and running.summary.warnings == []


def with_late_sound(film: Path) -> Path:
    """The same film, whose sound comes a quarter of a second after its picture."""
    late = film.with_name("late.ts")
    options = {"max_interleave_delta": "1", "mpegts_copyts": "1"}  # written in the order given
    with av.open(str(film)) as reader, av.open(str(late), "w", options=options) as writer:
        copies = {s.index: writer.add_stream_from_template(s) for s in reader.streams}
        packets = [packet for packet in reader.demux() if packet.size]
        delay = {s.index: 0.25 if s.type == "audio" else 0.0 for s in reader.streams}
        packets.sort(key=lambda p: float(p.dts * p.time_base) + delay[p.stream.index])
        for packet in packets:
            packet.stream = copies[packet.stream.index]
            writer.mux(packet)
    return late


@pytest.mark.parametrize("clips", [False, True])
def test_sound_goes_on_from_one_segment_to_the_next(clips: bool, tmp_path: Path) -> None:
    """What is heard between the last picture of one file and the first of the next is in one."""
    film = with_late_sound(media.clip(tmp_path / "film.ts", frames=150, rate=Fraction(30)))
    out = tmp_path / "live.ts"
    given = ("output.clips=true", "output.after=60") if clips else ()
    with (
        Web(film, seconds=5.0) as web,
        Run(config_for(web.url, f"output.path={out}", "output.segment=1s", *given)) as running,
    ):
        running.until(lambda: running.count("written") >= 120, "four seconds")
    films = sorted(tmp_path.glob("live-*Z-????.ts"))
    assert len(films) >= 3
    sent = [content for *_, content in media.packets(film, "audio")]
    kept = [content for film in films for *_, content in media.packets(film, "audio")]
    first = sent.index(kept[0])
    assert kept == sent[first : first + len(kept)] and len(kept) > 120
    assert running.summary and running.summary.warnings == []


def test_of_two_tracks_each_goes_on(tmp_path: Path) -> None:
    """Sound that comes before its picture is the next file's, and only that one's."""
    film = media.clip(tmp_path / "film.ts", frames=120, rate=Fraction(30), audio=2)
    out = tmp_path / "live.ts"
    with (
        Web(film, seconds=4.0) as web,
        Run(config_for(web.url, f"output.path={out}", "output.segment=1s")) as running,
    ):
        running.until(lambda: running.count("written") >= 90, "three seconds")
    assert running.summary and running.summary.warnings == []
    assert len(list(tmp_path.glob("live-*Z-????.ts"))) >= 3


def test_a_segment_that_has_all_its_pictures_is_whole_whatever_the_next_one_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from rustvid.live import segments

    real, written = segments.Outputs.write, []

    def full(self: Any, result: Measured) -> None:
        written.append(result)
        if len(written) == 34:  # the fourth of the second file
            raise SinkError(
                "live.mp4: cannot be written (No space left on device); free some space"
            )
        real(self, result)

    monkeypatch.setattr(segments.Outputs, "write", full)
    film = media.clip(tmp_path / "film.ts", frames=90, rate=Fraction(30))
    config = config_for("", f"output.path={tmp_path / 'live.mp4'}", "output.segment=1s")
    with Web(film, seconds=3.0) as web, Run(replace(config, input=web.url)) as running:
        until(lambda: running.over, "the end")
    assert running.summary and running.summary.exit_code == 5
    (whole,) = tmp_path.glob("live-*Z-0001.mp4")
    assert whole in running.summary.outputs and len(media.frame_times(whole)) == 30


def test_a_disk_that_is_full_ends_the_run_with_its_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from rustvid.live import segments

    def full(*arguments: Any, **wanted: Any) -> None:
        raise SinkError("live.mp4: cannot be written (No space left on device)")

    monkeypatch.setattr(segments.Outputs, "write", full)
    config = config_for("", f"output.path={tmp_path / 'live.mp4'}")
    with Camera() as camera, Run(replace(config, input=camera.url)) as running:
        until(lambda: running.over, "the end")
    assert running.summary and running.summary.exit_code == 5
    assert "No space left" in str(running.summary.error)


# --- the end


def test_a_camera_that_is_given_up_leaves_whole_files(tmp_path: Path) -> None:
    out = tmp_path / "live.mp4"
    with Camera() as camera:
        config = config_for(camera.url, f"output.path={out}", retry_for=0.3)
        with Run(config) as running:
            running.until(lambda: running.count("written") > 10, "ten frames")
            camera.kill()
            until(lambda: running.over, "the end")
    assert running.summary and running.summary.exit_code == 3
    assert isinstance(running.summary.error, SourceError)
    assert len(consistent(out)) == running.summary.frames


def test_a_run_that_never_saw_a_picture_writes_nothing(tmp_path: Path) -> None:
    config = config_for(Camera().url, f"output.path={tmp_path / 'live.mp4'}", retry_for=0.1)
    with Run(config) as running:
        until(lambda: running.over, "the end")
    assert running.summary and running.summary.exit_code == 3 and running.summary.frames == 0
    assert names(tmp_path) == []


def test_a_run_may_end_by_itself(tmp_path: Path) -> None:
    out = tmp_path / "live.mp4"
    config = config_for("", f"output.path={out}", "source.end=1")
    with Camera() as camera, Run(replace(config, input=camera.url)) as running:
        until(lambda: running.over, "the end")
    assert running.summary and running.summary.exit_code == 0
    assert float(consistent(out)[-1]["time_s"]) < 1


def test_a_script_may_look_at_a_camera_too() -> None:
    with Camera() as camera:
        results = process(camera.url, config_for(camera.url), ColourModel())
        first = list(itertools.islice(results, 5))
        results.close()  # type: ignore[attr-defined]
    assert [result.frame.index for result in first] == [0, 1, 2, 3, 4]
    assert all(result.frame.utc for result in first)


@pytest.mark.parametrize(
    ("assignment", "words"),
    [
        ("source.start=3", "no earlier time"),
        ("output.keep=7d", "need --segment or --clips"),
        ("output.clips=true", "name one with --out"),
        ("output.republish=ftp://host/x", "one of rtsp"),
        ("output.republish=rtsp:///x", "must be an address"),
        ("status.address=0.0.0.0:8090", "set status.token"),
        ("status.address=nonsense", "host:port"),
        ("events.webhook=ftp://host/x", "http"),
        ("events.webhook='http://[::1'", "must be an address like https"),
        ("output.republish='rtsp://[::1'", "must be an address"),
        ("status.address='[::1'", "host:port"),
        ("output.keep_size=500M", "need --segment or --clips"),
        ("events.command=notify 'x", r"events\.command notify 'x: .*No closing quotation.*close"),
        ("events.command=' '", "names no program"),
        ("output.path=live.jpg", "holds one picture"),
    ],
)
def test_what_cannot_work_is_refused_at_once(assignment: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        preflight(config_for("rtsp://camera/live", assignment))


def test_what_is_for_cameras_is_refused_for_films(clip: Path) -> None:
    with pytest.raises(UsageError, match=r"output\.segment is for live input"):
        preflight(config_for(str(clip), "output.path=x.mp4", "output.segment=10m"))
    with pytest.raises(UsageError, match="is not live"):
        watch(config_for(str(clip)), model=ColourModel())
    with pytest.raises(UsageError, match=r"use rustvid\.watch"):
        run(config_for("rtsp://camera/live"), model=ColourModel())


def test_what_a_killed_run_left_is_not_overwritten(tmp_path: Path) -> None:
    out = tmp_path / "live.mp4"
    (tmp_path / "live.part.mp4").write_bytes(b"of last night")
    with pytest.raises(UsageError, match="of an earlier run"):
        preflight(config_for("rtsp://camera/live", f"output.path={out}"))
    for way in ("output.segment=10m", "output.overwrite=true"):
        assert preflight(config_for("rtsp://camera/live", f"output.path={out}", way))


@pytest.mark.parametrize("way", ["output.segment=10m", "output.clips=true"])
def test_a_name_with_the_time_meets_no_whole_film_either(way: str, tmp_path: Path) -> None:
    (tmp_path / "live.mp4").write_bytes(b"of the days before --segment")
    config = config_for("rtsp://camera/live", f"output.path={tmp_path / 'live.mp4'}")
    with pytest.raises(UsageError, match="exists"):
        preflight(config)
    assert preflight(apply(config, way))


def test_events_that_could_not_be_written_are_refused_before_the_first(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is a folder; name a file in it"):
        preflight(config_for("rtsp://camera/live", f"events.path={tmp_path}"))


# --- events


def test_an_event_begins_after_some_seconds_and_is_one_until_it_is_over() -> None:
    rule = Rule(area=1.0, seconds=2.0)
    areas = [0, 5, 0, 5, 5, 5, 5, 5, 0, 5, 5, 0, 0, 0, 0, 5, 5, 5, 5]
    began = [second for second, area in enumerate(areas) if rule.begins(float(second), area)]
    assert began == [5, 17]


def tracked(second: int, area: float, unknown: float) -> Measured:
    """A frame of which a share is corroded, and another one is not known."""
    measured = result(area, time=Fraction(second))
    gaps = np.zeros((10, 10), np.uint8)
    gaps.flat[: round(100 * unknown)] = 1
    return replace(measured, refined=replace(measured.refined, unknown=gaps))


def test_what_a_tracked_frame_does_not_know_ends_no_event() -> None:
    """Else each cut, after which all is unknown until the next look, would begin a new one."""
    told: list[str] = []
    events = Events("gate", EventsConfig(area=1.0, seconds=2.0), told.append)
    picture = result().frame.picture
    known, cut = (0.2, 0.1), (0.0, 1.0)
    for second, (area, unknown) in enumerate([known] * 4 + [cut] * 5 + [known] * 4):
        events.see(tracked(second, area, unknown), picture)
    assert events.count == 1
    for second in range(13, 17):  # surely clean: even with the unknown part
        events.see(tracked(second, 0.0, 0.01), picture)
    for second in range(17, 20):
        events.see(tracked(second, *known), picture)
    assert events.count == 2


def test_time_without_a_camera_is_of_no_event() -> None:
    """Of two frames an hour apart nobody knows that it was so for two seconds."""
    events = Events("gate", EventsConfig(area=1.0, seconds=2.0), lambda line: None)
    picture = result().frame.picture
    for second, share, status in (
        *((0, 0.2, "ok"), (3600, 0.2, "reconnected"), (3601, 0.2, "ok")),
        *((3602, 0.2, "ok"), (3603, 0.0, "ok"), (7200, 0.0, "reconnected"), (7201, 0.2, "ok")),
        *((7202, 0.2, "ok"), (7203, 0.2, "ok"), (7204, 0.2, "ok")),
    ):
        events.see(result(share, time=Fraction(second), status=status), picture)
        assert events.count == (second >= 3602), "it begins once, and one glance ends none"


def test_an_event_is_told_once_its_file_is_known() -> None:
    told: list[str] = []
    picture = result().frame.picture
    with Events("gate", EventsConfig(area=1.0, seconds=1.0), told.append) as events:
        for second in range(10):  # one begins at 1, 5 and 9
            events.see(tracked(second, 0.2 * (second % 4 < 2), 0.0), picture)
        assert events.count == 3 and told == []
        events.written(Fraction(0), Path("before.mp4"))
        assert told == []
        events.written(Fraction(3), Path("clips/first.mp4"))
        events.written(Fraction(6), None)
        assert len(told) == 2
    found = [json.loads(line) for line in told]
    assert [event["time_s"] for event in found] == [1, 5, 9]
    assert [event["video"] for event in found] == ["first.mp4", None, None]


def test_the_page_plots_no_area_that_is_not_known() -> None:
    board = Board("gate")
    picture = result().frame.picture
    for second, (area, unknown) in enumerate([(0.2, 0.0), (0.0, 1.0), (0.3, 0.1)]):
        frame = tracked(second, area, unknown)
        board.written(frame, picture, 0.0)
    now = board.snapshot(history=True)
    assert now.area == pytest.approx(30.0) and now.counts["written"] == 3
    assert [area for _, area in now.history] == pytest.approx([30.0])  # all within one second
    board.written(tracked(9, 0.0, 1.0), picture, 0.0)
    assert board.snapshot().area == pytest.approx(30.0)


def test_the_page_goes_on_where_the_clock_is_set_back() -> None:
    board = Board("gate")
    picture = result().frame.picture
    for now in (7200.0, 7201.0, 3601.0, 3602.0):
        board.written(tracked(0, 0.1, 0.0), picture, now)
    assert [second for second, _ in board.snapshot(history=True).history] == [3601, 3602]


def test_an_event_is_written_told_and_pictured(tmp_path: Path) -> None:
    path, told = tmp_path / "events.jsonl", tmp_path / "told.json"
    copy = tmp_path / "copy.py"
    copy.write_text("import sys, pathlib; pathlib.Path(sys.argv[1]).write_text(sys.stdin.read())")
    command = f"{sys.executable} {copy} {told}"
    config = config_for(
        "", f"events.path={path}", f"events.command={json.dumps(command)}", "events.seconds=0.5"
    )
    with Camera() as camera, Run(replace(config, input=camera.url)) as running:
        running.until(lambda: told.exists() and bool(told.read_text()), "the program's copy")
        running.until(lambda: running.count("written") > 40, "more frames")
    (line,) = path.read_text().splitlines()
    event = json.loads(line)
    assert json.loads(told.read_text()) == event
    assert event["video"] is None, "none is recorded"
    assert event["event"] == "corrosion" and event["area_pct"] > 5
    assert event["time_s"] >= 0.5 and event["utc"].endswith("Z")
    picture = cv2.imread(str(tmp_path / event["thumbnail"]))
    assert picture is not None and picture.shape == (120, 160, 3)
    assert running.summary and running.summary.live["events"] == 1


class Hook:
    """A web server that answers with `codes` in turn, then 204, and keeps what is posted."""

    def __init__(self, *codes: int) -> None:
        hook = self
        self.posted: list[tuple[str, str, str]] = []
        left = list(codes)

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"])).decode()
                hook.posted.append((self.path, self.headers.get("Authorization", ""), body))
                self.send_response(left.pop(0) if left else 204)
                self.send_header("Location", f"http://localhost:{hook.port}/elsewhere")
                self.send_header("Content-Length", "0")
                self.end_headers()

            def do_GET(self) -> None:
                self.headers["Content-Length"] = "0"
                self.do_POST()

            def log_message(self, *arguments: object) -> None:
                return

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self._server.server_port
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.05,), daemon=True
        )
        self.place = f"127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Hook:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def test_a_webhook_is_tried_again_until_it_takes_the_event() -> None:
    with Hook(503, 500) as hook:
        send = webhook(f"http://me:s3cret@{hook.place}/event")
        with Courier("hook", send, first=0.01) as courier:
            courier.send('{"event": 1}')
            until(lambda: courier.delivered == 1, "the delivery")
    assert [body for _, _, body in hook.posted] == ['{"event": 1}'] * 3
    assert {(path, word) for path, word, _ in hook.posted} == {("/event", "Basic bWU6czNjcmV0")}


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
def test_a_webhook_that_has_moved_is_said_and_shows_nobody_its_password(
    code: int, caplog: pytest.LogCaptureFixture
) -> None:
    with Hook(code) as hook, Courier("hook", webhook(f"http://me:x@{hook.place}/event")) as courier:
        courier.send("x")
        until(lambda: courier.lost + courier.delivered > 0, "an answer")
    assert [path for path, _, _ in hook.posted] == ["/event"], "none was asked without the event"
    assert courier.delivered == 0 and f"HTTP {code}: it has moved" in caplog.text


def test_the_password_of_a_webhook_may_come_from_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config = config_for("rtsp://camera/live", "events.webhook=http://me:${HOOK_WORD}@127.0.0.1/x")
    with pytest.raises(UsageError, match="HOOK_WORD"):
        preflight(config)
    monkeypatch.setenv("HOOK_WORD", "s3cret")
    preflight(config)
    with Hook() as hook:
        webhook("http://me:${HOOK_WORD}@" + f"{hook.place}/event")("x", lambda: False)
    assert [word for _, word, _ in hook.posted] == ["Basic bWU6czNjcmV0"]


def test_a_webhook_that_will_never_work_is_said_and_given_up(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with Hook(404) as hook:
        url = f"http://me:s3cret@{hook.place}/event"
        with Courier(url, webhook(url), first=0.01) as courier:
            courier.send("x")
            until(lambda: courier.lost == 1, "it given up")
    assert "404" in caplog.text and "s3cret" not in caplog.text


def test_a_server_that_speaks_no_http_is_tried_again() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        answers = iter([b"garbage\r\n\r\n", b"HTTP/1.1 204 No Content\r\n\r\n"])

        def serve() -> None:
            for answer in answers:
                with server.accept()[0] as client:
                    asked = b""
                    while not asked.endswith(b"\r\n\r\nx"):
                        asked += client.recv(65536)
                    client.sendall(answer)

        serving = threading.Thread(target=serve, daemon=True)
        serving.start()
        url = f"http://127.0.0.1:{server.getsockname()[1]}/event"
        with Courier(url, webhook(url), first=0.01) as courier:
            courier.send("x")
            until(lambda: courier.delivered + courier.lost == 1, "the delivery")
            assert courier.delivered == 1
        serving.join()


def test_a_bug_in_one_delivery_does_not_end_the_others(caplog: pytest.LogCaptureFixture) -> None:
    def deliver(text: str, stopped: Callable[[], bool]) -> None:
        if text == "bad":
            raise RuntimeError("a mistake of ours")

    with Courier("hook", deliver, mark="gate: ") as courier:
        for text in ("bad", "good"):
            courier.send(text)
        until(lambda: courier.delivered == 1, "the other one")
    assert courier.lost == 1
    assert "a mistake of ours" in caplog.text and "Traceback" in caplog.text


def test_a_webhook_that_is_down_holds_up_neither_the_run_nor_its_end(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        url = f"http://127.0.0.1:{gone.getsockname()[1]}/x"
    with Courier(url, webhook(url), first=600.0) as courier:
        for number in range(150):
            courier.send(str(number))
    assert courier.lost == 150


def test_an_event_that_is_under_way_at_the_end_is_counted(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rustvid.live.deliver._LAST", 0.1)
    begun, over = threading.Event(), threading.Event()

    def slow(text: str, stopped: Callable[[], bool]) -> None:
        begun.set()
        over.wait(20)

    with Courier("hook", slow) as courier:
        courier.send("x")
        assert begun.wait(10)
    assert courier.lost == 1 and "the run ended meanwhile" in caplog.text
    over.set()


@pytest.mark.parametrize(
    ("command", "words"), [("false", "code 1"), ("/no/such/program", "cannot be started")]
)
def test_a_program_that_fails_is_said(
    command: str, words: str, caplog: pytest.LogCaptureFixture
) -> None:
    with Courier("events.command", program(command)) as courier:
        courier.send("x")
        until(lambda: courier.lost == 1, "its failure")
    assert words in caplog.text


def test_a_program_that_hangs_is_killed_at_the_end() -> None:
    with Courier("events.command", program("sleep 600")) as courier:
        courier.send("x")
        until(lambda: courier._queue.empty(), "its start")
    until(lambda: courier.lost == 1, "its end")  # `no_leftovers` sees that the process is gone


# --- the status page


def get(url: str, **headers: str) -> tuple[int, bytes]:
    request = urllib.request.Request(url, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as exc:
        with exc:
            return exc.code, exc.read()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as chosen:
        return int(chosen.getsockname()[1])


def test_the_status_page_shows_the_run(tmp_path: Path) -> None:
    base = f"http://127.0.0.1:{free_port()}"
    camera = Camera(user="me:s3cret")
    address = f"status.address={base.removeprefix('http://')}"
    config = config_for(camera.url.replace("//", "//me:s3cret@"), address)
    with Run(config) as running:  # the camera is not there yet
        until(lambda: _reachable(base), "the page")
        assert get(f"{base}/healthz")[0] == 503
        assert get(f"{base}/snapshot.jpg")[0] == 503
        with camera:
            running.until(lambda: get(f"{base}/healthz")[0] == 200, "health")
            seen = b"".join(
                get(f"{base}/{page}")[1] for page in ("", "status.json", "metrics", "healthz")
            )
            status = json.loads(get(f"{base}/status.json")[1])
            assert status["state"] == "playing" and status["counts"]["written"] > 0
            assert status["latency"] is not None and status["history"][0][1] > 5
            metrics = get(f"{base}/metrics")[1].decode()
            assert "rustvid_up 1.0" in metrics and 'rustvid_queue_depth{queue="encode"}' in metrics
            picture = cv2.imdecode(np.frombuffer(get(f"{base}/snapshot.jpg")[1], np.uint8), 1)
            assert picture.shape == (120, 160, 3)
            with urllib.request.urlopen(f"{base}/stream.mjpg", timeout=30) as stream:
                film = stream.read(20_000)
            assert film.count(b"--rustvidframe") >= 2
            assert get(f"{base}/etc/passwd")[0] == 404
            for page in ("healthz", "stream.mjpg", ""):  # as monitors ask
                asked = urllib.request.Request(f"{base}/{page}", method="HEAD")
                with urllib.request.urlopen(asked, timeout=30) as answer:
                    assert answer.status == 200 and answer.read() == b""
            assert get(base, Host="evil.example")[0] == 403
        running.until(lambda: get(f"{base}/healthz")[0] == 503, "illness")
    assert b"RustVid" in seen and b"s3cret" not in seen


def _reachable(base: str) -> bool:
    with suppress(OSError):
        return bool(get(f"{base}/healthz")[0])
    return False


def test_a_token_is_asked_for_where_there_is_one() -> None:
    base = f"http://127.0.0.1:{free_port()}"
    address = f"status.address={base.removeprefix('http://')}"
    with Run(config_for(Camera().url, address, "status.token=s3cret")):
        until(lambda: _reachable(base), "the page")
        assert get(f"{base}/metrics")[0] == 401
        assert get(f"{base}/metrics?token=wrong")[0] == 401
        assert get(f"{base}/metrics?token=s3cret")[0] == 200
        assert get(f"{base}/metrics", Authorization="Bearer s3cret")[0] == 200


def test_a_port_that_is_taken_is_said(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"status.address=127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(UsageError, match="another port"):
            watch(config_for("rtsp://127.0.0.1:9/x", address), model=ColourModel())


# --- the command line

SHORTCUTS = {
    "--transport": ("udp", "source.transport", "udp"),
    "--retry-for": ("10m", "source.retry_for", 600.0),
    "--segment": ("90s", "output.segment", 90.0),
    "--before": ("3s", "output.before", 3.0),
    "--after": ("1m", "output.after", 60.0),
    "--republish": ("rtsp://host/x", "output.republish", "rtsp://host/x"),
    "--keep": ("7d", "output.keep", 7 * 86400.0),
    "--keep-size": ("50G", "output.keep_size", 50_000_000_000),
    "--events": ("e.jsonl", "events.path", "e.jsonl"),
    "--on-event": ("./alarm.sh --now", "events.command", "./alarm.sh --now"),
    "--webhook": ("https://host/x?a=1", "events.webhook", "https://host/x?a=1"),
    "--status": ("127.0.0.1:8090", "status.address", "127.0.0.1:8090"),
}


@pytest.mark.parametrize("flag", cli._LIVE_SHORTCUTS)
def test_a_shortcut_of_a_live_run_sets_its_key(flag: str) -> None:
    value, key, expected = SHORTCUTS[flag]
    options = cli.build_parser().parse_args(["run", "rtsp://camera/x", flag, value])
    assert reduce(getattr, key.split("."), cli._configuration(options)) == expected


@pytest.mark.parametrize(
    ("value", "words"), [("7w", "hh:mm:ss"), ("-5", "at least"), ("0s", "at least")]
)
def test_a_duration_that_is_none_is_refused(value: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        config_for("rtsp://camera/x", f"output.segment={value}")


def test_a_size_that_is_none_is_refused() -> None:
    with pytest.raises(ConfigError, match="50G"):
        config_for("rtsp://camera/x", "output.keep_size=much")


def test_the_command_line_refuses_in_one_line_without_the_password(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["rtsp://me:s3cret@camera/x", "--csv", "/no/such/folder/x.csv"]) == 2 + 3
    assert main(["ftp://me:s3cret@camera/x", "--csv", "x.csv"]) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 2 and "s3cret" not in err


@pytest.fixture
def command(tmp_path: Path) -> list[str]:
    """The command line, with a network that sees colours in the place of the shipped one."""
    code = (
        "import sys; sys.path.insert(0, 'tests')\n"
        "from rustvid import cli, pipeline\n"
        "from fakes import ColourModel\n"
        "pipeline.Model = lambda *_: ColourModel()\n"
        "sys.exit(cli.main(sys.argv[1:]))"
    )
    fast = ("refine.size=96", "source.retry_first=0.1", "workers=0")
    settings = [word for setting in fast for word in ("--set", setting)]
    return [sys.executable, "-c", code, *settings]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_completes_the_files_and_no_password_is_anywhere(
    number: int, command: list[str], tmp_path: Path
) -> None:
    """The camera refuses us in the middle, then comes back; everything written is searched."""
    out, log = tmp_path / "live.mp4", tmp_path / "log.txt"
    port = free_port()
    with Camera(user="me:s3cret") as camera, log.open("wb") as told:
        url = camera.url.replace("//", "//me:s3cret@")
        words = ["--out", str(out), "--events", str(tmp_path / "events.jsonl"), "--json", "-v"]
        hook = f"http://me:s3cret@127.0.0.1:{free_port()}/x?token=s3cret"
        words += ["--webhook", hook, "--status", f"127.0.0.1:{port}"]
        words += ["--set", "source.retry_refused=true", "--set", "events.area=0"]
        child = subprocess.Popen(
            [*command, url, *words], cwd=ROOT, stdout=told, stderr=subprocess.STDOUT
        )
        try:
            base = f"http://127.0.0.1:{port}"
            part = out.with_suffix(".part.csv")

            def begun() -> bool:
                return part.exists() and part.read_bytes().count(b"\n") > 6

            until(lambda: begun() or child.poll() is not None, "rows")
            camera.kill()
            camera.user = "me:other"
            camera.start()
            until(lambda: b"401" in log.read_bytes() or child.poll() is not None, "the refusal")
            pages = b"".join(get(f"{base}/{page}")[1] for page in ("", "status.json", "metrics"))
            shown = Path(f"/proc/{child.pid}/cmdline").read_bytes()
            child.send_signal(number)
            assert child.wait(SLOW) == 0, log.read_text()
        finally:
            if child.poll() is None:
                child.kill()
                child.wait()
    assert len(consistent(out)) > 5
    assert b"rtsp://" in shown and b"/status.json" not in shown
    for name in names(tmp_path):
        assert "s3cret" not in name
        assert b"s3cret" not in (tmp_path / name).read_bytes(), name
    assert b"s3cret" not in pages + shown
    text = log.read_text()
    assert "connecting" in text and "playing" in text and "stopped" in text
    assert out.name in text


def test_a_wrong_password_ends_with_the_code_of_the_input(
    command: list[str], tmp_path: Path
) -> None:
    with Camera(user="me:right") as camera:
        url = camera.url.replace("//", "//me:s3cret@")
        ended = subprocess.run(
            [*command, url, "--out", str(tmp_path / "live.mp4"), "-v"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=SLOW,
        )
    assert ended.returncode == 3
    assert "401: user or password are refused" in ended.stderr
    assert "s3cret" not in ended.stdout + ended.stderr
    assert names(tmp_path) == []
