"""Many files: one network, one table, and a file that fails does not stop the others."""

from __future__ import annotations

import csv
import json
import os
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import media
import pytest
from fakes import OWN, ColourModel, quick

from rustvid import pipeline
from rustvid.batch import COLUMNS, Job, exit_code, jobs_of, lines, run_all
from rustvid.cli import main
from rustvid.config import Config
from rustvid.errors import Interrupted, SourceError, UsageError
from rustvid.frames import Measured
from rustvid.pipeline import Progress
from rustvid.report.summary import Summary

pytestmark = pytest.mark.usefixtures("no_leftovers")
SIZE = (96, 72)
Told = pytest.CaptureFixture[str]


@pytest.fixture
def flight(tmp_path: Path) -> Path:
    """a.mp4, b.mp4 (garbage), low/c.mkv, and what is no video."""
    folder = tmp_path / "flight"
    (folder / "low").mkdir(parents=True)
    media.clip(folder / "a.mp4", frames=12, size=SIZE)
    media.text_file(folder / "b.mp4")
    media.clip(folder / "low" / "c.mkv", frames=9, size=SIZE)
    media.text_file(folder / "notes.txt")
    return folder


def wanted(folder: Path, *assignments: str) -> Config:
    return quick(f"output.folder={json.dumps(str(folder))}", *assignments)


def quiet(job: Job) -> Progress:
    return lambda result, expected: None


def stopping_at(index: int) -> Callable[[Job], Progress]:
    def stop(result: Measured, expected: int | None) -> None:
        if result.frame.index == index:
            raise Interrupted(signal.SIGTERM)

    return lambda job: stop


def run(config: Config, jobs: list[Job]) -> list[Summary]:
    return run_all(config, jobs, quiet, lambda job, summary: None, ColourModel())


def table(folder: Path) -> list[dict[str, str]]:
    with (folder / "summary.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def names(folder: Path) -> list[str]:
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


def test_a_folder_is_done_with_all_below_and_a_failure_stops_nothing(
    flight: Path, tmp_path: Path
) -> None:
    results = tmp_path / "results"
    config = wanted(results)
    jobs = jobs_of([str(flight)], config)
    summaries = run(config, jobs)
    assert names(results) == [
        "a.csv",
        "a.mp4",
        "low/c.csv",
        "low/c.mkv",
        "settings.json",
        "summary.csv",
    ]
    rows = table(results)
    assert tuple(rows[0]) == COLUMNS
    assert [(Path(r["input"]).name, r["exit_code"], r["frames"]) for r in rows] == [
        ("a.mp4", "0", "12"),
        ("b.mp4", "3", "0"),
        ("c.mkv", "0", "9"),
    ]
    assert "cannot be opened as video" in rows[1]["exit_reason"] and rows[1]["output"] == ""
    assert exit_code(summaries) == 6 and lines(jobs, summaries)[-1] == "3 files, 1 failed"


def test_resume_leaves_out_what_is_complete(flight: Path, tmp_path: Path) -> None:
    results = tmp_path / "results"
    jobs = jobs_of([str(flight)], wanted(results))
    run(wanted(results), jobs)
    before = (results / "a.mp4").stat().st_mtime_ns
    (flight / "b.mp4").unlink()
    media.clip(flight / "b.mp4", frames=5, size=SIZE)
    summaries = run(wanted(results, "output.resume=true"), jobs)
    assert [s.exit_code for s in summaries] == [0, 0, 0] and exit_code(summaries) == 0
    assert [s.frames for s in summaries] == [12, 5, 9]
    assert (results / "a.mp4").stat().st_mtime_ns == before
    with pytest.raises(UsageError, match=r"render\.opacity was 0\.25 and is 0\.9"):
        run(wanted(results, "output.resume=true", "render.opacity=0.9"), jobs)


def test_a_name_that_is_no_utf8_is_known_again(flight: Path, tmp_path: Path) -> None:
    odd = (flight / "a.mp4").rename(flight / os.fsdecode(b"caf\xe9.mp4"))
    broken = (flight / "b.mp4").rename(flight / os.fsdecode(b"b\xe9.mp4"))
    for given, was_complete in (("output.resume=false", False), ("output.resume=true", True)):
        config = wanted(tmp_path / "results", given)
        summaries = run(config, jobs_of([str(odd), str(broken)], config))
        assert [summary.was_complete for summary in summaries] == [was_complete, False]
        assert len(table(tmp_path / "results")) == 2


def test_an_interruption_stops_all_and_resume_goes_on(flight: Path, tmp_path: Path) -> None:
    results = tmp_path / "results"
    jobs = jobs_of([str(flight / "low"), str(flight / "a.mp4")], wanted(results))

    summaries = run_all(wanted(results), jobs, stopping_at(5), lambda job, s: None, ColourModel())
    assert exit_code(summaries) == 143 and len(summaries) == 1
    assert "1 not begun" in lines(jobs, summaries)[-1]
    again = run(wanted(results, "output.resume=true"), jobs)
    assert [s.frames for s in again] == [9, 12] and exit_code(again) == 0


def test_patterns_files_and_names_that_meet(tmp_path: Path) -> None:
    for name in ("x/a.mp4", "y/a.mp4", "x/b.mov", "x/b.mp4", "x/c.avi"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    config = wanted(tmp_path / "r")
    jobs = jobs_of([str(tmp_path / "x" / "*.m*"), str(tmp_path / "y"), str(tmp_path / "x")], config)
    told = {str(j.input.relative_to(tmp_path)): j.output.name for j in jobs}
    assert told == {
        "x/a.mp4": "a.mp4",
        "x/b.mov": "b.mov",
        "x/b.mp4": "b-mp4.mp4",  # whose table would be that of b.mov
        "y/a.mp4": "a-mp4.mp4",
        "x/c.avi": "c.mp4",
    }
    with pytest.raises(SourceError, match="no such file or folder"):
        jobs_of([str(tmp_path / "z*.mp4")], config)


def test_no_result_takes_the_name_of_the_table_or_of_anothers_part(tmp_path: Path) -> None:
    """What a killed run left is a film, too: beside a.ts, a.part.ts."""
    folder, out = tmp_path / "films", tmp_path / "out"
    folder.mkdir()
    counts = {"a.part.ts": 4, "a.ts": 6, "summary.mp4": 5}
    for name, frames in counts.items():
        media.clip(folder / name, frames=frames, size=(96, 72))
    config = wanted(out)
    summaries = run(config, jobs_of([str(folder)], config))
    assert [summary.frames for summary in summaries] == list(counts.values())
    assert [summary.exit_code for summary in summaries] == [0, 0, 0]
    found = {Path(row["output"]).name: int(row["frames"]) for row in table(out)}
    assert found == {"a.part.ts": 4, "a-ts.ts": 6, "summary-mp4.mp4": 5}
    for name, frames in found.items():
        assert len(media.frame_times(out / name)) == frames
        rows = (out / name).with_suffix(".csv").read_text(encoding="utf-8")
        assert rows.count("\n") == frames + 1


def test_what_is_hidden_in_a_folder_is_no_input(flight: Path, tmp_path: Path) -> None:
    for name in ("._a.mp4", ".trash/d.mp4"):
        (flight / name).parent.mkdir(exist_ok=True)
        (flight / name).touch()
    jobs = jobs_of([str(flight)], wanted(tmp_path / "r"))
    assert [job.input.name for job in jobs] == ["a.mp4", "b.mp4", "c.mkv"]


def test_a_name_that_means_nothing_stops_no_other(
    flight: Path, tmp_path: Path, capsys: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipeline, "Model", lambda *_: ColourModel())
    (flight / "empty").mkdir()
    results, given = tmp_path / "r", [f"--set={assignment}" for assignment in OWN]
    words = [str(flight / name) for name in ("a.mp4", "gone.mp4", "z*.mkv", "empty")]
    assert main([*words, "--out-dir", str(results), *given]) == 6
    told = capsys.readouterr().err
    assert "4 files, 3 failed" in told and "empty: no videos or photos there" in told
    assert [row["exit_code"] for row in table(results)] == ["0", "3", "3", "3"]
    assert "no such file" in table(results)[1]["exit_reason"]
    assert main([words[1], words[2], "--out-dir", str(tmp_path / "s"), *given]) == 3
    assert not (tmp_path / "s").exists()
    (flight / "a.mp4").unlink()  # its result stays, and the line of it
    words = [words[0], str(flight / "low")]
    assert main([*words, "--out-dir", str(results), "--resume", *given]) == 6
    assert [row["exit_code"] for row in table(results)] == ["0", "3", "3", "3", "3", "0"]


def test_of_what_was_complete_nothing_is_said_to_be_written(
    flight: Path, tmp_path: Path, capsys: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipeline, "Model", lambda *_: ColourModel())
    given = [f"--set={assignment}" for assignment in OWN]
    words = [str(flight / "a.mp4"), "--out-dir", str(tmp_path / "r"), "--resume", *given]
    assert main(words) == 0 and "wrote " in capsys.readouterr().err
    assert main(words) == 0
    told = capsys.readouterr().err
    assert f"complete already {tmp_path / 'r' / 'a.mp4'}" in told and "wrote " not in told


def test_photos_give_photos_each_with_a_line(flight: Path, tmp_path: Path) -> None:
    for name in ("low/IMG_10.JPG", "low/IMG_2.png"):
        media.photo(flight / name)
    results = tmp_path / "results"
    jobs = jobs_of([str(flight / "low"), str(media.photo(tmp_path / "d.jpg"))], wanted(results))
    assert exit_code(run(wanted(results), jobs)) == 0
    assert names(results) == [
        "IMG_10.csv",
        "IMG_10.jpg",
        "IMG_2.csv",
        "IMG_2.png",
        "c.csv",
        "c.mkv",
        "d.csv",
        "d.jpg",
        "settings.json",
        "summary.csv",
    ]
    rows = table(results)
    assert [Path(row["input"]).name for row in rows] == [
        "c.mkv",
        "IMG_2.png",
        "IMG_10.JPG",
        "d.jpg",
    ]
    assert [row["frames"] for row in rows] == ["9", "1", "1", "1"]
    assert cv2.imread(str(results / "IMG_2.png")).shape == (120, 160, 3)
    again = run(wanted(results, "output.resume=true"), jobs)
    assert [s.exit_code for s in again] == [0] * 4 and table(results) == rows


def test_a_photo_that_cannot_be_read_stops_no_other(tmp_path: Path) -> None:
    media.text_file(media.image_folder(tmp_path / "photos", count=3) / "frame_0000.jpg")
    config = wanted(tmp_path / "results")
    assert [s.exit_code for s in run(config, jobs_of([str(tmp_path / "photos")], config))] == [
        3,
        0,
        0,
    ]


def test_the_results_in_the_folder_itself_are_not_inputs(tmp_path: Path) -> None:
    (tmp_path / "r").mkdir()
    (tmp_path / "a.mp4").touch()
    (tmp_path / "r" / "a.mp4").touch()
    (tmp_path / "r" / "b.mp4").touch()
    told: list[str] = []
    jobs = jobs_of([str(tmp_path)], wanted(tmp_path / "r"), told.append)
    assert [job.input.name for job in jobs] == ["a.mp4"]
    assert len(told) == 1 and "is left out (a.mp4 and 1 more)" in told[0]
    with pytest.raises(UsageError, match=r"left out .* name files one by one"):
        jobs_of([str(tmp_path / "r" / "*.mp4")], wanted(tmp_path / "r"))


def test_a_file_that_is_named_is_an_input_wherever_it_lies(tmp_path: Path) -> None:
    for name in ("w/a.avi", "b.mkv"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    config = wanted(tmp_path / "w")
    jobs = jobs_of([str(tmp_path / "w" / "a.avi"), str(tmp_path / "b.mkv")], config)
    assert [job.output.name for job in jobs] == ["a.mp4", "b.mkv"]


def test_a_result_that_would_be_an_input_is_refused(flight: Path, capsys: Told) -> None:
    media.clip(flight / "low" / "a.mp4", frames=3, size=SIZE)
    own, other = str(flight / "a.mp4"), str(flight / "low" / "a.mp4")
    before = names(flight)
    for words in ([own, "--out-dir", str(flight)], [other, own, "--out-dir", str(flight)]):
        assert main([*words, "--overwrite"]) == 2
        assert "a.mp4 would be written over an input; choose another" in capsys.readouterr().err
    assert names(flight) == before


def test_a_second_run_leaves_results_table_and_settings_as_they_are(
    flight: Path, tmp_path: Path
) -> None:
    results = tmp_path / "results"
    jobs = jobs_of([str(flight)], wanted(results))
    run(wanted(results), jobs)
    before = {name: (results / name).read_bytes() for name in names(results)}
    with pytest.raises(UsageError, match=r"a\.mp4: exists, and 1 more results; add --resume"):
        run(wanted(results, "render.opacity=0.9"), jobs)
    assert {name: (results / name).read_bytes() for name in names(results)} == before


def test_a_run_that_was_broken_off_is_not_run_over(flight: Path, tmp_path: Path) -> None:
    results = tmp_path / "results"
    jobs = [Job(flight / "a.mp4", results / "a.mp4")]
    run_all(wanted(results), jobs, stopping_at(5), lambda job, s: None, ColourModel())
    settings = (results / "settings.json").read_bytes()
    with pytest.raises(UsageError, match="exists; add --resume"):
        run(wanted(results, "render.opacity=0.9"), jobs)
    assert (results / "settings.json").read_bytes() == settings


def test_rows_of_results_that_a_run_does_not_touch_stay(
    flight: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    results = Path("results")
    run(wanted(results), jobs_of([str(flight)], wanted(results)))
    before = table(results)
    again = wanted(tmp_path / "results", "output.resume=true")  # from elsewhere, so to speak
    monkeypatch.chdir(flight)
    run(again, jobs_of([str(flight)], again)[2:])
    assert table(tmp_path / "results") == before
    media.clip(flight / "d.mp4", frames=3, size=SIZE)
    more = wanted(tmp_path / "results")
    run(more, jobs_of([str(flight / "d.mp4")], more))
    assert [Path(r["input"]).name for r in table(tmp_path / "results")] == [
        "a.mp4",
        "b.mp4",
        "c.mkv",
        "d.mp4",
    ]
    (tmp_path / "results" / "a.mp4").unlink()
    run(again, jobs_of([str(flight / "d.mp4")], again))
    assert "a.mp4" not in [Path(r["output"]).name for r in table(tmp_path / "results")]


def test_a_folder_has_the_settings_of_all_its_results(flight: Path, tmp_path: Path) -> None:
    results = tmp_path / "results"
    jobs = jobs_of([str(flight)], wanted(results))
    run(wanted(results), jobs)
    settings = (results / "settings.json").read_bytes()
    other = wanted(results, "output.overwrite=true", "render.opacity=0.9")
    with pytest.raises(UsageError, match=r"1 results there that it does not replace.*c\.mkv"):
        run(other, jobs[:2])
    assert (results / "settings.json").read_bytes() == settings
    run_all(other, jobs, stopping_at(5), lambda job, s: None, ColourModel())
    assert b'"render.opacity": 0.9' in (results / "settings.json").read_bytes()
    assert [row["output"] for row in table(results)] == [""]  # c.mkv is there, of other settings
    again = wanted(results, "output.resume=true", "render.opacity=0.9")
    old = (results / "low" / "c.mkv").read_bytes()
    run_all(again, jobs, stopping_at(11), lambda job, s: None, ColourModel())
    assert (results / "low" / "c.mkv").read_bytes() == old
    summaries = run(again, jobs)
    assert [s.exit_code for s in summaries] == [0, 3, 0] and not summaries[-1].was_complete
    assert (results / "low" / "c.mkv").read_bytes() != old
    assert [s.was_complete for s in run(again, jobs)] == [True, False, True]


def test_an_overwriting_run_that_was_broken_off_goes_on_with_all(
    flight: Path, tmp_path: Path
) -> None:
    results = tmp_path / "results"
    config = wanted(results, "output.overwrite=true")
    jobs = jobs_of([str(flight / "a.mp4"), str(flight / "low")], config)
    run(config, jobs)
    run_all(config, jobs, stopping_at(5), lambda job, s: None, ColourModel())
    summaries = run(wanted(results, "output.resume=true"), jobs)
    assert [s.exit_code for s in summaries] == [0, 0]
    assert not any(s.was_complete for s in summaries)


def test_the_table_never_has_results_of_other_settings(flight: Path, tmp_path: Path) -> None:
    results = tmp_path / "results"
    jobs = jobs_of([str(flight / "a.mp4")], wanted(results))
    run(wanted(results), jobs)

    def killed(job: Job) -> Progress:
        raise KeyboardInterrupt

    other = wanted(results, "output.overwrite=true", "render.opacity=0.9")
    with pytest.raises(KeyboardInterrupt):
        run_all(other, jobs, killed, lambda job, summary: None, ColourModel())
    assert table(results) == []


def test_a_result_that_the_table_does_not_know_is_not_called_complete(
    flight: Path, tmp_path: Path
) -> None:
    results = tmp_path / "results"
    for given in ((), ("output.overwrite=true",)):
        config = wanted(results, *given)
        run(config, jobs_of([str(flight / "a.mp4")], config))
    for name in ("c.mkv", "c.csv"):
        (results / name).write_bytes(b"of somebody else")
    again = wanted(results, "output.resume=true")
    summaries = run(again, jobs_of([str(flight / "low")], again))
    assert "exists, but is not in summary.csv" in str(summaries[0].error)
    assert (results / "c.mkv").read_bytes() == b"of somebody else"


def test_a_film_that_was_cut_short_is_called_so_again(flight: Path, tmp_path: Path) -> None:
    results = tmp_path / "results"
    cut = media.truncated(media.clip(tmp_path / "long.mkv", frames=90, size=SIZE), 0.5)
    jobs = [Job(cut, results / "cut.mkv")]
    first = run(wanted(results), jobs)
    before = table(results)
    again = run(wanted(results, "output.resume=true"), jobs)
    assert first[0].exit_code == again[0].exit_code == 3 and table(results) == before


def test_the_command_line_loads_one_network_for_all(
    flight: Path, tmp_path: Path, capsys: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = []

    def model(*_: object) -> ColourModel:
        made.append(1)
        return ColourModel()

    monkeypatch.setattr(pipeline, "Model", model)
    given = [f"--set={assignment}" for assignment in OWN]
    words = [str(flight / "*.mp4"), str(flight / "low"), "--out-dir", str(tmp_path / "r"), *given]
    assert main(words) == 6
    told = capsys.readouterr().err
    assert len(made) == 1 and "3 files, 1 failed" in told
    assert f"wrote {tmp_path / 'r' / 'a.mp4'}" in told


def test_wrong_calls_are_told(flight: Path, tmp_path: Path, capsys: Told) -> None:
    out = str(tmp_path / "o.mp4")
    for words, says in (
        ([str(flight / "a.mp4"), str(flight / "b.mp4"), "--out", out], "add --out-dir DIR"),
        ([str(flight), "--out-dir", str(tmp_path / "r"), "--out", out], "leave out --out"),
    ):
        assert main(words) == 2
        assert says in capsys.readouterr().err


def test_a_folder_that_cannot_be_made_is_told(flight: Path, tmp_path: Path) -> None:
    config = wanted(flight / "notes.txt" / "r")
    with pytest.raises(Exception, match="cannot be used"):
        run(replace(config), [Job(flight / "a.mp4", flight / "notes.txt" / "r" / "a.mp4")])
