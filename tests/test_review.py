"""A result becomes a page that can be handed on: chart, pictures, stretches with corrosion."""

from __future__ import annotations

import base64
import json
import os
import re
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import media
import numpy as np
import pytest
from fakes import ColourModel, quick

from rustvid import review
from rustvid.cli import main
from rustvid.errors import SourceError
from rustvid.frames import Position
from rustvid.pipeline import run
from rustvid.report import html
from rustvid.report.csv import COLUMNS
from rustvid.report.findings import findings
from rustvid.report.readings import Reading
from rustvid.video.stills import stills

pytestmark = pytest.mark.usefixtures("no_leftovers")

Told = pytest.CaptureFixture[str]


def reading(time: float, percent: float | None, **wanted: Any) -> Reading:
    return Reading(time, percent, wanted.pop("confidence", 0.5), **wanted)


def annotated(source: Path, out: Path, *assignments: str) -> Path:
    config = quick(f"output.path={json.dumps(str(out))}", *assignments)
    run(replace(config, input=str(source)), model=ColourModel()).raise_for_error()
    return out


def pictures_of(page: str) -> list[np.ndarray[Any, Any]]:
    found = re.findall(r'src="data:image/jpeg;base64,([^"]+)"', page)
    decoded = [np.frombuffer(base64.b64decode(text), np.uint8) for text in found]
    return [cv2.imdecode(data, cv2.IMREAD_COLOR)[:, :, ::-1] for data in decoded]


# --- stretches


def test_more_than_a_second_without_corrosion_ends_a_stretch() -> None:
    areas = {0: 0.0, 1: 2.0, 1.5: 0.0, 2: 4.0, 2.5: 0.0, 3: 0.0, 3.5: 1.0, 4: 0.0}
    found = findings([reading(time, area) for time, area in areas.items()])
    assert [(f.begin, f.end) for f in found] == [(1, 2), (3.5, 3.5)]
    assert [f.peak.time for f in found] == [2, 3.5]
    assert [f.mean for f in found] == [2.0, 1.0]


def test_five_seconds_with_corrosion_are_one_stretch_and_the_rest_another() -> None:
    found = findings([reading(time / 4, 1.0 + time) for time in range(50)])
    assert [(f.begin, f.end) for f in found] == [(0, 4.75), (5, 9.75), (10, 12.25)]
    assert [f.peak.time for f in found] == [4.75, 9.75, 12.25]


def test_a_stretch_tells_its_least_confidence_and_counts_flags() -> None:
    shadow = {"flags": ("shadow",)}
    found = findings(
        [
            reading(0.0, 1.0, confidence=0.9),
            reading(0.1, None, confidence=None),
            reading(0.2, 3.0, confidence=0.2, **shadow),
            reading(0.3, 2.0, confidence=None, **shadow),
        ]
    )
    assert found[0].confidence == 0.2
    assert found[0].flags == (("shadow", 2),)
    assert found[0].mean == 2.0  # a frame without an area counts in no mean


def test_a_film_without_corrosion_has_no_stretch() -> None:
    assert findings([reading(0, 0.0), reading(1, None)]) == []
    assert findings([]) == []


# --- the page


def test_the_page_tells_the_figures_of_the_table() -> None:
    rows = [reading(0, 0.0), reading(1, 10.0), reading(2, 20.0), reading(3, None)]
    page = html.document("a <b> & c.mp4", rows, findings(rows), {})
    assert "a &lt;b&gt; &amp; c.mp4" in page
    told = dict(re.findall(r"<dt>([^<]+)</dt><dd>([^<]+)</dd>", page))
    assert told == {
        "frames": "4",
        "with corrosion": "66.7 %",
        "stretches with corrosion": "1",
        "mean area": "10.00 %",
        "largest area": "20.00 %",
        "least confidence": "0.50",
        "frames without an area": "1",
    }
    assert "00:00:01.000 – 00:00:02.000" in page


def test_the_chart_is_as_high_as_the_area_and_as_wide_as_the_film() -> None:
    rows = [reading(time, 25.0 if time < 5 else 50.0) for time in range(10)]
    chart = re.search(r"<svg.*</svg>", html.document("film", rows, [], {}), re.DOTALL)
    assert chart
    bars = [bar.attrib for bar in ElementTree.fromstring(chart[0]).iter("rect")]
    heights = [round(float(bar["height"])) for bar in bars]
    assert heights[0] * 2 == heights[-1]
    places = [float(bar["x"]) for bar in bars]
    assert places == sorted(places)
    assert places[0] < 60
    assert places[-1] <= 1000


@pytest.mark.parametrize("number", [1, 2, 3, 7, 10, 49, 500, 501])
def test_the_last_frame_of_the_chart_is_seen_as_each_of_a_few_is(number: int) -> None:
    rows = [reading(n / 25, 1.0 if n < number - 1 else 4.0) for n in range(number)]
    bars = re.findall(r'<rect x="([\d.]+)"[^>]*height="([\d.]+)"', html.document("", rows, [], {}))
    assert max(float(x) for x, _ in bars) < 999
    heights = {x: float(height) for x, height in bars}
    assert len(heights) == min(number, 500)
    assert number > 500 or list(heights.values())[-1] == max(heights.values())


def test_the_chart_of_days_has_times_that_can_be_read() -> None:
    rows = [reading(hour * 3600, 1.0) for hour in range(24 * 30)]
    assert html.document("camera", rows, [], {}).count(":00:00</text>") <= 9


@pytest.mark.parametrize(("value", "top"), [(0.0, 0.01), (0.3, 0.4), (4.1, 8), (60, 80), (99, 100)])
def test_the_chart_s_scale_ends_at_a_round_number(value: float, top: float) -> None:
    rows = [reading(0, value), reading(1, 0.0)]
    page = html.document("film", rows, [], {})
    assert f">{top:g} %</text>" in page


def test_a_page_of_nothing_is_a_page_all_the_same() -> None:
    assert "No frame has an area" in html.document("film", [], [], {})
    assert "no frame is marked" in html.document("film", [reading(0, 0.0)], [], {})


def test_a_place_is_a_link_that_a_telephone_understands() -> None:
    rows = [reading(0, 1.0, position=Position(51.5, -0.12, 20.4))]
    page = html.document("film", rows, findings(rows), {})
    assert '<a href="geo:51.500000,-0.120000">51.500000, -0.120000</a>, 20 m up' in page


# --- the pictures


@pytest.mark.parametrize(
    "name", ["clip", "tall_clip", "uneven_clip"], ids=["plain", "turned", "uneven"]
)
def test_a_still_is_the_frame_of_its_time_upright(
    name: str, request: pytest.FixtureRequest
) -> None:
    film = request.getfixturevalue(name)
    times = media.frame_times(film)
    wanted = [0, 3, len(times) - 1]
    found = list(stills(film, [float(times[n] - times[0]) for n in wanted], 640))
    for number, jpeg in zip(wanted, found, strict=True):
        assert jpeg
        picture = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
        assert media.frame_number(picture) == number
    assert (picture.shape[0] > picture.shape[1]) == (name == "tall_clip")


def test_a_still_is_no_larger_than_wanted_and_of_square_pixels(tmp_path: Path) -> None:
    film = media.clip(tmp_path / "film.mp4", frames=3, pixel_aspect=Fraction(2))
    (jpeg,) = stills(film, [0.0], 64)
    assert jpeg
    assert cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR).shape == (24, 64, 3)


def test_behind_the_end_there_is_no_still_and_of_no_film_none(clip: Path, tmp_path: Path) -> None:
    assert list(stills(clip, [1e6], 64)) == [None]
    (tmp_path / "no.mp4").write_bytes(b"no film")
    with pytest.raises(SourceError):
        list(stills(tmp_path / "no.mp4", [0.0], 64))


# --- the command


@pytest.fixture
def rusty(tmp_path: Path) -> Path:
    """12.5 seconds, eight frames a second, all with rust: three stretches."""
    return media.clip(tmp_path / "film.mp4", frames=100, rate=Fraction(8))


def test_a_film_s_report_shows_each_stretch_at_its_peak(
    rusty: Path, tmp_path: Path, capsys: Told
) -> None:
    done, page = annotated(rusty, tmp_path / "done.mp4"), tmp_path / "done.html"
    assert main(["report", str(done), "--out", str(page)]) == 0
    assert capsys.readouterr().out == (f"3 stretches with corrosion, 3 pictures\nwrote {page}\n")
    numbers = [media.frame_number(picture) for picture in pictures_of(page.read_text())]
    assert [number // 40 for number in numbers] == [0, 1, 2]
    assert "http" not in page.read_text()  # it needs no network


def test_the_pictures_of_a_part_of_a_film_are_its_own(rusty: Path, tmp_path: Path) -> None:
    done = annotated(rusty, tmp_path / "done.mp4", "source.start=8")
    assert main(["report", str(done), "--out", str(tmp_path / "done.html")]) == 0
    (picture,) = pictures_of((tmp_path / "done.html").read_text())
    assert 64 <= media.frame_number(picture) < 100


def test_the_largest_have_pictures_where_not_all_can(
    rusty: Path, tmp_path: Path, capsys: Told
) -> None:
    done, page = annotated(rusty, tmp_path / "done.mp4"), tmp_path / "page.html"
    table = done.with_suffix(".csv")
    assert main(["report", str(table), "--out", str(page), "--pictures", "1"]) == 0
    assert len(pictures_of(page.read_text())) == 1
    assert "the 1 largest of 3" in page.read_text()
    done.unlink()
    assert main(["report", str(table), "--out", str(page), "--overwrite"]) == 0
    assert "no film beside done.csv" in capsys.readouterr().out
    assert not pictures_of(page.read_text())


def test_what_cannot_be_reported_is_told_in_a_line(
    clip: Path, tmp_path: Path, capsys: Told
) -> None:
    page = tmp_path / "page.html"
    assert main(["report", str(clip), "--out", str(page)]) == 2
    assert "no table clip.csv beside it" in capsys.readouterr().err
    other = tmp_path / "other.csv"
    other.write_text("a,b\n")
    assert main(["report", str(other), "--out", str(page)]) == 2
    assert "is no table of a run" in capsys.readouterr().err
    other.write_text(",".join(COLUMNS) + "\n")
    assert main(["report", str(other), "--out", str(tmp_path / "page.pdf")]) == 2
    assert main(["report", str(other), "--out", str(page), "--pictures", "-1"]) == 2
    assert main(["report", str(other), "--out", str(page)]) == 0
    assert main(["report", str(other), "--out", str(page)]) == 2
    assert "exists" in capsys.readouterr().err


def test_a_film_that_is_gone_is_not_called_damaged(tmp_path: Path, capsys: Told) -> None:
    (tmp_path / "film.csv").write_text(",".join(COLUMNS) + "\n0,0.0,ok,1,,1,2.0,1,1,0,0.5,\n")
    assert main(["report", str(tmp_path / "film.mp4"), "--out", str(tmp_path / "page.html")])
    assert "No such file" in capsys.readouterr().err


def test_a_film_s_name_need_be_no_utf_8(tmp_path: Path) -> None:
    table = tmp_path / os.fsdecode(b"\xff.csv")
    table.write_text(",".join(COLUMNS) + "\n0,0.0,ok,1,,1,2.0,1,1,0,0.5,\n")
    review.write(table, tmp_path / "page.html")
    assert "Corrosion: ?.csv" in (tmp_path / "page.html").read_text()


def test_an_avi_has_pictures_too(rusty: Path, tmp_path: Path) -> None:
    done, page = annotated(rusty, tmp_path / "done.avi"), tmp_path / "page.html"
    review.write(done, page)
    assert len(pictures_of(page.read_text())) == 3
