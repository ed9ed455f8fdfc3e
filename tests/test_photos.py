"""Photos: one, or a folder of them as a film: what is looked at, measured and told of each."""

from __future__ import annotations

import csv
import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import media
import numpy as np
import pytest
from fakes import OWN, ColourModel, quick

from rustvid import outputs, pipeline
from rustvid.cli import main
from rustvid.config import SourceConfig
from rustvid.errors import SourceError
from rustvid.frames import Picture, Window
from rustvid.pipeline import run
from rustvid.report.csv import COLUMNS, kept_rows
from rustvid.report.summary import Summary
from rustvid.video import open_source, photos_in
from rustvid.video.headers import size_of_photo

pytestmark = pytest.mark.usefixtures("no_leftovers")


def annotate(source: Path, out: Path, *assignments: str, **wanted: Any) -> Summary:
    config = quick(f"output.path={json.dumps(str(out))}", *assignments)
    return run(replace(config, input=str(source)), model=ColourModel(), **wanted)


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


# --- what cannot be read


def test_of_a_cut_photo_one_line_is_said_and_libjpeg_says_none(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipeline, "Model", lambda *_: ColourModel())
    given = [f"--set={assignment}" for assignment in OWN]
    cut = media.truncated(media.photo(tmp_path / "a.jpg"), 0.6)
    assert main([str(cut), "--out", str(tmp_path / "o.png"), "--quiet", *given]) == 3
    told = capfd.readouterr().err.splitlines()
    assert len(told) == 1 and "is cut short" in told[0]


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


def test_the_frame_of_a_photo_that_cannot_be_read_shows_no_area(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = []

    def render(picture: Picture, mask: Any, evidence: Any, text: str, *rest: Any) -> Picture:
        texts.append(text)
        return picture

    monkeypatch.setattr(outputs, "render", render)
    folder = media.image_folder(tmp_path / "photos", count=2)
    media.text_file(folder / "frame_0001.jpg")
    annotate(folder, tmp_path / "out.mp4")
    assert "rust" in texts[0] and texts[1] == "corrupt"


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
    assert again.resumed_at > 2 and again.exit_code == 6 and again.unmeasured == 1
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


def test_a_name_that_is_no_utf8_stops_nothing(tmp_path: Path) -> None:
    """As an old camera's or an unpacked archive's."""
    folder = media.image_folder(tmp_path / "photos", count=2)
    odd = (folder / "frame_0001.jpg").rename(folder / os.fsdecode(b"caf\xe9.jpg"))
    out = Path(tmp_path, os.fsdecode(b"caf\xe9.png"))
    assert annotate(folder, tmp_path / "film.mp4").frames == 2
    assert annotate(odd, out).outputs[0] == out
    assert size_of_photo(out.read_bytes()) == (160, 120)


def test_the_table_of_one_photo_has_the_columns_of_a_film(tmp_path: Path) -> None:
    annotate(media.photo(tmp_path / "in.png"), tmp_path / "out.png")
    assert tuple(rows(tmp_path / "out.csv")[0]) == COLUMNS


# --- photos of another shape than the first


def rusty(path: Path, size: tuple[int, int], share: float) -> Path:
    """A gray photo (width, height) whose upper part has the colour of rust."""
    rgb = np.full((size[1], size[0], 3), 120, np.uint8)
    rgb[: round(share * size[1])] = media.RUST
    assert cv2.imwrite(str(path), cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR))
    return path


@pytest.fixture
def mixed(tmp_path: Path) -> Path:
    """Photos half of rust: lying, standing, small, lying."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for number, size in enumerate(((160, 120), (120, 160), (60, 30), (160, 120))):
        rusty(folder / f"{number}.png", size, 0.5)
    return folder


def test_the_area_of_a_photo_with_black_around_it_is_its_own(mixed: Path, tmp_path: Path) -> None:
    summary = annotate(mixed, tmp_path / "out.mkv", f"output.mask={tmp_path / 'masks.mkv'}")
    table = rows(tmp_path / "out.csv")
    assert [row["status"] for row in table] == ["ok", "resized", "resized", "ok"]
    for row in table:
        assert float(row["area_pct"]) == pytest.approx(50, abs=1.5)
    assert int(table[1]["area_px"]) == pytest.approx(90 * 60, rel=0.03)  # 90 of 160 columns
    assert summary.mean_area == pytest.approx(0.5, abs=0.01)
    masks = [rgb[..., 0] > 127 for rgb in media.decode_rgb(tmp_path / "masks.mkv")]
    standing, small = masks[1], masks[2]
    assert standing[10, 40:120].all() and not standing[:, :34].any()  # none of the black
    assert small[30:50].all() and not small[:19].any() and not small[62:].any()


def test_the_network_sees_a_photo_without_the_black(mixed: Path, tmp_path: Path) -> None:
    with open_source(str(mixed), (40, 40), SourceConfig()) as source:
        frames = list(source.frames())
    assert [frame.window for frame in frames] == [
        None,
        Window(0, 35, 120, 90),
        Window(20, 0, 80, 160),
        None,
    ]
    for frame in frames:
        assert np.abs(frame.image[25:].astype(int) - 120).max() == 0
        np.testing.assert_array_equal(frame.image[:15], np.broadcast_to(media.RUST, (15, 40, 3)))


def test_no_mask_is_carried_to_or_from_a_photo_with_black_around_it(
    mixed: Path, tmp_path: Path
) -> None:
    annotate(mixed, tmp_path / "out.mp4", "sample.every=10")
    assert [row["analysed"] for row in rows(tmp_path / "out.csv")] == list("1111")


def test_a_heat_map_lies_where_the_photo_does(mixed: Path, tmp_path: Path) -> None:
    given = ("render.view=heatmap", "render.text=false", "output.codec=ffv1")
    annotate(mixed, tmp_path / "out.mkv", *given)
    standing = media.decode_rgb(tmp_path / "out.mkv")[1].astype(int)
    assert standing[:, :30].max() < 80 and standing[:, 130:].max() < 80  # dark, as outside a photo
    hot = standing[5:50, 45:115].reshape(-1, 3).mean(0)
    assert np.abs(hot - standing[70:115, 45:115].reshape(-1, 3).mean(0)).max() > 60


def test_a_resumed_run_counts_the_areas_of_photos_as_they_were(tmp_path: Path) -> None:
    from test_resume import stopping

    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(60):
        rusty(folder / f"{number}.png", (90, 120) if number % 5 else (160, 120), 0.5)
    whole = annotate(folder, tmp_path / "whole.mp4", "source.rate=10")
    out = tmp_path / "out.mp4"
    assert annotate(folder, out, "source.rate=10", progress=stopping(45)).exit_code == 143
    again = annotate(folder, out, "source.rate=10", "output.resume=true")
    assert again.resumed_at > 2
    assert again.mean_area == pytest.approx(whole.mean_area, abs=1e-6)


# --- a part of them


def test_start_and_end_cut_a_folder_of_photos_as_they_cut_a_film(tmp_path: Path) -> None:
    folder = media.image_folder(tmp_path / "photos", count=20)
    given = ("source.rate=10", "source.start=0.5", "source.end=1.0")
    annotate(folder, tmp_path / "out.mp4", *given)
    table = rows(tmp_path / "out.csv")
    assert [row["file"] for row in table] == [f"frame_{n:04d}.jpg" for n in range(5, 10)]
    assert [float(row["time_s"]) for row in table] == [0.5, 0.6, 0.7, 0.8, 0.9]
    assert [row["frame"] for row in table] == list("01234")
    frames = [media.frame_number(rgb) for rgb in media.decode_rgb(tmp_path / "out.mp4")]
    assert frames == [5, 6, 7, 8, 9]
    with pytest.raises(SourceError, match=r"no photo from source\.start 2\.0 s"):
        annotate(folder, tmp_path / "none.mp4", "source.rate=10", "source.start=2")


def test_a_part_of_the_photos_goes_on_after_a_stop(tmp_path: Path) -> None:
    from test_resume import stopping

    folder = media.image_folder(tmp_path / "photos", count=60)
    given = ("source.rate=10", "source.start=1", "source.end=5")
    annotate(folder, tmp_path / "whole.mp4", *given)
    out = tmp_path / "out.mp4"
    assert annotate(folder, out, *given, progress=stopping(30)).exit_code == 143
    again = annotate(folder, out, *given, "output.resume=true")
    assert again.resumed_at > 2 and again.frames == 40
    assert rows(out.with_suffix(".csv")) == rows(tmp_path / "whole.csv")
