"""Where a drone was: read of what DJI's cameras write, and told in the table and on the map."""

from __future__ import annotations

import json
import os
import shutil
import signal
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import media
import pytest
from fakes import ColourModel, quick

from rustvid.cli import main
from rustvid.errors import Interrupted, SourceError, UsageError
from rustvid.frames import NOWHERE, Measured, Position
from rustvid.pipeline import run
from rustvid.report import geo
from rustvid.report.csv import COLUMNS, LOCATED_COLUMNS
from rustvid.report.readings import Reading, readings
from rustvid.report.summary import Summary
from rustvid.video.telemetry import Fix, Track, fixes_of, position_of, track_of

pytestmark = pytest.mark.usefixtures("no_leftovers")

Told = pytest.CaptureFixture[str]
SIZE = (96, 72)
RATE = 10


def fix(time: float, north: float, east: float = 10.0, height: float | None = None) -> Fix:
    return Fix(time, Position(north, east, height))


def entry(number: int, seconds: float, text: str) -> str:
    def clock(value: float) -> str:
        return f"00:{int(value) // 60:02d}:{int(value) % 60:02d},{round(value % 1 * 1000):03d}"

    return f"{number}\n{clock(seconds)} --> {clock(seconds + 1)}\n{text}\n"


def bracketed(north: float, east: float = 10.0) -> str:
    return f"[latitude: {north:.6f}] [longitude: {east:.6f}] [rel_alt: 12.300 abs_alt: 45.600]"


def srt(*norths: float) -> str:
    """An entry a second, each farther north or not."""
    return "\n".join(entry(n + 1, n, bracketed(north)) for n, north in enumerate(norths))


def film(path: Path, seconds: int = 3, **wanted: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return media.clip(path, frames=seconds * RATE, rate=Fraction(RATE), size=SIZE, **wanted)


def annotate(source: Path, out: Path, *assignments: str, **wanted: Any) -> Summary:
    config = quick(f"output.path={json.dumps(str(out))}", *assignments)
    return run(replace(config, input=str(source)), model=ColourModel(), **wanted)


def track_in(path: Path) -> Track | None:
    with av.open(str(path)) as container:
        return track_of(path, container)


# --- an entry


@pytest.mark.parametrize(
    ("text", "position"),
    [
        ("[latitude : -20.25] [longtitude : 149.02] [iso : 100]", (-20.25, 149.02, None)),
        ("[latitude: 51.5] [longitude: -0.12] [altitude: 20.0]", (51.5, -0.12, None)),
        (bracketed(51.5, -0.12), (51.5, -0.12, 12.3)),
        ("GPS(149.0251,-20.2533,16) BAROMETER:1.9", (-20.2533, 149.0251, 1.9)),
        ("GPS(149.0251,-20.2533,16) Hb:1.9 Hs:0.4", (-20.2533, 149.0251, 1.9)),
        ("F/2.8, GPS (8.5, 47.25, 20), D 10.1m, H -35.2m, H.S 1.2m/s", (47.25, 8.5, -35.2)),
        ("HOME(1.5,2.5) 2017.08.05 14:11:51\nGPS(149.5,-20.5,16)", (-20.5, 149.5, None)),
        ("GPS(-20.25,149.02,16)", (-20.25, 149.02, None)),  # the other way round
    ],
)
def test_every_model_s_way_of_writing_a_position_is_read(
    text: str, position: tuple[float | None, ...]
) -> None:
    assert position_of(text) == Position(*position)


@pytest.mark.parametrize(
    "text",
    [
        "GPS(N/A,N/A,3) BAROMETER:0.0",
        "GPS(0,0,0)",
        "[latitude: 0.000000] [longitude: 0.000000]",
        "[latitude: 91.0] [longitude: 10.0]",
        "[latitude: 10.0] [longitude: 180.5]",
        "[latitude: 10.0]",
        "a bridge, seen from the west",
        "",
    ],
)
def test_what_is_no_position_on_earth_is_none(text: str) -> None:
    assert position_of(text) is None


# --- a file


def test_the_four_files_of_the_team_s_data_are_read(shared: Path) -> None:
    found = {
        path.stem: fixes_of(path.read_text(encoding="utf-8"))
        for path in sorted((shared / "data" / "telemetry").glob("*.SRT"))
    }
    counts = {name: len(fixes) for name, fixes in found.items()}
    assert counts["mavic_2_style"] == counts["mavic_pro"] == counts["old_format"] == 468
    assert counts["mavic_pro_buggy"] > 500  # some of its entries have no fix
    for name in ("mavic_2_style", "mavic_pro", "old_format"):
        assert found[name][0].position[:2] == (-20.2533, 149.0251)
    assert found["mavic_pro"][0].time == 1.0
    assert found["mavic_2_style"][0].time == 0.0  # it tells the clock of the day alone
    assert found["mavic_2_style"][-1].time == 468.0
    places = [[fix.position[:2] for fix in found[name]] for name in ("old_format", "mavic_pro")]
    assert places[0] == places[1]


def test_times_are_read_as_subtitles_tell_them_or_by_the_clock_across_midnight() -> None:
    text = f"7\n01:02:03,5 --> 01:02:04,0\n{bracketed(1.0)}\n"
    assert [f.time for f in fixes_of(text)] == [3723.5]
    lines = ("2024.02.29 23:59:59,250", "2024.03.01 00:00:01,750", "2024.13.01 00:00:02,000")
    text = "\n".join(f"{n}\n{line}\n{bracketed(1.0 + n)}\n" for n, line in enumerate(lines))
    assert [f.time for f in fixes_of(text)] == [0.0, 2.5]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_a_byte_order_mark_odd_ends_of_lines_and_broken_entries_do_no_harm(
    end: str, tmp_path: Path
) -> None:
    broken = "x\n00:0 --> nonsense\n[latitude: 5] [longitude: 5]\n"
    text = "\n".join([srt(1.0), broken, entry(3, 2, bracketed(2.0)), "\ufffd\ufffd\n"])
    path = film(tmp_path / "film.mp4")
    (tmp_path / "film.srt").write_bytes(text.replace("\n", end).encode("utf-8-sig") + b"\xff\xfe")
    track = track_in(path)
    assert track is not None
    assert track.at(0.0).latitude == 1.0
    assert track.at(2.0).latitude == 2.0


def test_a_film_beside_which_nothing_tells_of_positions_has_no_track(tmp_path: Path) -> None:
    path = film(tmp_path / "film.mp4", subtitle=True)
    assert track_in(path) is None
    (tmp_path / "film.srt").write_text(entry(1, 0, "a bridge"))
    assert track_in(path) is None


def test_a_srt_that_cannot_be_read_is_told_and_not_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, beside = film(tmp_path / "film.mp4"), tmp_path / "film.srt"
    beside.write_text(srt(1.0))
    usual = Path.open

    def refused(self: Path, *wanted: Any, **more: Any) -> Any:
        if self == beside:
            raise PermissionError(13, "Permission denied")
        return usual(self, *wanted, **more)

    monkeypatch.setattr(Path, "open", refused)
    with pytest.raises(SourceError, match=r"film.srt: cannot be read \(Permission denied\)"):
        track_in(path)


# --- between the entries


def test_the_camera_moves_on_evenly_between_positions_that_are_written_again() -> None:
    frames = [fix(n / 30, float(n // 30)) for n in range(91)]  # a receiver that renews each second
    track = Track(frames)
    assert [track.at(t).latitude for t in (0, 0.5, 1, 2.25, 3)] == [0, 0.5, 1, 2.25, 3]


def test_a_camera_that_stays_stays_until_a_second_before_it_is_seen_elsewhere() -> None:
    track = Track([fix(float(t), 5.0 if t < 60 else 6.0) for t in range(62)])
    assert [track.at(t).latitude for t in (0, 30, 59, 59.5, 60)] == [5, 5, 5, 5.5, 6]


def test_height_is_between_too_and_the_way_across_the_antimeridian_is_the_short_one() -> None:
    track = Track([fix(0, 0.5, 179.9, 10.0), fix(1, 0.5, -179.9, 20.0)])
    position = track.at(0.75)
    assert position.longitude == pytest.approx(-179.95)
    assert position.height == pytest.approx(17.5)


def test_in_a_hole_and_beyond_the_ends_nothing_is_known_but_close_to_a_position() -> None:
    track = Track([fix(5, 1.0), fix(6, 2.0), fix(30, 3.0), fix(31, 4.0)])
    assert track.at(2.9) == NOWHERE
    assert track.at(3.1).latitude == 1.0
    assert track.at(7.5).latitude == 2.0
    assert track.at(18) == NOWHERE
    assert track.at(28.5).latitude == 3.0
    assert track.at(33).latitude == 4.0
    assert track.at(33.5) == NOWHERE
    assert Track([]).at(0) == NOWHERE


# --- the table


def table(path: Path) -> list[list[str]]:
    return [line.split(",") for line in path.read_text().splitlines()]


def test_every_row_tells_where_the_camera_was(tmp_path: Path) -> None:
    path = film(tmp_path / "film.MP4")
    (tmp_path / "film.SRT").write_text(srt(1.0, 2.0, 3.0))
    annotate(path, tmp_path / "out.mp4")
    header, *rows = table(tmp_path / "out.csv")
    assert tuple(header) == LOCATED_COLUMNS
    assert rows[0][-3:] == ["1.000000", "10.000000", "12.3"]
    assert rows[15][-3:] == ["2.500000", "10.000000", "12.3"]
    assert len(rows) == 30


def test_positions_come_from_a_stream_of_text_too(tmp_path: Path) -> None:
    path = film(tmp_path / "film.mp4", subtitle=bracketed(7.0, 8.0))
    annotate(path, tmp_path / "out.mp4")
    assert table(tmp_path / "out.csv")[1][-3:] == ["7.000000", "8.000000", "12.3"]


def test_a_part_of_the_film_keeps_the_positions_of_its_times(tmp_path: Path) -> None:
    path = film(tmp_path / "film.mp4")
    (tmp_path / "film.srt").write_text(srt(1.0, 2.0, 3.0))
    annotate(path, tmp_path / "out.mp4", "source.start=1.5", "source.end=2.5")
    rows = table(tmp_path / "out.csv")[1:]
    assert [rows[0][-3], rows[5][-3]] == ["2.500000", "3.000000"]


def test_of_a_film_in_several_files_each_has_its_own_positions_or_none(tmp_path: Path) -> None:
    whole = film(tmp_path / "whole.mp4", seconds=4)
    parts = media.split(whole, (2.0,), tmp_path / "cut")
    parts[1].with_suffix(".SRT").write_text(srt(5.0, 6.0, 7.0))
    source = f"source.join={json.dumps(str(parts[1]))}"
    annotate(parts[0], tmp_path / "out.mp4", source)
    rows = table(tmp_path / "out.csv")
    assert tuple(rows[0]) == LOCATED_COLUMNS
    norths = [row[-3] for row in rows[1:]]
    cut = norths.count("")
    assert cut >= 2 * RATE  # it is cut at a key frame
    assert norths[:cut] == [""] * cut
    assert [norths[cut], norths[cut + RATE]] == ["5.000000", "6.000000"]


def test_a_run_that_was_broken_off_goes_on_with_the_same_positions_alone(tmp_path: Path) -> None:
    path, out = film(tmp_path / "film.mp4", seconds=6), tmp_path / "out.mp4"
    beside = tmp_path / "film.srt"
    beside.write_text(srt(*range(1, 8)))
    annotate(path, tmp_path / "unbroken.mp4")

    def stop(result: Measured, expected: int | None) -> None:
        if result.frame.index == 45:
            raise Interrupted(signal.SIGTERM)

    annotate(path, out, progress=stop)
    left = tmp_path / "left"
    shutil.copytree(tmp_path, left, ignore=shutil.ignore_patterns("left"))
    assert annotate(path, out, "output.resume=true").resumed_at > 0
    assert table(tmp_path / "out.csv") == table(tmp_path / "unbroken.csv")
    (left / "film.srt").unlink()
    with pytest.raises(UsageError, match="positions"):
        annotate(left / "film.mp4", left / "out.mp4", "output.resume=true")


def test_a_film_without_positions_has_the_usual_table(tmp_path: Path, clip: Path) -> None:
    annotate(clip, tmp_path / "out.mp4")
    assert tuple(table(tmp_path / "out.csv")[0]) == COLUMNS


# --- the map


def reading(time: float, percent: float | None, north: float | None, east: float = 10.0) -> Reading:
    position = Position(north, None if north is None else east, 3.0)
    return Reading(time, percent, 0.5, (), position)


def test_a_point_is_the_second_s_peak_and_the_way_is_cut_where_it_is_not_known() -> None:
    frames = [
        reading(0.0, 0.0, 1.0),
        reading(0.5, 0.0, 1.5),
        reading(1.0, 2.0, 2.0),
        reading(1.5, 6.0, 2.5),
        reading(2.0, 3.0, None),
        reading(3.0, None, 4.0),
        reading(4.0, 0.5, 5.0),
    ]
    way, first, second = geo.features_of("film.csv", frames)
    assert way["geometry"] == {
        "type": "MultiLineString",
        "coordinates": [[[10.0, 1.0], [10.0, 2.0]], [[10.0, 4.0], [10.0, 5.0]]],
    }
    assert first["geometry"] == {"type": "Point", "coordinates": [10.0, 2.5]}
    assert first["properties"]["area_pct"] == 4.0
    assert first["properties"]["peak_area_pct"] == 6.0
    assert first["properties"]["time"] == "00:00:01.500"
    assert second["geometry"]["coordinates"] == [10.0, 5.0]
    assert first["properties"]["marker-color"] != second["properties"]["marker-color"]


def test_a_map_is_made_of_tables_and_of_folders(tmp_path: Path, capsys: Told) -> None:
    (tmp_path / "done").mkdir()
    for name in ("a", "b"):
        path = film(tmp_path / "flight" / f"{name}.mp4", seconds=2)
        path.with_suffix(".SRT").write_text(srt(1.0, 2.0, 3.0))
        annotate(path, tmp_path / "done" / f"{name}.mp4")
    (tmp_path / "done" / "summary.csv").write_text("input,output\n")
    out = tmp_path / "map.geojson"
    assert main(["map", str(tmp_path / "done"), "--out", str(out)]) == 0
    assert capsys.readouterr().out.startswith("2 tables: ")
    found = json.loads(out.read_text())
    assert found["type"] == "FeatureCollection"
    assert {f["properties"]["table"] for f in found["features"]} == {"a.csv", "b.csv"}
    assert len(readings(tmp_path / "done" / "a.csv")) == 20


def test_a_map_is_not_made_of_what_has_no_positions_nor_over_a_file(
    tmp_path: Path, capsys: Told
) -> None:
    plain, out = tmp_path / "plain.csv", tmp_path / "map.geojson"
    plain.write_text(",".join(COLUMNS) + "\n")
    assert main(["map", str(plain), "--out", str(out)]) == 2
    assert ".SRT" in capsys.readouterr().err
    assert main(["map", str(tmp_path), "--out", str(out)]) == 2
    assert "holds no table with positions" in capsys.readouterr().err
    assert main(["map", str(tmp_path / "none.csv"), "--out", str(out)]) == 2
    assert main(["map", str(plain), "--out", str(tmp_path / "map.kml")]) == 2
    located = tmp_path / "located.csv"
    located.write_text(",".join(LOCATED_COLUMNS) + "\n0,0.0,ok,1,,1,2.0,1,1,0,0.5,,1.0,2.0,\n")
    assert main(["map", str(located), "--out", str(out)]) == 0
    assert main(["map", str(located), "--out", str(out)]) == 2
    assert main(["map", str(located), "--out", str(out), "--overwrite"]) == 0
    located.write_text(",".join(LOCATED_COLUMNS) + "\n0,x\n")
    capsys.readouterr()
    assert main(["map", str(located), "--out", str(out), "--overwrite"]) == 2
    assert "cannot be read as a table" in capsys.readouterr().err


# --- odd ones


@pytest.mark.parametrize("hours", ["9" * 5000, "9" * 400])
def test_a_time_of_no_film_is_none(hours: str) -> None:
    assert not fixes_of(f"{hours}:00:00,000 --> x\n{bracketed(1.0)}")


def test_a_file_of_digits_is_soon_read() -> None:
    """Not in the square of their number, which would be hours."""
    assert not fixes_of("1" * 2_000_000)


def test_a_number_that_is_no_height_is_none() -> None:
    """It would be infinite, of which JSON knows nothing."""
    assert position_of(f"[latitude: 1] [longitude: 2] [rel_alt: {'9' * 400}]") == Position(1, 2)


@pytest.mark.parametrize("more", [0, 19, 36])
def test_a_text_s_length_is_no_part_of_it(more: int, tmp_path: Path) -> None:
    """In .mp4 it stands before the text, and may be that of a letter."""
    path = film(tmp_path / "film.mp4", subtitle=f"GPS(8.0,7.0,16) BAROMETER:1.9{' ' * more}")
    track = track_in(path)
    assert track and track.at(0.5) == Position(7.0, 8.0, 1.9)


@pytest.mark.parametrize("begin", [Fraction(7, 5), Fraction(3600)])
def test_a_srt_file_counts_from_where_the_clock_of_its_film_begins(
    begin: Fraction, tmp_path: Path
) -> None:
    path = media.delayed(film(tmp_path / "clip.mp4"), tmp_path / "film.ts", begin)
    (tmp_path / "film.SRT").write_text(srt(1.0, 2.0, 3.0))
    track = track_in(path)
    assert track
    assert [track.at(begin + n).latitude for n in range(3)] == pytest.approx([1, 2, 3], abs=1e-3)


def test_a_table_s_name_need_be_no_utf_8(tmp_path: Path) -> None:
    table = tmp_path / os.fsdecode(b"\xff.csv")
    table.write_text(",".join(LOCATED_COLUMNS) + "\n0,0.0,ok,1,,1,2.0,1,1,0,0.5,,1.0,2.0,\n")
    geo.write(tmp_path / "map.geojson", [table])
    assert json.loads((tmp_path / "map.geojson").read_text())["features"]
