"""A run that was broken off goes on, and ends as one that never was."""

from __future__ import annotations

import json
import os
import random
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
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
from rustvid.config import Config, apply
from rustvid.errors import Interrupted, UsageError
from rustvid.frames import Measured
from rustvid.pipeline import loaded, run
from rustvid.preflight import paths_of
from rustvid.report.csv import COLUMNS, kept_rows
from rustvid.report.summary import Fact, Summary
from rustvid.resume import fact_of, work_of

pytestmark = pytest.mark.usefixtures("no_leftovers")

Told = pytest.CaptureFixture[str]
FRAMES = 90
SIZE = (96, 72)
PATIENCE = 90.0  # seconds for what takes a few, on a busy machine
TESTS = Path(__file__).resolve().parent


@pytest.fixture(scope="module")
def film(clips: Path) -> Path:
    """Nine seconds, ten frames a second, with sound: nine groups of pictures."""
    return media.clip(clips / "resume.mp4", frames=FRAMES, rate=Fraction(10), size=SIZE)


@pytest.fixture(scope="module")
def long_film(clips: Path) -> Path:
    """Seven seconds, thirty frames a second."""
    return media.clip(clips / "resume-long.mp4", frames=210, size=SIZE)


def annotate(source: Path, out: Path, *assignments: str, **wanted: Any) -> Summary:
    config = quick(f"output.path={json.dumps(str(out))}", *assignments)
    return run(replace(config, input=str(source)), model=ColourModel(), **wanted)


def stopping(after: int) -> Callable[[Measured, int | None], None]:
    def stop(result: Measured, expected: int | None) -> None:
        if result.frame.index == after:
            raise Interrupted(signal.SIGTERM)

    return stop


def crashing(folder: Path, copy: Path, after: int) -> Callable[[Measured, int | None], None]:
    """Copy what a SIGKILL would leave at that frame."""

    def crash(result: Measured, expected: int | None) -> None:
        if result.frame.index == after:
            shutil.copytree(folder, copy)
            raise Interrupted(signal.SIGTERM)

    return crash


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def assert_same(whole: Path, resumed: Path, source: Path) -> None:
    """Frames, times, rows and sound are those of an unbroken run."""
    assert whole.with_suffix(".csv").read_bytes() == resumed.with_suffix(".csv").read_bytes()
    before, after = media.decode_rgb(whole), media.decode_rgb(resumed)
    assert [media.frame_number(rgb) for rgb in after] == list(range(len(before)))
    assert media.frame_times(resumed) == media.frame_times(whole)
    for old, new in zip(before, after, strict=True):
        assert np.abs(old.astype(int) - new).mean() < 3
    assert media.packets(resumed, "audio") == media.packets(whole, "audio")
    assert names(resumed.parent) == [resumed.with_suffix(".csv").name, resumed.name]


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv", ".ts"])
@pytest.mark.parametrize("after", [9, 73])
def test_a_run_that_was_stopped_goes_on(
    suffix: str, after: int, film: Path, tmp_path: Path
) -> None:
    whole, resumed = tmp_path / "whole" / f"o{suffix}", tmp_path / "resumed" / f"o{suffix}"
    whole.parent.mkdir()
    resumed.parent.mkdir()
    annotate(film, whole)
    assert annotate(film, resumed, progress=stopping(after)).exit_code == 143
    summary = annotate(film, resumed, "output.resume=true")
    assert summary.exit_code == 0 and summary.frames == FRAMES
    assert max(0, after - 20) <= summary.resumed_at <= after
    assert_same(whole, resumed, film)


@pytest.mark.parametrize("codec", ["h264", "hevc", "av1", "vp9"])
def test_a_run_that_was_killed_thrice_goes_on(codec: str, film: Path, tmp_path: Path) -> None:
    given = (f"output.codec={codec}", "sample.every=7")
    whole = tmp_path / "whole" / "o.mkv"
    whole.parent.mkdir()
    reference = annotate(film, whole, *given)
    folder = tmp_path / "0"
    folder.mkdir()
    for number, after in enumerate((42, 44, 75), 1):
        copy = tmp_path / str(number)
        resume = f"output.resume={'true' if number > 1 else 'false'}"
        crash = crashing(folder, copy, after)
        assert annotate(film, folder / "o.mkv", *given, resume, progress=crash).exit_code == 143
        folder = copy
    summary = annotate(film, folder / "o.mkv", *given, "output.resume=true")
    assert summary.exit_code == 0 and summary.frames == FRAMES
    assert summary.resumed_at >= 30  # what the third run did is kept, too
    assert (summary.analysed, summary.corroded) == (reference.analysed, reference.corroded)
    assert_same(whole, folder / "o.mkv", film)


@pytest.mark.parametrize(
    ("given", "after"),
    [
        (("sample.every=5",), 31),
        (("sample.every=5", "workers=1"), 47),
        (("sample.every=13",), 70),
        (("sample.rate=3.7",), 52),
        (("sample.rate=3.3", "source.start=1.05"), 52),  # the first frame's time is no round one
    ],
)
def test_tracked_frames_and_the_choice_of_frames_stay_in_step(
    given: tuple[str, ...], after: int, tmp_path: Path
) -> None:
    """Masks come from both sides of the joint; the summary counts what is kept, too."""
    film = media.clip(tmp_path / "film.mp4", frames=120, rate=Fraction(15), size=SIZE)
    (tmp_path / "resumed").mkdir()
    whole = annotate(film, tmp_path / "whole.mkv", *given)
    annotate(film, tmp_path / "resumed" / "o.mkv", *given, progress=stopping(after))
    resumed = annotate(film, tmp_path / "resumed" / "o.mkv", *given, "output.resume=true")
    assert 0 < resumed.resumed_at <= after
    table = (tmp_path / "resumed" / "o.csv").read_bytes()
    assert table == (tmp_path / "whole.csv").read_bytes()
    assert whole.analysed < whole.frames / 3 and whole.least_confidence is not None
    facts, expected = resumed.as_dict(), whole.as_dict()
    for key in ("frames", "analysed", "corroded_frames", "mean_area_pct", "peak_area_pct"):
        assert facts[key] == expected[key], key
    for key in ("peak_time_s", "statuses", "flags", "least_confidence", "least_confident_time_s"):
        assert facts[key] == expected[key], key


def test_a_run_that_goes_on_can_be_stopped_before_it_is_where_it_was(
    film: Path, tmp_path: Path
) -> None:
    """Between the last look and the joint there may be minutes of film to be tracked again."""
    whole, out = tmp_path / "whole.mp4", tmp_path / "resumed" / "o.mp4"
    out.parent.mkdir()
    annotate(film, whole, "sample.every=50")
    annotate(film, out, "sample.every=50", progress=stopping(45))
    there = {path.name: path.read_bytes() for path in out.parent.iterdir()}
    resume = ("sample.every=50", "output.resume=true")
    stopped = annotate(film, out, *resume, progress=stopping(5))
    assert stopped.exit_code == 143 and stopped.kept
    assert {path.name: path.read_bytes() for path in out.parent.iterdir()} == there
    assert annotate(film, out, *resume).resumed_at == stopped.resumed_at > 20
    assert out.with_suffix(".csv").read_bytes() == whole.with_suffix(".csv").read_bytes()


def test_a_choice_by_the_clock_goes_on_too(film: Path, tmp_path: Path) -> None:
    given = ("sample.every=auto",)
    annotate(film, tmp_path / "o.mp4", *given, progress=stopping(50))
    summary = annotate(film, tmp_path / "o.mp4", *given, "output.resume=true")
    assert summary.exit_code == 0 and summary.frames == FRAMES and summary.resumed_at > 0
    lines = (tmp_path / "o.csv").read_text().splitlines()[1:]
    assert [line.split(",")[0] for line in lines] == [str(n) for n in range(FRAMES)]
    assert [media.frame_number(rgb) for rgb in media.decode_rgb(tmp_path / "o.mp4")] == list(
        range(FRAMES)
    )


def test_kept_rows_are_counted_with_their_flags(tmp_path: Path) -> None:
    facts = [
        Fact(number, "ok", confidence is not None, number / 1000, number > 0, confidence, flags)
        for number, (confidence, flags) in enumerate(
            [(0.9, ()), (None, ()), (0.25, ("all-rust",)), (0.5, ("shadow", "mask-exceeds-heat"))]
        )
    ]
    rows = [
        f"{n},{f.time:.6f},ok,{int(f.analysed)},,{n},{100 * f.share:.4f},1,{n},0.00,"
        f"{'' if f.confidence is None else f'{f.confidence:.4f}'},{';'.join(f.flags)}"
        for n, f in enumerate(facts)
    ]
    part = tmp_path / "o.part.csv"
    part.write_text("\n".join([",".join(COLUMNS), *rows, ""]))
    before, after = Summary(), Summary()
    for fact, row in zip(facts, kept_rows(part), strict=True):
        before.count(fact)
        after.count(fact_of(row))
    assert after.as_dict() == before.as_dict()
    assert after.flags == {"all-rust": 1, "shadow": 1, "mask-exceeds-heat": 1}
    assert (after.least_confidence, after.least_confident_time) == (0.25, 2.0)


def test_masks_go_on_too_and_are_the_same_bit_for_bit(film: Path, tmp_path: Path) -> None:
    films = []
    for name in ("whole", "resumed"):
        folder = tmp_path / name
        folder.mkdir()
        given = ("sample.every=4", f"output.mask={folder / 'm.mkv'}")
        if name == "resumed":
            annotate(film, folder / "o.mp4", *given, progress=stopping(68))
            given = (*given, "output.resume=true")
        assert annotate(film, folder / "o.mp4", *given).exit_code == 0
        assert names(folder) == ["m.mkv", "o.csv", "o.mp4"]
        films.append(np.stack(media.decode_rgb(folder / "m.mkv")))
    assert np.array_equal(films[0], films[1])


@pytest.mark.parametrize(("name", "most"), [("o.mkv", 0.0), ("o.mp4", 2.0)])
def test_the_pictures_are_those_of_an_unbroken_run(
    name: str, most: float, long_film: Path, tmp_path: Path
) -> None:
    """Lossless: each one equal. h264: alike, for x264 begins anew at the joint."""
    codec = "output.codec=" + ("ffv1" if name.endswith("mkv") else "h264")
    whole, resumed = tmp_path / f"whole-{name}", tmp_path / f"resumed-{name}"
    annotate(long_film, whole, codec)
    annotate(long_film, resumed, codec, progress=stopping(100))
    joint = annotate(long_film, resumed, codec, "output.resume=true").resumed_at
    assert 30 <= joint < 100
    pairs = list(zip(media.decode_rgb(whole), media.decode_rgb(resumed), strict=True))
    apart = [float(np.abs(old.astype(int) - new).mean()) for old, new in pairs]
    assert len(pairs) == 210 and max(apart) <= most


# --- what is refused


@pytest.fixture
def begun(film: Path, tmp_path: Path) -> Path:
    """A folder with what a stopped run left."""
    folder = tmp_path / "begun"
    folder.mkdir()
    annotate(film, folder / "o.mp4", progress=stopping(60))
    assert names(folder) == ["o.part.csv", "o.part.json", "o.part.mp4"]
    return folder


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ("render.opacity=0.5", "render.opacity was 0.25 and is 0.5"),
        ("sample.every=3", "sample.every was 1 and is 3"),
        ("output.crf=30", "output.crf was None and is 30"),
    ],
)
def test_another_configuration_is_refused_with_what_differs(
    given: str, says: str, begun: Path, film: Path
) -> None:
    there = {path: path.read_bytes() for path in begun.iterdir()}
    with pytest.raises(UsageError, match="cannot go on with what was begun") as told:
        annotate(film, begun / "o.mp4", "output.resume=true", given)
    assert says in str(told.value) and "--overwrite" in str(told.value)
    assert there == {path: path.read_bytes() for path in begun.iterdir()}


def test_another_input_is_refused(begun: Path, clip: Path) -> None:
    with pytest.raises(UsageError, match=r"input was .* bytes, sha256 .* and is"):
        annotate(clip, begun / "o.mp4", "output.resume=true")


def test_another_model_is_refused(begun: Path, film: Path) -> None:
    model = ColourModel()
    model.digest = "1" * 64
    config = quick(f"output.path={begun / 'o.mp4'}", "output.resume=true")
    with pytest.raises(UsageError, match="weights was '0000"):
        run(replace(config, input=str(film)), model=model)


def test_another_arithmetic_is_refused(begun: Path, film: Path) -> None:
    model = ColourModel()
    model.precision = "bfloat16"
    config = quick(f"output.path={begun / 'o.mp4'}", "output.resume=true")
    with pytest.raises(UsageError, match="was begun in float32, this machine counts in bfloat16"):
        run(replace(config, input=str(film)), model=model)


def test_what_was_begun_is_not_overwritten_by_mistake(begun: Path, film: Path) -> None:
    with pytest.raises(UsageError, match="add --resume to go on with it, or --overwrite"):
        annotate(film, begun / "o.mp4")
    assert annotate(film, begun / "o.mp4", "output.overwrite=true").frames == FRAMES
    assert names(begun) == ["o.csv", "o.mp4"]


@pytest.mark.parametrize("flag", ["output.resume=true", "output.resume=false"])
@pytest.mark.parametrize(
    ("shared", "left"), [("output.csv={}/o.csv", "o.part.csv"), ("output.mask={}/m.mkv", "m.part")]
)
def test_no_part_of_another_run_is_written_over_by_mistake(
    shared: str, left: str, flag: str, film: Path, long_film: Path, tmp_path: Path
) -> None:
    """Its journal lies beside its first output, this run's beside another one."""
    given = (f"output.csv={tmp_path}/o.csv", f"output.mask={tmp_path}/m.mkv")
    annotate(film, tmp_path / "o.mp4", *given, progress=stopping(60))
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(UsageError, match=rf"{left}.*: is there, .* --overwrite"):
        annotate(long_film, tmp_path / "other.mp4", shared.format(tmp_path), flag)
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before
    assert annotate(film, tmp_path / "o.mp4", *given, "output.resume=true").resumed_at == 50


def test_a_table_without_a_row_is_in_nobodys_way(film: Path, tmp_path: Path) -> None:
    """A run that is killed before its first frame leaves one."""
    (tmp_path / "o.part.csv").write_text(",".join(COLUMNS) + "\n")
    assert annotate(film, tmp_path / "o.mp4").frames == FRAMES


@pytest.mark.parametrize("content", ["", "{", "[]", '{"facts": 1}', "[" * 100_000, "\0"])
def test_a_damaged_journal_is_told(content: str, begun: Path, film: Path) -> None:
    (begun / "o.part.json").write_text(content)
    with pytest.raises(UsageError, match=r"o\.part\.json: is not a journal"):
        annotate(film, begun / "o.mp4", "output.resume=true")


def test_a_part_without_its_journal_is_not_guessed_at(begun: Path, film: Path) -> None:
    (begun / "o.part.json").unlink()
    with pytest.raises(UsageError, match="but not the journal"):
        annotate(film, begun / "o.mp4", "output.resume=true")


def test_avi_masks_alone_and_both_flags_are_refused(film: Path, tmp_path: Path, told: Told) -> None:
    out = str(tmp_path / "o.mp4")
    for words, says in (
        (["--out", str(tmp_path / "o.avi"), "--resume"], "keeps no times"),
        (["--mask", str(tmp_path / "m.mkv"), "--resume"], "add --csv FILE"),
        (["--out", out, "--resume", "--overwrite"], "give one of them"),
    ):
        assert main([str(film), *words, "--workers", "0"]) == 2
        assert says in told.readouterr().err


def test_a_camera_cannot_be_gone_on_with(tmp_path: Path, told: Told) -> None:
    (tmp_path / "o.mp4").touch()
    (tmp_path / "o.csv").touch()
    words = ["rtsp://127.0.0.1:1/x", "--out", str(tmp_path / "o.mp4"), "--resume"]
    assert main(words) == 2
    assert "only files can be gone on with" in told.readouterr().err


def test_the_journal_tells_no_secret_of_a_camera(film: Path, tmp_path: Path) -> None:
    given = "status.token=s3cret"
    annotate(film, tmp_path / "o.mp4", given, progress=stopping(40))
    assert "s3cret" not in (tmp_path / "o.part.json").read_text()
    assert annotate(film, tmp_path / "o.mp4", "output.resume=true").resumed_at > 0


@pytest.fixture
def told(capsys: Told) -> Told:
    return capsys


# --- what is left of a part


def test_nothing_to_go_on_with_is_a_run_from_the_start(film: Path, tmp_path: Path) -> None:
    assert annotate(film, tmp_path / "o.mp4", "output.resume=true").resumed_at == 0
    assert names(tmp_path) == ["o.csv", "o.mp4"]


def test_an_overwriting_run_that_was_stopped_goes_on(film: Path, tmp_path: Path) -> None:
    whole, out = tmp_path / "whole" / "o.mp4", tmp_path / "resumed" / "o.mp4"
    for path in (whole, out):
        path.parent.mkdir()
        annotate(film, path)
    old = out.read_bytes()
    given = ("output.overwrite=true", "render.opacity=0.9")
    annotate(film, whole, *given)
    assert annotate(film, out, *given, progress=stopping(45)).exit_code == 143
    assert out.read_bytes() == old
    both = annotate(film, out, *given, "output.resume=true", progress=stopping(70))
    assert both.exit_code == 143 and both.resumed_at > 20
    assert out.read_bytes() == old
    again = annotate(film, out, "output.resume=true", "render.opacity=0.9")
    assert again.exit_code == 0 and again.resumed_at > 40
    assert out.read_bytes() != old
    assert_same(whole, out, film)


def test_the_command_line_goes_on_with_an_overwriting_run(
    film: Path, tmp_path: Path, capsys: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipeline, "Model", lambda *_: ColourModel())
    out = tmp_path / "o.mp4"
    annotate(film, out)
    config = quick(f"output.path={out}", "output.overwrite=true")
    assert run(replace(config, input=str(film)), stopping(45)).exit_code == 143
    words = [str(film), "--out", str(out), "--resume", *(f"--set={one}" for one in OWN)]
    assert main(words) == 0
    assert "went on at frame" in capsys.readouterr().err and names(tmp_path) == ["o.csv", "o.mp4"]


def test_what_a_stopped_run_might_not_replace_is_not_replaced(film: Path, tmp_path: Path) -> None:
    out = tmp_path / "o.mp4"
    assert annotate(film, out, progress=stopping(45)).exit_code == 143
    out.write_bytes(b"of somebody else")
    with pytest.raises(UsageError, match="exists; choose another name"):
        annotate(film, out, "output.resume=true")
    assert out.read_bytes() == b"of somebody else"


def test_a_result_of_another_input_is_not_taken_for_done(
    film: Path, long_film: Path, tmp_path: Path
) -> None:
    annotate(film, tmp_path / "o.mp4")
    there = (tmp_path / "o.mp4").read_bytes()
    says = rf"o\.mp4: exists, and is not known to be of .*resume-long\.mp4 \({FRAMES} .*, not 210"
    with pytest.raises(UsageError, match=says):
        annotate(long_film, tmp_path / "o.mp4", "output.resume=true")
    assert (tmp_path / "o.mp4").read_bytes() == there


def test_what_is_complete_is_not_done_again(film: Path, tmp_path: Path) -> None:
    first = annotate(film, tmp_path / "o.mp4")
    there = (tmp_path / "o.mp4").stat().st_mtime_ns
    again = annotate(film, tmp_path / "o.mp4", "output.resume=true")
    assert again.exit_code == 0 and again.resumed_at == again.frames == FRAMES
    assert (again.corroded, again.analysed) == (first.corroded, first.analysed)
    assert again.mean_area == pytest.approx(first.mean_area, abs=1e-6)
    assert "complete already" in again.warnings[0]
    assert "wrote" not in "\n".join(again.lines()) and again.outputs[0] == tmp_path / "o.mp4"
    assert (tmp_path / "o.mp4").stat().st_mtime_ns == there


def test_a_run_killed_between_two_names_only_takes_the_other_one(
    film: Path, long_film: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The film has its name, the table has not."""
    rename = Path.replace

    def failing(self: Path, target: Path) -> Path:
        if self.name == "o.part.csv":
            raise OSError(5, "Input/output error")
        return rename(self, target)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", failing)
        assert annotate(film, tmp_path / "o.mp4").exit_code == 5
    assert names(tmp_path) == ["o.mp4", "o.part.csv", "o.part.json"]
    with pytest.raises(UsageError, match=r"input was .* and is "):
        annotate(long_film, tmp_path / "o.mp4", "output.resume=true")
    assert annotate(film, tmp_path / "o.mp4", "output.resume=true").frames == FRAMES
    assert names(tmp_path) == ["o.csv", "o.mp4"]


@pytest.mark.parametrize("spoil", ["zeros", "cut", "no rows", "half a row", "gone"])
def test_what_a_power_cut_spoils_is_done_again(
    spoil: str, begun: Path, film: Path, tmp_path: Path
) -> None:
    part, table = begun / "o.part.mp4", begun / "o.part.csv"
    content, rows = part.read_bytes(), table.read_bytes()
    if spoil == "zeros":
        middle = len(content) * 2 // 3
        part.write_bytes(content[:middle] + bytes(len(content) - middle))
    elif spoil == "cut":
        part.write_bytes(content[: len(content) // 2])
    elif spoil == "no rows":
        table.write_bytes(b"".join(rows.splitlines(keepends=True)[:25]))
    elif spoil == "half a row":
        table.write_bytes(rows[: len(rows) // 2] + b"7,\0\0\0")
    else:
        part.unlink()
    (tmp_path / "whole").mkdir()
    annotate(film, tmp_path / "whole" / "o.mp4")
    assert annotate(film, begun / "o.mp4", "output.resume=true").frames == FRAMES
    assert_same(tmp_path / "whole" / "o.mp4", begun / "o.mp4", film)


def test_a_film_with_damage_before_the_cut_is_decoded_from_its_beginning(tmp_path: Path) -> None:
    """A seek would forget what repaired the times and marked the frames."""
    once = media.clip(tmp_path / "once.ts", frames=45, size=SIZE)
    film = media.noisy(media.clip(tmp_path / "in.mkv", frames=FRAMES, size=SIZE), amount=300)
    twice = tmp_path / "twice.ts"
    twice.write_bytes(once.read_bytes() * 2)
    for source in (film, twice):
        (tmp_path / source.stem).mkdir()
        out = tmp_path / source.stem / "o.mkv"
        whole = annotate(source, tmp_path / f"{source.stem}-whole.mkv")
        annotate(source, out, progress=stopping(70))
        assert 0 < annotate(source, out, "output.resume=true").resumed_at <= 70
        tables = [tmp_path / f"{source.stem}-whole.csv", out.with_suffix(".csv")]
        rows = [table.read_text().splitlines() for table in tables]
        if source is film:  # threads of the decoder mend a damaged picture as it happens
            rows = [[line.split(",")[:3] for line in lines] for lines in rows]
        assert rows[0] == rows[1]
        assert whole.statuses["ok"] < whole.frames
        assert media.frame_times(out) == media.frame_times(tmp_path / f"{source.stem}-whole.mkv")


def test_a_folder_of_photos_and_a_part_of_a_film_go_on(film: Path, tmp_path: Path) -> None:
    folder = media.image_folder(tmp_path / "photos", count=40)
    for source, given in ((folder, "source.rate=5"), (film, "source.start=2.05")):
        rows = []
        for after in (None, 25):
            (tmp_path / f"{source.stem}{after}").mkdir()
            out = tmp_path / f"{source.stem}{after}" / "o.mp4"
            if after:
                annotate(source, out, given, progress=stopping(after))
            resumed = annotate(source, out, given, "output.resume=true").resumed_at
            assert (after or 0) - 10 <= resumed <= (after or 0)
            rows.append((out.with_suffix(".csv").read_bytes(), media.frame_times(out)))
        assert rows[0] == rows[1]


def test_every_nth_photo_stays_in_step_behind_one_that_is_looked_at_besides(tmp_path: Path) -> None:
    """From a photo of another shape no mask is carried: it is looked at, and so is the next."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(40):
        media.photo(folder / f"{number:02d}.png", (72, 96) if number == 10 else SIZE, number)
    (tmp_path / "resumed").mkdir()
    given = ("source.rate=10", "sample.every=3")
    annotate(folder, tmp_path / "whole.mp4", *given)
    annotate(folder, tmp_path / "resumed" / "o.mp4", *given, progress=stopping(13))
    resumed = annotate(folder, tmp_path / "resumed" / "o.mp4", *given, "output.resume=true")
    assert resumed.resumed_at == 10
    table = (tmp_path / "resumed" / "o.csv").read_bytes()
    assert table == (tmp_path / "whole.csv").read_bytes()


def test_of_photos_alike_the_same_is_the_peak_wherever_a_run_goes_on(tmp_path: Path) -> None:
    """The area of one of another shape is a share of itself, which its row has rounded."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(20):
        media.photo(folder / f"{number:02d}.png", (66, 130) if number % 7 == 2 else (130, 66))
    given = ("source.rate=10", f"output.csv={tmp_path}/o.csv", "output.overwrite=true")
    config = replace(quick(*given), input=str(folder))
    whole = run(config, model=ColourModel()).as_dict()
    run(config, stopping(15), ColourModel())
    config = replace(config, output=replace(config.output, overwrite=False, resume=True))
    resumed = run(config, model=ColourModel()).as_dict()
    assert resumed["resumed_at_frame"] == 15
    for key in ("peak_area_pct", "peak_time_s", "mean_area_pct", "corroded_frames"):
        assert resumed[key] == whole[key], key


def test_a_table_alone_goes_on_from_its_last_row(film: Path, tmp_path: Path) -> None:
    for name in ("whole", "resumed"):
        config = quick(f"output.csv={tmp_path / name}.csv", "sample.every=7")
        config = replace(config, input=str(film))
        if name == "resumed":
            run(config, stopping(60), ColourModel())
            config = replace(config, output=replace(config.output, resume=True))
            assert run(config, model=ColourModel()).resumed_at == 60
        else:
            run(config, model=ColourModel())
    assert (tmp_path / "whole.csv").read_bytes() == (tmp_path / "resumed.csv").read_bytes()


# --- killed at any moment, in a process of its own

KILLS = 30  # that hit, spread over as many runs as it takes
MOST = 4  # attempts at one run; the last is left to come to its end


def test_runs_killed_at_random_moments_and_resumed_end_as_an_unbroken_one(
    film: Path, tmp_path: Path
) -> None:
    (tmp_path / "whole").mkdir()
    annotate(film, tmp_path / "whole" / "o.mp4", "sample.every=3")
    chance, kills, number = random.Random(7), 0, 0
    longest = 1.0  # seconds that a run takes, learned from those that come to their end
    command = [sys.executable, str(TESTS / "lean.py"), "--serve"]
    with subprocess.Popen(
        command, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as server:
        assert server.stdout is not None and server.stdout.readline() == "ready\n"
        while kills < KILLS:
            number += 1
            folder = tmp_path / str(number)
            folder.mkdir()
            for attempt in range(MOST):
                patience = chance.uniform(0, longest) if attempt < MOST - 1 else PATIENCE
                code, seconds = _killed_after(server, patience, film, folder / "o.mp4")
                if code == 0:
                    longest = max(0.2, seconds)
                    break
                assert code == -signal.SIGKILL
                kills += 1
            assert_same(tmp_path / "whole" / "o.mp4", folder / "o.mp4", film)


def _killed_after(
    server: subprocess.Popen[str], patience: float, film: Path, out: Path
) -> tuple[int, float]:
    """The exit code of a run that is killed after so many seconds of work, and its seconds."""
    assert server.stdin is not None and server.stdout is not None
    given = [f"--set={assignment}" for assignment in OWN]
    words = [str(film), "--out", str(out), "--resume", "--every", "3", "--quiet", *given]
    begun = time.monotonic()
    print(json.dumps(words), file=server.stdin, flush=True)
    child = int(server.stdout.readline())
    ended, _, _ = select.select([server.stdout], [], [], patience)
    if not ended:
        with suppress(ProcessLookupError):  # it has just ended by itself
            os.kill(child, signal.SIGKILL)
    return int(server.stdout.readline()), time.monotonic() - begun


# --- with the network that is shipped


def test_the_table_of_the_real_network_is_the_same_byte_for_byte(tmp_path: Path) -> None:
    """Its batches are others after the joint: a picture's answer must not depend on its company."""
    film = media.clip(tmp_path / "film.mp4", frames=48, rate=Fraction(10), size=SIZE)
    given = ("model.size=96", "model.batch=2", "model.threshold=0", "sample.every=3")
    assignments = (*given, "refine.size=96", "workers=0")
    config = Config()
    for assignment in assignments:
        config = apply(config, assignment)
    model = loaded(config)
    tables, shares = [], []
    for name in ("whole", "resumed"):
        (tmp_path / name).mkdir()
        output = replace(config.output, path=str(tmp_path / name / "o.mp4"))
        one = replace(config, input=str(film), output=output)
        if name == "resumed":
            assert run(one, stopping(37), model).exit_code == 143
            one = replace(one, output=replace(output, resume=True))
        summary = run(one, model=model)
        assert summary.exit_code == 0 and summary.analysed == 16
        tables.append((tmp_path / name / "o.csv").read_bytes())
        shares.append(summary.mean_area)
        resumed_at = summary.resumed_at
    assert tables[0] == tables[1] and shares[0] == pytest.approx(shares[1], abs=1e-6)
    assert 0 < resumed_at < 37
    probabilities = {line.split(b",")[4] for line in tables[0].splitlines()[1:]} - {b""}
    assert len(probabilities) > 8  # the pictures differ, and so do the answers


def test_what_is_left_of_a_film_from_an_address_is_not_written_over(tmp_path: Path) -> None:
    config = apply(Config(), f"output.path={tmp_path / 'film.mkv'}")
    config = replace(config, input="http://127.0.0.1:9/film.mp4")
    assert work_of(config, paths_of(config), None).journal is None
    (tmp_path / "film.part.mkv").write_bytes(b"an hour of it")
    with pytest.raises(UsageError, match=r"film\.part\.mkv: is there, .* add --overwrite"):
        work_of(config, paths_of(config), None)
    work_of(apply(config, "output.overwrite=true"), paths_of(config), None)
    work_of(apply(config, "source.live=true"), paths_of(config), None)  # preflight has the word
