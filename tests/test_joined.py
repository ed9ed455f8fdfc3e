"""A film that the camera cut into several files is read, and annotated, as the film that it was."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import media
import numpy as np
import pytest
from fakes import OWN, ColourModel, quick

from rustvid import pipeline
from rustvid.cli import main
from rustvid.config import SourceConfig
from rustvid.errors import Interrupted, SourceCutShort, SourceError, UsageError
from rustvid.frames import Frame, Measured
from rustvid.pipeline import run
from rustvid.report.summary import Summary
from rustvid.video import open_source
from rustvid.video.film import FileSource
from rustvid.video.named import meant

pytestmark = pytest.mark.usefixtures("no_leftovers")

Told = pytest.CaptureFixture[str]
SIZE = (96, 72)
OPEN = "open-gop=1:keyint=10:min-keyint=5:bframes=3:b-adapt=0:scenecut=0"
KINDS: dict[str, dict[str, Any]] = {
    "plain.mp4": {},
    "ntsc.mp4": {"rate": Fraction(30000, 1001)},
    "reordered.mp4": {"options": {"preset": "veryfast"}},  # B-frames
    "hevc.mov": {
        "codec": "libx265",
        "rate": Fraction(25),
        "options": {"x265-params": "log-level=error:open-gop=0"},
    },
    "open group.mp4": {"options": {"preset": "veryfast", "x264-params": OPEN}},
    "open group.ts": {"options": {"preset": "veryfast", "x264-params": OPEN}},
    "open hevc.mov": {
        "codec": "libx265",
        "options": {"x265-params": f"log-level=error:{OPEN}"},
    },
    "open mpeg2.ts": {"codec": "mpeg2video", "options": {"g": "10", "bf": "2"}},
    "two tracks.mkv": {"audio": 2},
    "silent.mp4": {"audio": 0},
    "turned.mp4": {"rotation": 90, "size": (72, 96)},
    "camcorder.ts": {},
}


def cut_film(
    folder: Path, name: str, cuts: Sequence[float] = (0.9, 1.9)
) -> tuple[Path, list[Path]]:
    """Three seconds, and the same in three files."""
    folder.mkdir(parents=True, exist_ok=True)
    look = {"size": SIZE, **KINDS[name]}
    film = media.clip(folder / name, frames=int(3 * look.get("rate", 30)), **look)
    return film, media.split(film, cuts, folder / "cut")


def joining(parts: Sequence[Path], **wanted: Any) -> SourceConfig:
    return SourceConfig(join="\n".join(map(str, parts[1:])), **wanted)


def read(paths: Sequence[Path], **wanted: Any) -> list[Frame]:
    config = joining(paths, **wanted) if len(paths) > 1 else SourceConfig(**wanted)
    with open_source(str(paths[0]), (80, 60), config) as source:
        frames = list(source.frames())
        source.rest()
    return frames


def annotate(paths: Sequence[Path], out: Path, *assignments: str, **wanted: Any) -> Summary:
    config = quick(f"output.path={json.dumps(str(out))}", *assignments)
    if len(paths) > 1:
        others = "\n".join(map(str, paths[1:]))
        config = replace(config, source=replace(config.source, join=others))
    return run(replace(config, input=str(paths[0])), model=ColourModel(), **wanted)


def stopping(after: int) -> Callable[[Measured, int | None], None]:
    def stop(result: Measured, expected: int | None) -> None:
        if result.frame.index == after:
            raise Interrupted(signal.SIGTERM)

    return stop


# --- what is read


@pytest.mark.parametrize("name", KINDS)
def test_frames_and_times_are_those_of_the_film_before_it_was_cut(
    name: str, tmp_path: Path
) -> None:
    film, parts = cut_film(tmp_path, name)
    assert len(parts) == 3
    whole, joined = read([film]), read(parts)
    assert [f.index for f in joined] == list(range(len(whole)))
    assert [f.time for f in joined] == [f.time for f in whole]
    assert all(f.status == "ok" for f in joined)
    for before, after in zip(whole, joined, strict=True):
        for old, new in zip(before.picture.planes, after.picture.planes, strict=True):
            assert np.array_equal(old, new)
        assert np.array_equal(before.image, after.image)


@pytest.mark.parametrize("name", ["plain.mp4", "camcorder.ts"])
@pytest.mark.parametrize(("start", "end"), [(0.5, 2.5), (1.3, None), (None, 1.1), (2.2, 2.4)])
def test_a_beginning_and_an_end_are_times_of_the_whole(
    start: float | None, end: float | None, name: str, tmp_path: Path
) -> None:
    film, parts = cut_film(tmp_path, name)
    wanted = {"start": start, "end": end}
    whole, joined = read([film], **wanted), read(parts, **wanted)
    first, last = Fraction(str(start or 0)), Fraction(str(end or 9))
    inside = [f.time for f in read([film]) if first <= f.time < last]
    assert [f.time for f in joined] == [f.time for f in whole] == inside
    assert [f.index for f in joined] == [f.index for f in whole]


@pytest.mark.parametrize("name", ["open group.mp4", "open hevc.mov", "open mpeg2.ts"])
def test_a_beginning_at_any_picture_around_a_cut_in_an_open_group(
    name: str, tmp_path: Path
) -> None:
    """Those shown before the key frame refer to the file before, from which nothing is wanted."""
    film, parts = cut_film(tmp_path, name)
    whole = read([film])
    with open_source(str(parts[0]), (80, 60), joining(parts)) as source:
        cut = next(n for n, f in enumerate(whole) if f.time >= source._parts[1].begin)
        assert source._parts[1].begin < source._parts[1].key
    for wanted in whole[cut - 2 : cut + 5]:
        joined = read(parts, start=float(wanted.time))
        assert [f.time for f in joined] == [f.time for f in whole[wanted.index :]]
        assert np.array_equal(joined[0].image, wanted.image)


def test_a_later_clock_of_a_later_file_says_nothing(tmp_path: Path) -> None:
    first = media.clip(tmp_path / "a.ts", audio=0)
    second = media.delayed(first, tmp_path / "b.ts", Fraction(90))
    frames = read([first, second])
    assert len(frames) == 2 * 30
    assert frames[-1].time - frames[0].time < 2


def test_the_expected_number_of_frames_is_that_of_all_files(tmp_path: Path) -> None:
    _, parts = cut_film(tmp_path, "ntsc.mp4")
    with open_source(str(parts[0]), (80, 60), joining(parts)) as source:
        assert source.info.expected_frames == 89
    with open_source(str(parts[0]), (80, 60), joining(parts, start=1.0, end=2.0)) as source:
        assert source.info.expected_frames == 30
    with (
        pytest.raises(SourceError, match=r"has no frame after 7\.0 s"),
        open_source(str(parts[0]), (80, 60), joining(parts, start=7.0)) as source,
    ):
        list(source.frames())


# --- what is written


@pytest.mark.parametrize(
    "name",
    ["plain.mp4", "reordered.mp4", "two tracks.mkv", "camcorder.ts", "open group.mp4"],
)
def test_the_result_is_that_of_the_film_before_it_was_cut(name: str, tmp_path: Path) -> None:
    film, parts = cut_film(tmp_path / "given", name)
    results = []
    for number, paths in enumerate(([film], parts)):
        out = tmp_path / str(number) / f"o{film.suffix}"
        out.parent.mkdir()
        given = [f"output.mask={out.with_name('m.mkv')}", "sample.every=4"]
        summary = annotate(paths, out, *given)
        assert summary.exit_code == 0 and not summary.warnings
        results.append((summary, out))
    (whole, before), (joined, after) = results
    assert joined.frames == whole.frames == 90 and joined.analysed == whole.analysed
    assert after.with_suffix(".csv").read_bytes() == before.with_suffix(".csv").read_bytes()
    assert media.packets(after, "audio") == media.packets(before, "audio")
    assert media.frame_times(after) == media.frame_times(before)
    assert [media.frame_number(rgb) for rgb in media.decode_rgb(after)] == list(range(90))
    masks = [np.stack(media.decode_rgb(out.with_name("m.mkv"))) for out in (before, after)]
    assert np.array_equal(*masks)
    assert joined.input.endswith("_0001" + film.suffix + " and 2 more")


def test_sound_at_a_rate_that_does_not_divide_stays_continuous(tmp_path: Path) -> None:
    """A cut at 1.2012 s is 57,657.6 samples: each packet is at most one sample from its place."""
    film, parts = cut_film(tmp_path / "given", "ntsc.mp4")
    for name, paths in (("whole", [film]), ("joined", parts)):
        annotate(paths, tmp_path / f"{name}.mp4")
    before, after = (media.packets(tmp_path / f"{n}.mp4", "audio") for n in ("whole", "joined"))
    assert [p[3] for p in before] == [p[3] for p in after]  # the same packets in the same order
    assert max(abs((a[0] or 0) - (b[0] or 0)) for a, b in zip(before, after, strict=True)) <= 1


@pytest.mark.parametrize("name", ["reordered.mp4", "open group.mp4"])
@pytest.mark.parametrize("after", [20, 37, 50, 85])
def test_a_run_that_was_broken_off_goes_on_in_any_of_the_files(
    after: int, name: str, tmp_path: Path
) -> None:
    film, parts = cut_film(tmp_path / "given", name, (1.0, 2.0))
    given = ["output.codec=ffv1", "sample.every=7"]
    whole, out = tmp_path / "whole.mkv", tmp_path / "run" / "o.mkv"
    out.parent.mkdir()
    annotate([film], whole, *given)
    assert annotate(parts, out, *given, progress=stopping(after)).exit_code == 143
    summary = annotate(parts, out, *given, "output.resume=true")
    assert summary.exit_code == 0 and max(0, after - 36) < summary.resumed_at <= after
    assert out.with_suffix(".csv").read_bytes() == whole.with_suffix(".csv").read_bytes()
    assert media.packets(out, "audio") == media.packets(whole, "audio")
    assert media.frame_times(out) == media.frame_times(whole)
    assert np.array_equal(*(np.stack(media.decode_rgb(path)) for path in (whole, out)))
    assert sorted(path.name for path in out.parent.iterdir()) == ["o.csv", "o.mkv"]


def test_resume_compares_every_file(tmp_path: Path) -> None:
    _, parts = cut_film(tmp_path, "plain.mp4")
    annotate(parts, tmp_path / "o.mp4", progress=stopping(60))
    with pytest.raises(UsageError, match="cannot go on with what was begun: input was"):
        annotate(parts[:2], tmp_path / "o.mp4", "output.resume=true")
    content = bytearray(parts[1].read_bytes())
    content[-1] ^= 1
    parts[1].write_bytes(content)
    with pytest.raises(UsageError, match="cannot go on with what was begun: input was"):
        annotate(parts, tmp_path / "o.mp4", "output.resume=true")


# --- what goes wrong


def test_a_file_that_is_cut_short_costs_only_its_end(tmp_path: Path) -> None:
    look = {"container_options": {"movflags": "+faststart"}, "size": SIZE}
    parts = [media.clip(tmp_path / f"f{n}.mp4", frames=60, **look) for n in range(3)]
    parts[1] = media.truncated(parts[1], 0.6)
    summary = annotate(parts, tmp_path / "o.mp4")
    assert isinstance(summary.error, SourceCutShort) and summary.exit_code == 3
    assert f"{parts[1]}: is cut short" in str(summary.error)
    seen = [media.frame_number(rgb) for rgb in media.decode_rgb(tmp_path / "o.mp4")]
    times = [float(time) for time in media.frame_times(tmp_path / "o.mp4")]
    assert len(times) == summary.frames < 180 and times == sorted(times)
    assert seen[:60] == seen[-60:] == list(range(60))
    assert times[-60] == pytest.approx(4.0, abs=0.001)  # where it would be, had nothing been lost


@pytest.mark.parametrize(
    ("look", "says"),
    [
        ({"size": (128, 72)}, "its pictures are 128×72, not 96×72"),
        ({"rotation": 180}, "turned by 180, not 0"),
        ({"codec": "libx265"}, "coded in hevc, not h264"),
        ({"pix_fmt": "yuv444p"}, "in the pixel format yuv444p, not yuv420p"),
        ({"rate": Fraction(25)}, "frames per second 25.000, not 30.000"),
        ({"audio": 0}, "its other streams are none, not audio aac 48000 1"),
    ],
)
def test_files_that_do_not_belong_together_are_refused(
    look: dict[str, Any], says: str, tmp_path: Path, capsys: Told
) -> None:
    first = media.clip(tmp_path / "f1.mp4", frames=30, size=SIZE)
    media.clip(tmp_path / "f2.mp4", **{"frames": 30, "size": SIZE, **look})
    out = tmp_path / "o.mp4"
    assert main([str(tmp_path / "f*.mp4"), "--join", "--out", str(out)]) == 3
    told = capsys.readouterr().err
    assert "f2.mp4: does not go on where f1.mp4 ends" in told and says in told
    assert str(first) not in told and not out.exists() and told.count("\n") == 1


def test_what_is_missing_empty_or_no_film_is_refused(tmp_path: Path) -> None:
    first = media.clip(tmp_path / "a.mp4", frames=12, size=SIZE)
    for other, says in (
        (tmp_path / "none.mp4", "no such file; only video files can be joined"),
        (media.empty_file(tmp_path / "b.mp4"), r"is empty \(0 bytes\)"),
        (media.text_file(tmp_path / "c.mp4"), "cannot be opened as video"),
        (media.audio_only(tmp_path / "d.mp4"), "has no video stream"),
        (media.clip(tmp_path / "e.mp4", frames=2, size=(128, 96)), "128×96 pixels are more than"),
    ):
        with pytest.raises(SourceError, match=says):
            annotate([first, other], tmp_path / "o.mp4", "source.max_pixels=10000")
    with pytest.raises(UsageError, match=r"source\.join is for files"):
        annotate(["rtsp://127.0.0.1:1/x", first], tmp_path / "o.mp4")  # type: ignore[list-item]


def test_none_of_the_inputs_is_written_over(tmp_path: Path) -> None:
    _, parts = cut_film(tmp_path, "plain.mp4")
    for part in parts:
        with pytest.raises(UsageError, match="would write over the input itself"):
            annotate(parts, part, "output.overwrite=true")


# --- the command line


def test_a_pattern_is_joined_in_the_order_of_its_numbers(
    tmp_path: Path, capsys: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipeline, "Model", lambda *_: ColourModel())
    film, parts = cut_film(tmp_path / "given", "plain.mp4")
    flight = tmp_path / "flight"
    flight.mkdir()
    for part, number in zip(parts, (8, 9, 10), strict=True):
        part.rename(flight / f"DJI_{number}.mp4")
    given = [f"--set={assignment}" for assignment in OWN]
    out = tmp_path / "flight.mp4"
    assert main([str(flight / "DJI_*.mp4"), "--join", "--out", str(out), *given]) == 0
    annotate([film], tmp_path / "whole.mp4")
    assert out.with_suffix(".csv").read_bytes() == (tmp_path / "whole.csv").read_bytes()
    capsys.readouterr()
    assert main([str(flight), "--join", "--out", str(out), "--resume", *given]) == 0
    assert "was complete already" in capsys.readouterr().err


def test_every_file_is_decoded_by_as_many_threads_as_are_granted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = (str(media.clip(tmp_path / name, frames=4)) for name in ("a.mp4", "b.mp4"))
    granted: list[int] = []
    frames = FileSource.frames

    def noted(self: FileSource) -> Any:
        granted.append(self.threads)
        return frames(self)

    monkeypatch.setattr(FileSource, "frames", noted)
    with open_source(one, SIZE, SourceConfig(join=two)) as source:
        source.threads = 1
        assert len(list(source.frames())) == 8
    assert granted == [1, 1]


def test_names_are_in_the_order_given_and_patterns_by_number(tmp_path: Path) -> None:
    for name in ("b10.mp4", "b9.mp4", "a.mp4", "notes.txt"):
        (tmp_path / name).touch()
    assert [p.name for p, _ in meant(str(tmp_path / "*.mp4"))] == ["a.mp4", "b9.mp4", "b10.mp4"]
    assert [p.name for p, _ in meant(str(tmp_path))] == ["a.mp4", "b9.mp4", "b10.mp4"]


def test_a_link_to_nothing_is_a_file_that_fails(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").touch()
    (tmp_path / "b.mp4").symlink_to(tmp_path / "gone.mp4")
    assert [p.name for p, _ in meant(str(tmp_path / "*.mp4"))] == ["a.mp4", "b.mp4"]
    with pytest.raises(SourceError, match="no such file"):
        meant(str(tmp_path / "b.mp4"))


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["a.mp4", "b.mp4", "--join", "--out-dir", "r"], "use --out, not --out-dir"),
        (["a.mp4", "--join", "--out", "o.mp4"], "is only one file; leave out --join"),
        (["rtsp://127.0.0.1/x", "a.mp4", "--join", "--out", "o.mp4"], "a camera is one film"),
        (["a.mp4", "n.txt", "--join", "--out", "o.mp4"], "n.txt is no video"),
        (["a.mp4", "b.mp4", "--out", "o.mp4"], "--join where they are one film"),
    ],
)
def test_wrong_calls_are_told(
    words: list[str], says: str, tmp_path: Path, capsys: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("a.mp4", "b.mp4", "n.txt"):
        (tmp_path / name).touch()
    assert main(words) == 2
    assert says in capsys.readouterr().err
