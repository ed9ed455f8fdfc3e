"""Clips: whatever lies around corroded frames is in a file, and nothing that lies far from them."""

from __future__ import annotations

import itertools
import json
import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import media
import numpy as np
import pytest
from cameras import Camera, Web
from fakes import ColourModel
from test_live import until
from test_watch import config_for, consistent, names

from rustvid.config import Config
from rustvid.errors import UsageError
from rustvid.frames import Measured
from rustvid.live import clips
from rustvid.live import watch as live_watch
from rustvid.live.watch import watch
from rustvid.method.classify import Answer
from rustvid.preflight import preflight
from rustvid.report.summary import Summary
from rustvid.video import accelerators, muxed

pytestmark = pytest.mark.usefixtures("no_leftovers")


class Weather(ColourModel):
    """A network that finds rust while it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.rusty = threading.Event()

    def look(self, images: Sequence[Any]) -> Answer:
        answer = super().look(images)
        if self.rusty.is_set():
            return answer
        return Answer(answer.probability * 0, np.zeros_like(answer.evidence))


class Run:
    """A run that records clips, and a note of every frame that it has seen."""

    def __init__(self, config: Config) -> None:
        self.model = Weather()
        self.seen: list[tuple[int, Fraction, bool]] = []  # index, time, corroded
        self.summary: Summary | None = None
        self.error: BaseException | None = None
        self._config = config
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def _watch(self) -> None:
        try:
            stop = self._stop.is_set
            self.summary = watch(self._config, stop, model=self.model, written=self._note)
        except BaseException as exc:  # noqa: BLE001 - for the test to see
            self.error = exc

    def _note(self, result: Measured, drawn: object) -> None:
        frame = result.frame
        self.seen.append((frame.index, frame.time, 100 * result.area.share > 1))

    def __enter__(self) -> Run:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        self._thread.join()

    def until(self, condition: Callable[[], bool], what: str) -> None:
        until(lambda: condition() or not self._thread.is_alive(), what)
        assert self.error is None, self.error
        assert condition(), f"the run is over, and not: {what}; {self.summary}"

    def more(self, seconds: float) -> None:
        """Let so much of the film pass."""
        self.until(lambda: bool(self.seen), "frames")
        since = self.seen[-1][1]
        self.until(lambda: self.seen[-1][1] >= since + Fraction(seconds), f"{seconds} s more")


def films(folder: Path, kind: str = "mp4") -> list[Path]:
    return sorted(folder.glob(f"live-*Z-????.{kind}"))


def recorded(folder: Path) -> list[list[int]]:
    """The frames of each clip, by their index; each as long as its table and in order."""
    return [[int(row["frame"]) for row in consistent(film)] for film in films(folder)]


def test_a_clip_holds_what_lies_around_corroded_frames_and_no_more(tmp_path: Path) -> None:
    config = config_for(
        "", f"output.path={tmp_path / 'live.mp4'}", "output.clips=true", "output.before=1",
        "output.after=1", f"events.path={tmp_path / 'events.jsonl'}", "events.seconds=0",
        "events.thumbnails=false",
    )  # fmt: skip
    with Camera() as camera, Run(replace(config, input=camera.url)) as run:
        for number in (1, 2):
            run.more(4.0)
            run.model.rusty.set()
            run.more(0.5)
            run.model.rusty.clear()
            run.until(lambda n=number: len(films(tmp_path)) == n, "a complete clip")
        run.more(2.0)
    clips_of = recorded(tmp_path)
    kept = [frame for clip in clips_of for frame in clip]
    assert len(kept) == len(set(kept)) and kept == sorted(kept)
    rust = [time for _, time, corroded in run.seen if corroded]
    for index, time, _ in run.seen:
        near = min(abs(time - when) for when in rust)
        if near <= 1:
            assert index in kept, f"{float(time)} s is {float(near)} s from corrosion"
        if near > 3.5:  # a group of pictures, and what a busy machine leaves between two frames
            assert index not in kept, f"{float(time)} s is {float(near)} s from corrosion"
    assert run.summary and run.summary.exit_code == 0
    assert run.summary.frames == len(kept) == run.summary.live["recorded"] < len(run.seen)
    assert run.summary.live["clips"] == 2
    assert len(names(tmp_path)) == 5, "two clips, two tables, the events, nothing else"
    lines = (tmp_path / "events.jsonl").read_text().splitlines()
    told = [(event["video"], event["frame"]) for event in map(json.loads, lines)]
    held = {film.name: set(frames) for film, frames in zip(films(tmp_path), clips_of, strict=True)}
    assert all(frame in held.get(video, ()) for video, frame in told), "the clip that it is in"
    assert {video for video, _ in told} == set(held)


def test_an_event_does_not_wait_for_a_camera_that_has_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its group is not whole then, and may not be for hours."""
    monkeypatch.setattr(live_watch, "_AWAY", 0.5)
    monkeypatch.setattr(muxed, "GROUP_SECONDS", 3600)
    path = tmp_path / "events.jsonl"
    config = config_for(
        "", f"output.path={tmp_path / 'live.mp4'}", "output.clips=true", f"events.path={path}",
        "events.seconds=0",
    )  # fmt: skip
    with Camera() as camera, Run(replace(config, input=camera.url)) as run:
        run.model.rusty.set()
        run.until(lambda: any(corroded for _, _, corroded in run.seen), "corrosion")
        camera.kill()
        run.until(path.exists, "the event")
    event = json.loads(path.read_text().splitlines()[0])
    assert event["video"] is None and (tmp_path / event["thumbnail"]).exists()


def test_a_run_without_corrosion_writes_nothing(tmp_path: Path) -> None:
    config = config_for("", f"output.path={tmp_path / 'live.mp4'}", "output.clips=true")
    with Camera() as camera, Run(replace(config, input=camera.url)) as run:
        run.more(3.0)
    assert names(tmp_path) == []
    assert run.summary and run.summary.exit_code == 0 and run.summary.frames == 0


def test_a_clip_that_is_being_written_is_completed_at_the_end(tmp_path: Path) -> None:
    config = config_for("", f"output.path={tmp_path / 'live.mkv'}", "output.clips=true")
    with Camera() as camera, Run(replace(config, input=camera.url)) as run:
        run.model.rusty.set()
        run.more(3.0)
    (film,) = tmp_path.glob("*.mkv")
    table = consistent(film)
    assert [int(row["frame"]) for row in table] == [index for index, _, _ in run.seen]


def test_corrosion_that_stays_makes_clips_of_the_longest_length(tmp_path: Path) -> None:
    config = config_for(
        "", f"output.path={tmp_path / 'live.mp4'}", "output.clips=true", "output.segment=2",
        "output.keep=7d",
    )  # fmt: skip
    with Camera() as camera, Run(replace(config, input=camera.url)) as run:
        run.model.rusty.set()
        run.until(lambda: len(films(tmp_path)) >= 2, "two complete clips")
    clips_of = recorded(tmp_path)
    joined = [frame for clip in clips_of for frame in clip]
    assert joined == [index for index, _, _ in run.seen], "none is lost between them"


@pytest.mark.parametrize("rusty", [True, False])
def test_what_is_said_of_the_encoder_is_said_once_with_clips_or_without(
    rusty: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    accelerators.accelerated.cache_clear()
    monkeypatch.setattr(accelerators, "_unfit", lambda *_: "has gone home")
    config = config_for(
        "", f"output.path={tmp_path / 'live.mp4'}", "output.clips=true", "output.segment=1",
        "output.hwaccel=nvenc",
    )  # fmt: skip
    with Camera() as camera, Run(replace(config, input=camera.url)) as run:
        if rusty:
            run.model.rusty.set()
            run.until(lambda: len(films(tmp_path)) >= 2, "two complete clips")
        else:
            run.more(2.0)
    accelerators.accelerated.cache_clear()
    assert bool(films(tmp_path)) == rusty
    told = "output.hwaccel nvenc: h264_nvenc has gone home; encoded in software"
    assert run.summary and run.summary.warnings.count(told) == 1


@pytest.mark.parametrize("kind", ["mp4", "mkv"])
def test_a_clip_has_its_sound(kind: str, tmp_path: Path) -> None:
    """MPEG-TS over HTTP, as of many cameras: AAC whose headers come with each packet."""
    film = media.clip(tmp_path / "film.ts", frames=300, rate=Fraction(30))
    out = tmp_path / "clips"
    out.mkdir()
    config = config_for("", f"output.path={out / 'live'}.{kind}", "output.clips=true")
    with (
        Web(film, seconds=10.0) as web,
        Run(replace(config, input=web.url)) as run,
    ):
        run.more(2.0)
        run.model.rusty.set()
        run.more(1.0)
    (clip,) = films(out, kind)
    table = consistent(clip)
    length = float(table[-1]["time_s"]) - float(table[0]["time_s"])
    with av.open(str(clip)) as container:
        (sound,) = container.streams.audio
        stamps = [p.pts * p.time_base for p in container.demux(sound) if p.size]
    assert all(a < b for a, b in itertools.pairwise(stamps))
    assert -0.2 <= float(stamps[0]) < 0.5 and float(stamps[-1]) > length - 1.0


def test_what_waits_takes_no_more_memory_than_it_may(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "rustvid.live")
    monkeypatch.setattr(clips, "MOST_BYTES", 20_000)
    config = config_for(
        "", f"output.path={tmp_path / 'live.mp4'}", "output.clips=true", "output.before=1h"
    )
    with Camera() as camera, Run(replace(config, input=camera.url)) as run:
        run.until(lambda: "do not fit" in caplog.text, "too much to keep")
        run.model.rusty.set()
        run.more(2.0)
    (kept,) = recorded(tmp_path)
    first = next(index for index, _, corroded in run.seen if corroded)
    assert run.seen[0][0] < kept[0] <= first


@pytest.mark.parametrize(
    ("assignments", "words"),
    [
        (("output.clips=true",), "name one with --out"),
        (("output.clips=true", "output.path=x.mp4", "output.mask=m.mkv"), "no masks"),
    ],
)
def test_clips_that_cannot_be_are_refused(assignments: tuple[str, ...], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        preflight(config_for("rtsp://camera/live", *assignments))


def test_clips_of_a_film_are_refused(clip: Path) -> None:
    with pytest.raises(UsageError, match=r"output\.clips is for live"):
        preflight(config_for(str(clip), "output.path=x.mp4", "output.clips=true"))
