"""What goes wrong in the field ends with one line, its exit code, and what was done until there.

Faults that a function can have are tested in this process, with a network that sees colours;
signals and closed streams in a process of its own, with the network that is shipped.
"""

from __future__ import annotations

import csv
import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from fractions import Fraction
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import av
import cv2
import media
import numpy as np
import pytest
from conftest import children
from fakes import ColourModel, quick

from rustvid import pipeline
from rustvid.cli import main
from rustvid.errors import (
    Interrupted,
    SinkError,
    SourceCutShort,
    SourceError,
    UsageError,
    WorkerError,
)
from rustvid.frames import Measured
from rustvid.pipeline import process, run
from rustvid.progress import Signals
from rustvid.report.csv import COLUMNS, PHOTO_COLUMNS, CsvReport
from rustvid.report.summary import Summary
from rustvid.video.muxed import VideoSink
from rustvid.video.times import without_leaps

pytestmark = pytest.mark.usefixtures("no_leftovers")

Told = pytest.CaptureFixture[str]
ROOT = Path(__file__).resolve().parents[1]
WEIGHTS = ROOT / "rustvid" / "method" / "weights"
PATIENCE = 90.0  # seconds for what takes a few, on a busy machine
FRAGMENT = 20  # frames: two seconds of the long film
LOOK_AHEAD = 30  # frames that an encoder may hold back
SMALL = ("--set", "refine.size=64", "--set", "refine.method=threshold", "--workers", "0")


@pytest.fixture(scope="module")
def long_clip(clips: Path) -> Path:
    """600 frames, ten a second: so much work that a signal hits the middle."""
    return media.clip(clips / "long.mp4", frames=600, rate=Fraction(10))


@pytest.fixture(scope="module")
def short_clip(clips: Path) -> Path:
    """60 frames, ten a second: three fragments."""
    return media.clip(clips / "short.mp4", frames=60, rate=Fraction(10))


def annotate(source: Path, out: Path, *assignments: str, **wanted: Any) -> Summary:
    config = quick(f"output.path={json.dumps(str(out))}", *assignments)
    return run(replace(config, input=str(source)), model=ColourModel(), **wanted)


def rows(path: Path) -> list[dict[str, str]]:
    """The table; every row of it must be whole."""
    text = path.read_text(encoding="utf-8")
    assert text.endswith("\n")
    table = list(csv.DictReader(text.splitlines()))
    columns = PHOTO_COLUMNS if table and "file" in table[0] else COLUMNS
    assert all(len(row) == len(columns) and None not in row.values() for row in table)
    assert [int(row["frame"]) for row in table] == list(range(len(table)))
    return table


def playable(path: Path) -> int:
    """Frames up to the first damaged one; each must be the one that belongs there."""
    count = 0
    with av.open(str(path)) as container, suppress(av.error.InvalidDataError):
        for frame in container.decode(video=0):
            assert media.frame_number(frame.to_ndarray(format="rgb24")) == count
            count += 1
    return count


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def refusal(told: Told) -> str:
    """The one line of stderr, without the program's name."""
    out, err = told.readouterr()
    assert out == "" and err.count("\n") == 1 and err.startswith("rustvid: ")
    return err.removeprefix("rustvid: ").rstrip("\n")


def one_line(error: Exception | None) -> str:
    """The words of an error, which must fit on one line."""
    assert error is not None and "\n" not in str(error)
    return str(error)


# --- the input


def _moov_cut_off(folder: Path) -> Path:
    return media.truncated(media.clip(folder / "whole.mp4"), 0.6)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda folder: folder / "nowhere.mp4", "no such file or folder; check the path"),
        (lambda folder: folder / ("long" * 80 + ".mp4"), "File name too long"),
        (lambda folder: folder, "holds no pictures"),
        (lambda folder: media.empty_file(folder / "empty.mp4"), "is empty (0 bytes)"),
        (lambda folder: media.text_file(folder / "text.mp4"), "cannot be opened as video"),
        (lambda folder: media.text_file(folder / "text.png"), "cannot be read as a picture"),
        (lambda folder: media.audio_only(folder / "sound.mp4"), "has no video stream"),
        (_moov_cut_off, "cannot be opened as video"),
    ],
)
def test_an_input_that_cannot_be_read_ends_with_3(
    make: Callable[[Path], Path], says: str, tmp_path: Path, capsys: Told
) -> None:
    given, results = tmp_path / "given", tmp_path / "results"
    given.mkdir()
    results.mkdir()
    source = make(given)
    assert main([str(source), "--out", str(results / "out.mp4")]) == 3
    line = refusal(capsys)
    assert line.startswith(f"{source}: ") and says in line
    assert names(results) == []


def test_a_film_cut_short_is_done_up_to_the_cut_and_ends_with_3(tmp_path: Path) -> None:
    whole = media.clip(tmp_path / "whole.mkv", frames=90)
    cut = media.truncated(whole, 0.5)
    summary = annotate(cut, tmp_path / "out.mkv", f"output.mask={tmp_path / 'masks.mkv'}")
    assert isinstance(summary.error, SourceCutShort) and summary.exit_code == 3
    assert "is cut short" in one_line(summary.error)
    assert 0 < summary.frames == len(media.decode_rgb(cut)) < 90
    assert playable(tmp_path / "out.mkv") == len(rows(tmp_path / "out.csv")) == summary.frames
    assert names(tmp_path) == ["masks.mkv", "out.csv", "out.mkv", "whole-cut.mkv", "whole.mkv"]
    assert summary.stages["network"] >= 0 and not summary.kept


def test_frames_that_wait_for_the_next_analysed_one_are_there_at_a_cut(tmp_path: Path) -> None:
    cut = media.truncated(media.clip(tmp_path / "whole.mkv", frames=90, size=(96, 72)), 0.5)
    summary = annotate(cut, tmp_path / "out.mkv", "sample.every=100")
    assert isinstance(summary.error, SourceCutShort) and summary.analysed == 1
    assert len(rows(tmp_path / "out.csv")) == len(media.decode_rgb(cut)) == summary.frames > 10


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".ts"])
def test_corrupt_packets_do_not_end_the_film_and_their_frames_are_marked(
    suffix: str, tmp_path: Path
) -> None:
    spoilt = media.noisy(media.clip(tmp_path / f"clip{suffix}", frames=90))
    summary = annotate(spoilt, tmp_path / "out.mp4")
    table = rows(tmp_path / "out.csv")
    assert summary.exit_code == 0
    assert {row["status"] for row in table} >= {"ok", "corrupt"}
    assert len(media.frame_times(tmp_path / "out.mp4")) == len(table) > 60
    assert "corrupt" in "\n".join(summary.lines())


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".ts"])
def test_a_film_whose_clock_jumps_back_is_done_to_its_end(suffix: str, tmp_path: Path) -> None:
    once = media.clip(tmp_path / "once.ts")
    twice = tmp_path / "twice.ts"
    twice.write_bytes(once.read_bytes() * 2)
    out = tmp_path / f"out{suffix}"
    summary = annotate(twice, out)
    times = media.frame_times(out)
    assert summary.exit_code == 0 and summary.statuses["time repaired"] == 30
    assert len(times) == 60 and times == sorted(set(times))
    assert any("times run backwards" in warning for warning in summary.warnings)


def late(path: Path, frame: int, seconds: int) -> Path:
    """The film with one frame's time that many seconds too late."""
    out = path.with_stem("late")
    with av.open(str(path)) as source, av.open(str(out), "w") as target:
        stream = source.streams.video[0]
        copy = target.add_stream_from_template(stream)
        for number, packet in enumerate(p for p in source.demux(stream) if p.size):
            packet.pts += (number == frame) * int(seconds / stream.time_base)
            packet.stream = copy
            target.mux(packet)
    return out


@pytest.mark.parametrize("seconds", [30, 3000])
def test_one_time_that_leaps_ahead_is_repaired_and_the_others_stay(
    seconds: int, tmp_path: Path
) -> None:
    source = media.clip(tmp_path / "in.ts", frames=30)
    before = media.frame_times(source)
    summary = annotate(late(source, 10, seconds), tmp_path / "out.mp4")
    assert summary.statuses["time repaired"] == 1
    after = media.frame_times(tmp_path / "out.mp4")
    assert len(after) == len(before) == 30
    assert [t - after[0] for t in after] == pytest.approx([t - before[0] for t in before], abs=2e-3)


def test_a_time_that_leaps_ahead_and_goes_on_from_there_is_a_real_gap() -> None:
    ticks = [0, 1, 2, 500, 501, 502, None, 504, 9000]
    frames = [(SimpleNamespace(pts=tick), "ok") for tick in ticks]
    assert [frame.pts for frame, _ in without_leaps(iter(frames), Fraction(100))] == ticks
    ticks = [0, 1, 900, 3, None, 5]
    frames = [(SimpleNamespace(pts=tick), "ok") for tick in ticks]
    found = [frame.pts for frame, _ in without_leaps(iter(frames), Fraction(100))]
    assert found == [0, 1, None, 3, None, 5]


def test_the_sound_of_a_transport_stream_goes_into_an_mp4(tmp_path: Path) -> None:
    """Its AAC has a header in every packet, which mp4 does not take."""
    source, out = media.clip(tmp_path / "in.ts"), tmp_path / "out.mp4"
    assert annotate(source, out).warnings == []
    with av.open(str(source)) as before, av.open(str(out)) as after:
        sounds = [[f.to_ndarray() for f in c.decode(audio=0)] for c in (before, after)]
    assert len(sounds[0]) == len(sounds[1]) > 40
    assert all(np.array_equal(a, b) for a, b in zip(*sounds, strict=True))


def test_a_damaged_photo_among_others_is_marked_and_the_others_are_done(tmp_path: Path) -> None:
    folder = media.image_folder(tmp_path / "photos", count=4)
    media.text_file(folder / "frame_0002.jpg")
    summary = annotate(folder, tmp_path / "out.mp4")
    assert summary.exit_code == 6
    assert [r["status"] for r in rows(tmp_path / "out.csv")] == ["ok", "ok", "corrupt", "ok"]


def test_a_film_that_begins_after_the_end_asked_for_is_an_error(tmp_path: Path) -> None:
    late = tmp_path / "late.mkv"
    with av.open(str(media.clip(tmp_path / "clip.mkv"))) as source, av.open(str(late), "w") as to:
        copy = to.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.pts is not None and packet.dts is not None:
                packet.pts, packet.dts = packet.pts + 5000, packet.dts + 5000
                packet.stream = copy
                to.mux(packet)
    summary = annotate(late, tmp_path / "out.mp4", "source.end=3")
    assert isinstance(summary.error, SourceError)
    assert "has no frame before source.end 3" in one_line(summary.error)
    assert "out.part.csv" not in names(tmp_path) and "out.mp4" not in names(tmp_path)


# --- configuration and weights


def _of_another_shape(path: Path) -> Path:
    with np.load(WEIGHTS / "rustseg-lite.npz") as shipped:
        arrays = dict(shipped)
    arrays["conv2_1/kernel"] = arrays["conv2_1/kernel"][..., :-1]
    np.savez(path, **arrays)
    return path


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda path: path, "no such file"),
        (media.empty_file, "is not a weights file"),
        (media.text_file, "is not a weights file"),
        (_of_another_shape, "conv2_1/kernel"),
    ],
)
def test_weights_that_do_not_fit_end_with_2(
    make: Callable[[Path], Path], says: str, clip: Path, tmp_path: Path, capsys: Told
) -> None:
    weights = make(tmp_path / "weights.npz")
    there = names(tmp_path)
    given = ["--out", str(tmp_path / "out.mp4"), "--model", str(weights), *SMALL]
    assert main([str(clip), *given]) == 2
    line = refusal(capsys)
    assert line.startswith(f"{weights}: ") and says in line
    assert names(tmp_path) == there


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "cannot be read"),
        (b"refine: [1, 2", "is not valid YAML"),
        (b"\xff\xfe\x00refine", "is not valid YAML"),
        (b"just words", "must hold `key: value` lines"),
        (b"refine: {sise: 64}", "unknown key refine.sise; did you mean refine.size?"),
    ],
)
def test_a_configuration_that_cannot_be_understood_ends_with_2(
    content: bytes | None, says: str, clip: Path, tmp_path: Path, capsys: Told
) -> None:
    path = tmp_path / "my.yaml"
    if content is None:
        path.mkdir()
    else:
        path.write_bytes(content)
    assert main([str(clip), "--out", str(tmp_path / "o.mp4"), "--config", str(path)]) == 2
    line = refusal(capsys)
    assert line.startswith(f"{path}: ") and says in line


# --- where it should go


@pytest.mark.parametrize(
    ("given", "code", "says"),
    [
        (["--out", "in.mp4", "--overwrite"], 2, "would write over the input"),
        (["--out", "./sub/../in.mp4", "--overwrite"], 2, "would write over the input"),
        (["--mask", "link.mkv", "--overwrite"], 2, "would write over the input"),
        (["--out", "old.mp4"], 2, "exists; choose another name or add --overwrite"),
        (["--out", "sub.mp4"], 2, "is a folder"),
        (["--out", "film.csv"], 2, "unknown kind of output '.csv'"),
        (["--out", "o.mp4", "--csv", "o.mp4"], 2, "unknown kind of output '.mp4'"),
        (["--out", "o.mp4", "--mask", "sub/../o.mp4"], 2, "is named for two outputs"),
        (["--out", "o.png"], 2, "holds one picture, the input has 30"),
        (["--out", "o.webm"], 2, ".webm cannot hold h264; set output.codec to av1 or vp9"),
        (["--mask", "masks.jpg"], 2, "unknown kind of output '.jpg'"),
        (["--out", "o.mp4", "--set", "output.preset=quick"], 2, "output.preset must be one of"),
        (["--out", "o.mp4", "--set", "output.crf=60"], 2, "output.crf must be at most 51 for h264"),
        (["--out", "nowhere/o.mp4"], 5, "nowhere: no such folder for o.mp4; create it first"),
        (["--out", "in.mp4/o.mp4"], 5, "in.mp4: no such folder for o.mp4; create it first"),
        (["--out", "/proc/o.mp4"], 5, "/proc: cannot be written"),
        (["--out", "o" * 300 + ".mp4"], 5, "File name too long"),
        (["--out", "o" * 250 + ".mp4"], 5, "File name too long"),  # with .part in it
    ],
)
def test_an_output_that_would_fail_or_destroy_is_refused_before_any_work(
    given: list[str],
    code: int,
    says: str,
    clip: Path,
    tmp_path: Path,
    capsys: Told,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("in.mp4").write_bytes(clip.read_bytes())
    Path("link.mkv").symlink_to("in.mp4")
    Path("old.mp4").write_text("an hour of work")
    Path("sub").mkdir()
    Path("sub.mp4").mkdir()
    there = names(tmp_path)
    assert main(["in.mp4", *given]) == code
    assert says in refusal(capsys)
    assert names(tmp_path) == there
    assert Path("in.mp4").read_bytes() == clip.read_bytes()
    assert Path("old.mp4").read_text() == "an hour of work"


def test_the_part_of_an_earlier_run_is_not_overwritten_while_it_is_the_input(
    clip: Path, tmp_path: Path, capsys: Told
) -> None:
    part = tmp_path / "film.part.mp4"
    part.write_bytes(clip.read_bytes())
    assert main([str(part), "--out", str(tmp_path / "film.mp4")]) == 2
    assert "would write over the input" in refusal(capsys)
    assert part.read_bytes() == clip.read_bytes()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_may_not_be_written_ends_with_5(
    clip: Path, tmp_path: Path, capsys: Told
) -> None:
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o555)
    assert main([str(clip), "--out", str(locked / "o.mp4")]) == 5
    assert "cannot be written (Permission denied)" in refusal(capsys)


def test_a_photo_and_its_mask_are_both_written_or_neither(tmp_path: Path) -> None:
    photo, out, mask = media.photo(tmp_path / "in.png"), tmp_path / "o.png", tmp_path / "m.png"
    assert annotate(photo, out, f"output.mask={mask}").outputs == [out, tmp_path / "o.csv", mask]
    gray = cv2.imread(str(mask))
    assert set(np.unique(gray)) == {0, 255}
    assert (gray[..., 0] == 255).mean() == pytest.approx(media.patch_mask().mean(), rel=0.1)

    def stop(result: Measured, expected: int | None) -> None:
        raise Interrupted(signal.SIGTERM)

    again = tmp_path / "again.png"
    assert annotate(photo, again, progress=stop).exit_code == 143
    assert not [name for name in names(tmp_path) if name.startswith("again")]


# --- a full disk


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """What stands for a full disk where nothing can be mounted; Python ignores SIGXFSZ."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=100k", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("a small disk needs the right to mount one")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)  # fails if a file is still open


def assert_kept(summary: Summary, part: Path) -> None:
    """After a failure: one line, a part that plays, rows for its frames, no final names."""
    assert isinstance(summary.error, SinkError) and summary.exit_code == 5
    assert "cannot be written" in one_line(summary.error)
    table = rows(part.with_suffix(".csv"))
    assert set(summary.kept) == {part, part.with_suffix(".csv")} and not summary.outputs
    assert len(table) == summary.frames < 600
    assert 0 < len(table) <= playable(part) <= len(table) + FRAGMENT + LOOK_AHEAD
    journal = part.with_suffix(".json")
    assert names(part.parent) == sorted(path.name for path in [*summary.kept, journal])
    assert f"kept {part}: up to {summary.frames} frames" in summary.lines()


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv", ".ts"])
def test_a_disk_that_fills_up_leaves_a_part_that_plays(
    suffix: str, long_clip: Path, small_disk: Path
) -> None:
    summary = annotate(long_clip, small_disk / f"out{suffix}")
    assert "No space left on device" in one_line(summary.error)
    assert "free some space" in one_line(summary.error)
    assert_kept(summary, small_disk / f"out.part{suffix}")


@pytest.mark.parametrize("size", [40_000, 70_000, 100_000])
def test_a_file_that_may_grow_no_further_leaves_a_part_that_plays(
    size: int, long_clip: Path, tmp_path: Path
) -> None:
    with files_of_at_most(size):
        summary = annotate(long_clip, tmp_path / "out.mp4")
    assert_kept(summary, tmp_path / "out.part.mp4")


@pytest.mark.parametrize("most", [50, 200])  # not even the table's header, not the film's
def test_a_disk_that_is_full_from_the_start_leaves_nothing(
    most: int, clip: Path, tmp_path: Path
) -> None:
    with files_of_at_most(most):
        summary = annotate(clip, tmp_path / "out.mkv")
    assert isinstance(summary.error, SinkError)
    assert summary.frames <= 30 and "out.mkv" not in names(tmp_path)
    assert all((tmp_path / name).stat().st_size for name in names(tmp_path))


def test_a_row_that_did_not_fit_is_taken_back(clip: Path, tmp_path: Path) -> None:
    result = next(iter(process(clip, quick("source.end=0.05"), ColourModel())))
    part = tmp_path / "t.part.csv"
    with (
        files_of_at_most(1000),
        pytest.raises(SinkError, match=r"t\.csv: cannot be written"),
        CsvReport(tmp_path / "t.csv", part) as report,
    ):
        while True:
            report.write(result)
    text = part.read_text()
    assert text.endswith("\n") and 1000 - 60 < len(text) <= 1000
    assert len(set(text.splitlines()[1:])) == 1  # not one of them is cut


def test_an_error_of_the_encoder_stops_the_run_before_the_film_ends(
    long_clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encode, seen = VideoSink._mux_picture, []

    def failing(self: VideoSink, picture: Any, frame: Any) -> None:
        if frame.index == 30:
            raise OSError(5, "Input/output error")
        encode(self, picture, frame)

    monkeypatch.setattr(VideoSink, "_mux_picture", failing)
    summary = annotate(
        long_clip, tmp_path / "out.mp4", "workers=2", progress=lambda result, _: seen.append(result)
    )
    assert one_line(summary.error) == (
        f"{tmp_path / 'out.mp4'}: cannot be written (Input/output error); check the folder"
    )
    assert summary.frames == 30 == playable(tmp_path / "out.part.mp4")
    assert len(rows(tmp_path / "out.part.csv")) == 30 and len(seen) < 100


def test_a_folder_that_goes_away_is_told_at_the_end(clip: Path, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()

    def move(result: Measured, expected: int | None) -> None:
        if result.frame.index == 10:
            folder.rename(tmp_path / "elsewhere")

    summary = annotate(clip, folder / "out.mp4", progress=move)
    assert isinstance(summary.error, SinkError)
    assert playable(tmp_path / "elsewhere" / "out.part.mp4") == 30


# --- workers that die


def killing(every: int) -> Callable[[Measured, int | None], None]:
    """Kill every worker with SIGKILL, each so many frames."""

    def kill(result: Measured, expected: int | None) -> None:
        if result.frame.index % every == every - 1:
            for pid in children():
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)

    return kill


def test_workers_that_are_killed_change_nothing_in_the_result(
    short_clip: Path, tmp_path: Path
) -> None:
    """Once in the middle, and again and again."""
    tables, films = [], []
    for name, progress in (("whole", None), ("once", killing(50)), ("often", killing(20))):
        masks = tmp_path / f"{name}.mkv"
        given = ("refine.method=advanced", "workers=2", f"output.mask={masks}")
        summary = annotate(short_clip, tmp_path / f"{name}.mp4", *given, progress=progress)
        assert summary.exit_code == 0 and summary.frames == 60
        replaced = "worker processes died and were replaced" in "\n".join(summary.lines())
        assert (summary.worker_restarts > 0) == replaced == (progress is not None)
        tables.append(rows(tmp_path / f"{name}.csv"))
        films.append(np.stack(media.decode_rgb(masks)))
    assert tables[0] == tables[1] == tables[2]
    assert np.array_equal(films[0], films[1]) and np.array_equal(films[0], films[2])


def test_workers_that_never_start_end_the_run_with_1(
    clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipeline, "one_thread", partial(os._exit, 3))
    summary = annotate(clip, tmp_path / "out.mp4", "workers=2")
    assert isinstance(summary.error, WorkerError) and summary.exit_code == 1
    assert "--workers 0" in one_line(summary.error)
    assert names(tmp_path) == []


# --- stopping from inside


def stopping(error: BaseException, after: int) -> Callable[[Measured, int | None], None]:
    def stop(result: Measured, expected: int | None) -> None:
        if result.frame.index == after:
            raise error

    return stop


def test_an_interrupt_keeps_exactly_the_frames_before_it(long_clip: Path, tmp_path: Path) -> None:
    masks, stop = tmp_path / "masks.mkv", stopping(Interrupted(signal.SIGTERM), 25)
    given = ("workers=2", f"output.mask={masks}")
    summary = annotate(long_clip, tmp_path / "out.mp4", *given, progress=stop)
    assert summary.exit_code == 143 and summary.frames == 25
    assert names(tmp_path) == ["masks.part.mkv", "out.part.csv", "out.part.json", "out.part.mp4"]
    assert playable(tmp_path / "out.part.mp4") == len(rows(tmp_path / "out.part.csv")) == 25
    assert len(media.frame_times(tmp_path / "masks.part.mkv")) == 25
    assert summary.as_dict()["kept"] == [str(path) for path in summary.kept]


def test_an_interrupt_before_the_first_frame_leaves_nothing(clip: Path, tmp_path: Path) -> None:
    old = tmp_path / "out.part.mp4"
    old.write_bytes(b"of an earlier run")
    stop = stopping(Interrupted(signal.SIGINT), 0)
    summary = annotate(clip, tmp_path / "out.mp4", "output.overwrite=true", progress=stop)
    assert summary.exit_code == 130 and not summary.kept and not summary.outputs
    assert names(tmp_path) == ["out.part.mp4"] and old.read_bytes() == b"of an earlier run"


@pytest.mark.parametrize("error", [KeyboardInterrupt(), ZeroDivisionError("a bug")])
def test_whatever_is_raised_in_progress_everything_is_closed(
    error: BaseException, long_clip: Path, tmp_path: Path
) -> None:
    with pytest.raises(type(error)):
        annotate(long_clip, tmp_path / "out.mp4", "workers=2", progress=stopping(error, 25))
    assert playable(tmp_path / "out.part.mp4") == len(rows(tmp_path / "out.part.csv")) == 25


@pytest.mark.parametrize("taken", [0, 1, 7])
def test_results_that_nobody_takes_any_more_stop_the_work(taken: int, long_clip: Path) -> None:
    results = process(long_clip, quick("workers=2"), ColourModel())
    for _ in range(taken):
        next(results)
    del results  # no_leftovers looks for what still runs


def test_a_second_termination_changes_nothing_and_what_is_ignored_stays_so() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with Signals() as signals:
            signals.check()
            for number in (signal.SIGTERM, signal.SIGTERM, signal.SIGINT):
                os.kill(os.getpid(), number)
            with pytest.raises(Interrupted) as stopped:
                signals.check()
        assert stopped.value.exit_code == 143
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    finally:
        signal.signal(signal.SIGINT, before)


# --- signals and streams, in a process of its own


@contextmanager
def started(*words: str, **streams: Any) -> Iterator[subprocess.Popen[str]]:
    """`rustvid …`, killed at the latest when the test leaves it."""
    usual = {k: v for k, v in os.environ.items() if k != "PYTHONUNBUFFERED"}  # what users have
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "env": usual} | streams
    command = [sys.executable, "-m", "rustvid", *words]
    with subprocess.Popen(command, cwd=ROOT, text=True, **pipes) as child:
        try:
            yield child
        finally:
            child.kill()


def wait_until(child: subprocess.Popen[str], reached: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not reached():
        assert child.poll() is None, f"ended too early: {child.communicate()}"
        assert time.monotonic() < deadline, "nothing happens"
        time.sleep(0.01)


def has_rows(table: Path, count: int) -> Callable[[], bool]:
    return lambda: table.exists() and table.read_bytes().count(b"\n") > count


def loads_tensorflow(pid: int) -> bool:
    """Its library is there: it goes on loading for seconds."""
    return b"tensorflow" in Path(f"/proc/{pid}/maps").read_bytes()


def compiles(run: int) -> bool:
    """Does a process that the run started load TensorFlow?"""
    mine = [pid for pid in children(os.environ["RUSTVID_TEST"]) if pid != run]
    with suppress(FileNotFoundError, ProcessLookupError):
        return any(loads_tensorflow(pid) for pid in mine)
    return False


@pytest.fixture
def nothing_kept(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """An environment in which no compiled network is kept yet: TensorFlow loads to make one."""
    return {**os.environ, "XDG_CACHE_HOME": str(tmp_path_factory.mktemp("new"))}


def awaits(child: subprocess.Popen[str], number: int) -> bool:
    """Has the process a handler of its own for the signal?"""
    status = Path(f"/proc/{child.pid}/status").read_text()
    caught = next(line.split()[1] for line in status.splitlines() if line.startswith("SigCgt"))
    return bool(int(caught, 16) >> (number - 1) & 1)


def summary_of(err: str) -> list[str]:
    """What a run says at its end; a slow one has said how far it is before."""
    return [line for line in err.splitlines() if not line.startswith("frame ")]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGHUP, 129), (signal.SIGTERM, 143)])
def test_a_signal_in_the_middle_ends_the_run_and_keeps_what_was_done(
    number: int, code: int, long_clip: Path, tmp_path: Path
) -> None:
    table = tmp_path / "out.part.csv"
    with started(str(long_clip), "--out", str(tmp_path / "out.mp4"), *SMALL[:4]) as child:
        wait_until(child, has_rows(table, 10))
        child.send_signal(number)
        out, err = child.communicate(timeout=PATIENCE)
    done = len(rows(table))
    assert child.returncode == code and out == ""
    assert names(tmp_path) == ["out.part.csv", "out.part.json", "out.part.mp4"]
    assert 10 <= done < 600 and playable(tmp_path / "out.part.mp4") == done
    lines = summary_of(err)
    assert lines[0].startswith(f"{done} frames, ")
    assert f"kept {tmp_path / 'out.part.mp4'}: up to {done} frames" in lines
    assert lines[-1] == f"rustvid: interrupted by signal {number}"
    assert len(lines) == 8, f"nothing but the summary is told: {err}"


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_while_tensorflow_loads_leaves_nothing(
    number: int, code: int, clip: Path, tmp_path: Path
) -> None:
    given = ["--out", str(tmp_path / "out.mp4"), "--set", "model.engine=keras"]
    with started(str(clip), *given) as child:
        wait_until(child, lambda: loads_tensorflow(child.pid))
        child.send_signal(number)
        out, err = child.communicate(timeout=PATIENCE)
    assert (child.returncode, out) == (code, "")
    assert err == f"rustvid: interrupted by signal {number}\n"
    assert names(tmp_path) == []


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGHUP, 129), (signal.SIGINT, 130), (signal.SIGTERM, 143)]
)
def test_a_signal_to_a_run_ends_what_compiles_its_network(
    number: int, code: int, clip: Path, tmp_path: Path, nothing_kept: dict[str, str]
) -> None:
    """No process is left (no_leftovers), no output, and no half of a network."""
    given = ["--out", str(tmp_path / "out.mp4"), "--set", "model.engine=litert"]
    with started(str(clip), *given, env=nothing_kept) as child:
        wait_until(child, lambda: compiles(child.pid))
        child.send_signal(number)  # to this one alone
        out, err = child.communicate(timeout=PATIENCE)
    assert (child.returncode, out) == (code, "")
    assert err == f"rustvid: interrupted by signal {number}\n"
    assert names(tmp_path) == names(Path(nothing_kept["XDG_CACHE_HOME"])) == []


def test_a_killed_run_takes_along_what_compiles_its_network(
    clip: Path, tmp_path: Path, nothing_kept: dict[str, str]
) -> None:
    given = ["--out", str(tmp_path / "out.mp4"), "--set", "model.engine=litert"]
    with started(str(clip), *given, env=nothing_kept) as child:
        wait_until(child, lambda: compiles(child.pid))
        child.kill()
        child.communicate(timeout=PATIENCE)  # whose stderr it shares: it ends with the last of them
    assert names(tmp_path) == names(Path(nothing_kept["XDG_CACHE_HOME"])) == []


def test_a_second_sigint_ends_at_once(clip: Path, tmp_path: Path) -> None:
    given = ["--out", str(tmp_path / "out.mp4"), "--set", "model.engine=keras"]
    with started(str(clip), *given) as child:
        wait_until(child, lambda: loads_tensorflow(child.pid))
        child.send_signal(signal.SIGINT)
        wait_until(child, lambda: not awaits(child, signal.SIGINT))  # the first one has been noted
        child.send_signal(signal.SIGINT)
        out, err = child.communicate(timeout=PATIENCE)
    assert child.returncode == -signal.SIGINT  # what a shell calls 130
    assert (out, err) == ("", "")


def test_a_killed_run_takes_its_workers_along_and_leaves_what_plays(
    long_clip: Path, tmp_path: Path
) -> None:
    table = tmp_path / "out.part.csv"
    given = ["--out", str(tmp_path / "out.mp4"), "--set", "refine.size=64", "--workers", "2"]
    with started(str(long_clip), *given) as child:
        wait_until(child, has_rows(table, 3 * FRAGMENT))
        child.kill()
        child.communicate(timeout=PATIENCE)
    assert names(tmp_path) == ["out.part.csv", "out.part.json", "out.part.mp4"]
    kept, settled = playable(tmp_path / "out.part.mp4"), len(rows(table))
    assert FRAGMENT <= settled <= kept <= settled + FRAGMENT  # rows follow their pictures


def test_a_reader_that_leaves_early_does_no_harm(clip: Path, tmp_path: Path) -> None:
    reader, writer = os.pipe()
    given = [str(clip), "--out", str(tmp_path / "out.mp4"), "--json", *SMALL]
    with started(*given, stdout=writer) as child:
        os.close(writer)
        os.close(reader)  # nobody will ever read the JSON
        err = child.communicate(timeout=PATIENCE)[1]
    assert child.returncode == 0
    assert names(tmp_path) == ["out.csv", "out.mp4"]
    lines = summary_of(err)
    assert lines[0].startswith("30 frames, ") and lines[-1] == f"wrote {tmp_path / 'out.csv'}"
    assert len(lines) == 7, f"nothing but the summary is told: {err}"


@pytest.mark.parametrize("way", ["closed", "unread"])
def test_without_stderr_the_run_is_done_all_the_same(way: str, clip: Path, tmp_path: Path) -> None:
    given = [str(clip), "--out", str(tmp_path / "out.mp4"), "--json", *SMALL]
    if way == "closed":
        with started(*given, stderr=None, preexec_fn=partial(os.close, 2)) as child:
            out = child.communicate(timeout=PATIENCE)[0]
    else:
        reader, writer = os.pipe()
        with started(*given, stderr=writer) as child:
            os.close(writer)
            os.close(reader)
            out = child.communicate(timeout=PATIENCE)[0]
    assert child.returncode == 0
    assert json.loads(out)["exit_reason"] == "complete"
    assert playable(tmp_path / "out.mp4") == len(rows(tmp_path / "out.csv")) == 30


def test_a_full_stdout_is_an_error_of_the_output(
    clip: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def told(config: Any, progress: Any = None) -> Summary:
        return Summary(frames=1, elapsed=1.0)

    monkeypatch.setattr(pipeline, "run", told)
    with Path("/dev/full").open("w") as full:
        monkeypatch.setattr(sys, "stdout", full)
        assert main([str(clip), "--json", "--quiet"]) == 5
    assert capfd.readouterr().err == (
        "rustvid: stdout: cannot be written (No space left on device); check where it leads\n"
    )


def test_a_wrong_call_of_the_library_is_told_before_any_work(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no input"):
        run(quick(f"output.path={tmp_path / 'o.mp4'}"))
