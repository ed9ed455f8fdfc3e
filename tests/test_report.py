"""What is told of a run: area of a mask, rows of the table, the summary, the caption."""

from __future__ import annotations

import csv
import io
import json
import logging
import os
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from rich.console import Console

from rustvid import progress
from rustvid.errors import Interrupted, SinkError, SourceCutShort
from rustvid.frames import Area, Classified, Frame, Localised, Measured, Picture, Refined
from rustvid.live.board import Board
from rustvid.report.area import area_of, enlarged, measure
from rustvid.report.caption import caption
from rustvid.report.csv import COLUMNS, CsvReport, row
from rustvid.report.summary import Fact, Summary, clock
from rustvid.report.tables import rendered
from rustvid.training import tables

NTSC = Fraction(1001, 30000)


def refined(
    mask: NDArray[np.uint8],
    *,
    index: int = 0,
    time: Fraction = Fraction(0),
    probability: float | None = 0.9,
    status: str = "ok",
    size: tuple[int, int] = (8, 10),
    rotation: int = 0,
    mask_from: str = "analysed",
) -> Refined:
    """A frame of (height, width) as stored, with its working mask."""
    picture = Picture((np.zeros(size, np.uint8),), "gray", 8, 0, 0, "bt601", True, rotation)
    image = np.zeros((4, 4, 3), np.uint8)
    frame = Frame(index, time, NTSC, picture, image, status)
    return Refined(Localised(Classified(frame, probability), None), mask, mask_from)


def result(share: float = 0.0, **wanted: Any) -> Measured:
    """A frame of 1000 × 1000 pixels, of which a share is corroded in two pieces."""
    pixels = round(share * 1_000_000)
    area = Area(pixels, share, 2 * (pixels > 0), pixels // 2)
    return Measured(
        refined(np.zeros((4, 4), np.uint8), **wanted), np.zeros((8, 10), np.uint8), area
    )


def drawn(picture: str) -> NDArray[np.uint8]:
    return np.array(
        [[c == "#" for c in line.split()] for line in picture.split("\n") if line.strip()], np.uint8
    )


# --- area


def test_pixels_that_touch_at_a_corner_are_one_region() -> None:
    mask = drawn("""
        # # . . . .
        # # . . . .
        . . # . . #
        . . . . . #
    """)
    assert area_of(mask) == Area(pixels=7, share=7 / 24, regions=2, largest=5)


def test_no_rust_is_no_region() -> None:
    assert area_of(np.zeros((5, 7), np.uint8)) == Area(0, 0.0, 0, 0)


def test_rust_everywhere_is_one_region_of_the_whole_frame() -> None:
    assert area_of(np.ones((5, 7), np.uint8)) == Area(35, 1.0, 1, 35)


@pytest.mark.parametrize("seed", range(3))
def test_the_largest_of_many_regions(seed: int) -> None:
    noise = np.random.default_rng(seed).random((270, 480), np.float32)
    mask = (cv2.GaussianBlur(noise, (0, 0), 3) > 0.5 + 0.02 * seed).astype(np.uint8)
    count, _, statistics, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
    found = area_of(mask)
    assert count > 10 and found.regions == count - 1
    assert found.largest == statistics[1:, cv2.CC_STAT_AREA].max()


def test_more_regions_than_sixteen_bits_can_number() -> None:
    mask = np.zeros((600, 600), np.uint8)
    mask[::2, ::2] = 1  # 90,000 dots
    mask[0, :5] = 1
    assert area_of(mask) == Area(90_002, 90_002 / 360_000, 89_998, 5)


def test_more_pixels_than_float32_counts() -> None:
    mask = np.ones((4100, 4100), np.uint8)
    mask[1, :] = 0
    assert area_of(mask).largest == 4098 * 4100 > 2**24


def test_a_mask_of_the_right_size_is_kept_as_it_is() -> None:
    mask = np.random.default_rng(0).integers(0, 2, (40, 40)).astype(np.uint8)
    np.testing.assert_array_equal(enlarged(mask, (40, 40)), mask)


def test_enlarging_stretches_each_side_on_its_own() -> None:
    wide = enlarged(drawn("# .\n# ."), (4, 10))
    assert wide.dtype == np.uint8
    np.testing.assert_array_equal(wide, [[1] * 5 + [0] * 5] * 4)


@pytest.mark.parametrize("shape", [(31, 57), (120, 160), (1080, 1920)])
def test_enlarging_keeps_the_share_of_the_frame(shape: tuple[int, int]) -> None:
    mask = np.zeros((96, 96), np.uint8)
    mask[24:72, 32:64] = 1
    assert enlarged(mask, shape).mean() == pytest.approx(mask.mean(), abs=0.01)


@pytest.mark.parametrize(("rotation", "shape"), [(0, (8, 10)), (1, (10, 8)), (2, (8, 10))])
def test_a_mask_has_the_size_of_the_frame_as_seen(rotation: int, shape: tuple[int, int]) -> None:
    measured = measure(refined(np.ones((4, 4), np.uint8), rotation=rotation))
    assert measured.mask.shape == shape
    assert measured.area == Area(80, 1.0, 1, 80)


# --- the table


def cells(measured: Measured) -> dict[str, str]:
    return dict(zip(COLUMNS, row(measured), strict=True))


def test_the_columns_are_those_of_the_documentation_in_their_order() -> None:
    documented = (
        "frame,time_s,status,analysed,probability,area_px,area_pct,regions,largest_region_px"
    )
    assert ",".join(COLUMNS[:9]) == documented


def test_a_row_tells_everything_of_an_analysed_frame() -> None:
    measured = result(0.25, index=12, time=12 * NTSC, probability=0.75)
    assert ",".join(row(measured)[:9]) == "12,0.400400,ok,1,0.7500,250000,25.0000,2,125000"


def test_time_has_microseconds_and_is_not_the_index_over_a_rate() -> None:
    assert cells(result(time=Fraction(1, 3)))["time_s"] == "0.333333"
    assert cells(result(time=Fraction(3_600_000_001, 1_000_000)))["time_s"] == "3600.000001"


def test_a_tracked_frame_has_an_area_but_no_probability() -> None:
    tracked = cells(result(0.5, probability=None, mask_from="tracked"))
    assert tracked["analysed"] == "0"
    assert tracked["probability"] == ""
    assert tracked["area_px"] == "500000"


@pytest.mark.parametrize(
    ("status", "mask_from", "told"),
    [
        ("ok", "analysed", "ok"),
        ("corrupt", "analysed", "corrupt"),
        ("ok", "failed", "failed"),
        ("damaged", "failed", "failed"),
    ],
)
def test_status_says_what_was_wrong(status: str, mask_from: str, told: str) -> None:
    assert cells(result(status=status, mask_from=mask_from))["status"] == told


def report_of(folder: Path) -> CsvReport:
    return CsvReport(folder / "film.csv", folder / "film.part.csv")


def test_rows_are_in_the_file_as_soon_as_they_are_written(tmp_path: Path) -> None:
    part = tmp_path / "film.part.csv"
    with report_of(tmp_path) as report:
        assert part.read_text() == ",".join(COLUMNS) + "\n"
        for count in range(1, 4):
            report.write(result(index=count - 1))
            lines = part.read_text().splitlines(keepends=True)
            assert len(lines) == 1 + count
            assert lines[-1].startswith(f"{count - 1},")
            assert lines[-1].endswith("\n")


def test_a_finished_table_takes_its_name_and_reads_back(tmp_path: Path) -> None:
    with report_of(tmp_path) as report:
        for index in range(3):
            report.write(result(0.1, index=index))
        assert not report.path.exists()
        report.finish()
    assert [path.name for path in tmp_path.iterdir()] == ["film.csv"]
    with report.path.open(newline="", encoding="utf-8") as file:
        read = list(csv.DictReader(file))
    assert [r["frame"] for r in read] == ["0", "1", "2"]
    assert all(r["area_pct"] == "10.0000" for r in read)


def test_an_unfinished_table_stays_a_part(tmp_path: Path) -> None:
    with report_of(tmp_path) as report:
        report.write(result())
    assert [path.name for path in tmp_path.iterdir()] == ["film.part.csv"]
    assert len((tmp_path / "film.part.csv").read_text().splitlines()) == 2


def test_a_folder_that_is_not_there_is_told_by_the_name_of_the_table(tmp_path: Path) -> None:
    path = tmp_path / "nowhere" / "film.csv"
    with pytest.raises(SinkError, match=r"film\.csv: cannot be written \(No such file"):
        CsvReport(path, path)


FULL = Path("/dev/full")  # takes nothing: "no space left on device"
needs_full = pytest.mark.skipif(not FULL.exists(), reason="there is no /dev/full here")


@needs_full
@pytest.mark.filterwarnings("error")
def test_a_full_disk_at_the_header_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(SinkError, match=r"film\.csv: cannot be written \(No space left"):
        CsvReport(tmp_path / "film.csv", FULL)


@needs_full
def test_a_full_disk_at_a_row_is_one_clear_error_even_on_the_way_out(tmp_path: Path) -> None:
    with (
        pytest.raises(SinkError, match=r"film\.csv: cannot be written \(No space left"),
        report_of(tmp_path) as report,
        FULL.open("w") as full,
    ):
        os.dup2(full.fileno(), report._file.fileno())  # from here on the disk is full
        report.write(result())


# --- the summary


def summary_of(results: Sequence[Measured]) -> Summary:
    summary = Summary(input="film.mp4", elapsed=2.0)
    for measured in results:
        summary.add(measured)
    return summary


def test_a_summary_counts_and_averages_over_all_frames() -> None:
    shares = [0.0, 0.1, 0.3, 0.0]
    summary = summary_of(
        [
            result(s, index=i, time=i * NTSC, probability=None if i == 3 else 0.9)
            for i, s in enumerate(shares)
        ]
    )
    assert (summary.frames, summary.analysed, summary.corroded) == (4, 3, 2)
    assert summary.mean_area == pytest.approx(0.1)
    assert summary.peak_area == 0.3
    assert summary.peak_time == pytest.approx(2 * 1001 / 30000)
    assert summary.frames_per_second == 2.0


def test_a_summary_of_nothing_divides_by_nothing() -> None:
    summary = Summary()
    assert summary.mean_area == summary.frames_per_second == 0
    assert summary.lines()[0] == "0 frames, 0 with corrosion (0.0 %)"


def test_the_exit_code_is_the_errors_or_6_where_frames_failed() -> None:
    fine, failed = summary_of([result()]), summary_of([result(), result(mask_from="failed")])
    assert fine.exit_code == 0
    assert failed.exit_code == 6
    failed.error = SourceCutShort("film.mp4: is cut short")
    assert failed.exit_code == 3
    fine.error = Interrupted(15)
    assert fine.exit_code == 143


def test_an_error_is_raised_on_request_and_nothing_otherwise() -> None:
    summary = Summary()
    summary.raise_for_error()
    summary.error = SinkError("film.mp4: cannot be written")
    with pytest.raises(SinkError, match="cannot be written"):
        summary.raise_for_error()


def test_the_json_tells_the_facts_of_the_run() -> None:
    summary = summary_of([result(0.5, time=Fraction(1, 3)), result(status="corrupt")])
    summary.model, summary.model_sha256, summary.precision = "rustseg-lite", "ab12", "bfloat16"
    summary.stages = {"decode": 1.0, "network": 3.0}
    summary.outputs = [Path("out.mp4")]
    facts = json.loads(json.dumps(summary.as_dict(), allow_nan=False))
    assert facts["frames"] == 2
    assert facts["corroded_frames"] == 1
    assert facts["mean_area_pct"] == 25.0
    assert facts["peak_area_pct"] == 50.0
    assert facts["peak_time_s"] == 0.333333
    assert facts["statuses"] == {"ok": 1, "corrupt": 1}
    assert facts["model"] == {"name": "rustseg-lite", "sha256": "ab12", "precision": "bfloat16"}
    assert facts["outputs"] == ["out.mp4"]
    assert facts["stage_seconds"] == {"decode": 1.0, "network": 3.0}
    assert (facts["exit_code"], facts["exit_reason"]) == (0, "complete")
    summary.error = SourceCutShort("film.mp4: is cut short")
    assert summary.as_dict()["exit_reason"] == "film.mp4: is cut short"


def test_the_lines_tell_a_person_the_same() -> None:
    summary = summary_of([result(0.5, time=Fraction(61)), result(status="corrupt"), result()])
    summary.stages = {"decode": 1.0, "network": 3.0}
    summary.outputs = [Path("out.mp4"), Path("out.csv")]
    summary.first_failure = "frame 3: out of memory"
    told = "\n".join(summary.lines())
    for fact in (
        "3 frames, 1 with corrosion (33.3 %)",
        "mean 16.67 %, peak 50.00 % at 00:01:01.000",
        "2.0 s, 1.5 frames per second, 3 analysed",
        "decode 25 %, network 75 %",
        "1 corrupt",
        "frame 3: out of memory",
        "wrote out.mp4\nwrote out.csv",
    ):
        assert fact in told


def test_where_nothing_is_corroded_there_is_no_time_of_a_peak() -> None:
    summary = summary_of([result(time=Fraction(8))])
    assert summary.lines()[1] == "corroded area: mean 0.00 %, peak 0.00 %"
    assert summary.as_dict()["peak_time_s"] is None


def test_where_no_frame_has_a_confidence_there_is_no_time_of_the_least() -> None:
    summary = Summary()
    summary.count(Fact(1.0, "failed", True, None))
    assert summary.as_dict()["least_confident_time_s"] is None


def test_a_pixel_that_rounds_to_nothing_is_corrosion_all_the_same() -> None:
    summary = Summary()
    summary.count(Fact(1.0, "ok", True, 0.0, corroded=False))
    summary.count(Fact(2.0, "ok", True, 0.0, corroded=True))
    assert summary.lines()[0] == "2 frames, 1 with corrosion (50.0 %)"
    assert summary.lines()[1].endswith("peak 0.00 % at 00:00:02.000")


def test_of_a_run_that_had_nothing_to_do_no_work_is_told() -> None:
    summary = summary_of([result(0.5, time=Fraction(61))])
    summary.outputs, summary.resumed_at, summary.was_complete = [Path("out.mp4")], 1, True
    told = "\n".join(summary.lines())
    assert "peak 50.00 % at 00:01:01.000" in told
    for word in ("wrote", "busy", "per second", "went on"):
        assert word not in told
    assert summary.as_dict()["outputs"] == ["out.mp4"]


# --- words in the picture


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "00:00:00.000"),
        (59.9996, "00:01:00.000"),
        (3661.5, "01:01:01.500"),
        (360000, "100:00:00.000"),
        (-0.5, "-00:00:00.500"),
    ],
)
def test_a_clock_shows_hours_minutes_seconds_and_thousandths(seconds: float, text: str) -> None:
    assert clock(seconds) == text


def test_the_caption_says_time_probability_area_and_where_the_mask_is_from() -> None:
    analysed = result(0.123, time=Fraction(5, 2), probability=0.87)
    assert caption(analysed) == "00:00:02.500  p 0.87  rust 12.3 %  analysed"
    tracked = result(0.123, time=Fraction(5, 2), probability=None, status="corrupt")
    assert caption(tracked) == "00:00:02.500  rust 12.3 %  tracked  corrupt"


# --- names that look like markup, shown as they are

ODD_NAMES = ["site [final]", "site [old]", "web [/r/rust]", "[bold red]", ":smile:", "end\\"]


@pytest.mark.parametrize("name", ODD_NAMES)
def test_a_table_shows_names_as_they_are(name: str) -> None:
    table = rendered(f"of {name}", (f"a {name}", "n"), [[name, "1"]], f"see {name}")
    for part in (f"of {name}", f"a {name}", f"│ {name} ", f"see {name}"):
        assert part in table


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """What a terminal gets."""
    screen = io.StringIO()

    def console(**_: object) -> Console:
        return Console(file=screen, force_terminal=True, color_system=None, width=120)

    for module in (progress, tables):
        monkeypatch.setattr(module, "Console", console)
    return screen


@pytest.mark.parametrize("name", ODD_NAMES)
def test_the_bar_of_a_run_shows_its_name_as_it_is(terminal: io.StringIO, name: str) -> None:
    with progress.Progress(name, quiet=False):
        pass
    assert f"{name} " in terminal.getvalue()


def test_no_bar_sends_a_terminal_what_the_name_of_a_file_holds(terminal: io.StringIO) -> None:
    name = "dock\x1b]0;owned\x07\x1b[2J.mp4"
    with progress.Progress(name, quiet=False), progress.LiveProgress(name, quiet=False):
        pass
    assert list(tables.watched([1], name)) == [1]
    sent = terminal.getvalue()
    assert sent.count("dock\ufffd]0;owned\ufffd\ufffd[2J.mp4") >= 3
    assert "\x1b]0;" not in sent and "\x1b[2J" not in sent


@pytest.mark.parametrize("name", ODD_NAMES)
def test_the_bar_of_a_set_shows_its_name_as_it_is(terminal: io.StringIO, name: str) -> None:
    assert list(tables.watched([1, 2], name)) == [1, 2]
    assert f"{name} " in terminal.getvalue()


@pytest.mark.parametrize("name", ODD_NAMES)
def test_the_line_of_a_camera_shows_its_name_as_it_is(
    terminal: io.StringIO, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    with progress.LiveProgress(name, quiet=False):
        pass  # it is drawn when it ends, too
    monkeypatch.setattr(progress, "_REFRESH", 0)
    with progress.LiveProgress("", quiet=False) as line:
        line.show(Board(name))
        logging.getLogger("rustvid.live").warning("%s: lost", name)
    for shown in (f"{name}\n", f"{name}: starting", f"{name}: lost"):
        assert shown in terminal.getvalue()
