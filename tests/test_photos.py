"""Photos: one, or a folder of them as a film: what is looked at, measured and told of each."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import media
import pytest
from fakes import ColourModel, quick

from rustvid.config import SourceConfig
from rustvid.errors import SourceError
from rustvid.pipeline import run
from rustvid.report.csv import COLUMNS, kept_rows
from rustvid.report.summary import Summary
from rustvid.video import open_source, photos_in

pytestmark = pytest.mark.usefixtures("no_leftovers")


def annotate(source: Path, out: Path, *assignments: str, **wanted: Any) -> Summary:
    config = quick(f"output.path={json.dumps(str(out))}", *assignments)
    return run(replace(config, input=str(source)), model=ColourModel(), **wanted)


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


# --- what cannot be read


@pytest.mark.parametrize("bad", [0, 2])
def test_a_photo_that_cannot_be_read_is_not_called_clean(bad: int, tmp_path: Path) -> None:
    folder = media.image_folder(tmp_path / "photos", count=4)
    whole = annotate(folder, tmp_path / "whole.mp4")
    media.text_file(folder / f"frame_{bad:04d}.jpg")
    summary = annotate(folder, tmp_path / "out.mp4")
    table = rows(tmp_path / "out.csv")
    assert [row["status"] for row in table].index("corrupt") == bad
    row = table.pop(bad)
    empty = ("probability", "area_px", "area_pct", "regions", "largest_region_px", "confidence")
    assert row["analysed"] == "0" and all(row[column] == "" for column in empty)
    assert row["unknown_pct"] == "100.00"
    assert all(row["analysed"] == "1" and float(row["area_pct"]) > 1 for row in table)
    assert summary.exit_code == 6 and summary.analysed == 3 and summary.frames == 4
    assert summary.mean_area == pytest.approx(whole.mean_area, rel=0.05)
    assert summary.lines()[0] == "4 frames, 3 with corrosion (100.0 %)"
    assert f"frame_{bad:04d}.jpg: cannot be read" in "\n".join(summary.warnings)


def test_the_look_at_what_cannot_be_read_goes_to_the_next_photo(tmp_path: Path) -> None:
    folder = media.image_folder(tmp_path / "photos", count=7)
    for bad in (0, 3):
        media.text_file(folder / f"frame_{bad:04d}.jpg")
    annotate(folder, tmp_path / "out.mp4", "sample.every=3")
    assert [row["analysed"] for row in rows(tmp_path / "out.csv")] == list("0100101")


def test_a_run_over_a_photo_that_cannot_be_read_goes_on(tmp_path: Path) -> None:
    from test_resume import stopping

    folder = media.image_folder(tmp_path / "photos", count=60)
    media.text_file(folder / "frame_0002.jpg")
    whole = annotate(folder, tmp_path / "whole.mp4", "source.rate=10")
    out = tmp_path / "out.mp4"
    assert annotate(folder, out, "source.rate=10", progress=stopping(45)).exit_code == 143
    again = annotate(folder, out, "source.rate=10", "output.resume=true")
    assert again.resumed_at > 2 and again.exit_code == 6 and again.unread == 1
    assert again.mean_area == pytest.approx(whole.mean_area)
    assert rows(out.with_suffix(".csv")) == rows(tmp_path / "whole.csv")


def test_a_folder_without_a_photo_that_can_be_read_is_an_error(tmp_path: Path) -> None:
    for name in ("a.jpg", "b.png"):
        media.text_file(tmp_path / name)
    with pytest.raises(SourceError, match=r"a\.jpg: cannot be read.*nor can any of the 1 other"):
        open_source(str(tmp_path), (8, 8), SourceConfig())


def test_hidden_files_are_no_photos(tmp_path: Path) -> None:
    media.text_file(tmp_path / "._IMG_1.jpg")
    media.photo(tmp_path / "IMG_1.jpg")
    assert [path.name for path in photos_in(tmp_path)] == ["IMG_1.jpg"]


# --- which photo a row is of


def test_photos_go_by_their_numbers_and_the_table_names_them(tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in (1, 2, 10):
        media.photo(folder / f"IMG_{number}.jpg")
    media.photo(folder / 'IMG_3, "bridge"\nwest.png')
    annotate(folder, tmp_path / "out.mp4")
    table = rows(tmp_path / "out.csv")
    names = ["IMG_1.jpg", "IMG_2.jpg", 'IMG_3, "bridge" west.png', "IMG_10.jpg"]
    assert [row["file"] for row in table] == names and list(table[0])[-1] == "file"
    assert len(kept_rows(tmp_path / "out.csv")) == 4


def test_the_table_of_one_photo_has_the_columns_of_a_film(tmp_path: Path) -> None:
    annotate(media.photo(tmp_path / "in.png"), tmp_path / "out.png")
    assert tuple(rows(tmp_path / "out.csv")[0]) == COLUMNS
