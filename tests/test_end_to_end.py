"""The whole line, with a network that sees the painted patch: a film in, a film and a table out."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import av
import cv2
import media
import numpy as np
import pytest
from cameras import Silent
from fakes import ColourModel, quick

import rustvid
from rustvid.config import Config, apply
from rustvid.errors import SourceCutShort
from rustvid.frames import Measured
from rustvid.pipeline import process, run
from rustvid.report.csv import COLUMNS
from rustvid.report.summary import Summary

pytestmark = pytest.mark.usefixtures("no_leftovers")


def annotate(source: Path, out: Path, *assignments: str) -> Summary:
    return run(_config(source, out, *assignments), model=ColourModel())


def _config(source: Path, out: Path, *assignments: str) -> Config:
    config = quick(f"output.path={json.dumps(str(out))}", *assignments)
    return replace(config, input=str(source))


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def iou(a: np.ndarray, b: np.ndarray) -> float:
    return float((a & b).sum() / max((a | b).sum(), 1))


def test_a_film_comes_back_whole_with_a_row_for_every_frame(clip: Path, tmp_path: Path) -> None:
    out, masks = tmp_path / "out.mp4", tmp_path / "masks.mkv"
    summary = annotate(clip, out, f"output.mask={masks}")
    assert summary.exit_code == 0 and summary.frames == 30
    assert summary.outputs == [out, tmp_path / "out.csv", masks]
    assert media.frame_times(out) == media.frame_times(clip)
    assert media.packets(out, "audio") == media.packets(clip, "audio")
    table = rows(tmp_path / "out.csv")
    assert tuple(table[0]) == COLUMNS
    assert [int(row["frame"]) for row in table] == list(range(30))
    assert [row["time_s"] for row in table] == [
        f"{float(time):.6f}" for time in media.frame_times(clip)
    ]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["masks.mkv", "out.csv", "out.mp4"]


def test_the_mask_covers_the_painted_patch(clip: Path) -> None:
    painted = media.patch_mask()
    for result in process(clip, quick(), ColourModel()):
        assert iou(result.mask, painted) > 0.85
        assert result.probability == pytest.approx(0.9)


def test_the_table_says_what_the_masks_hold(clip: Path, tmp_path: Path) -> None:
    masks = tmp_path / "masks.mkv"
    annotate(clip, tmp_path / "out.mp4", f"output.mask={masks}")
    with av.open(str(masks)) as container:
        areas = [np.count_nonzero(f.to_ndarray()) for f in container.decode(video=0)]
    table = rows(tmp_path / "out.csv")
    assert [int(row["area_px"]) for row in table] == areas
    for row, area in zip(table, areas, strict=True):
        assert float(row["area_pct"]) == pytest.approx(100 * area / (160 * 120), abs=1e-4)
        assert row["regions"] == "1" and row["largest_region_px"] == row["area_px"]


def test_only_the_mask_is_tinted(clip: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.mkv"
    annotate(clip, out, "render.text=false", "output.codec=ffv1")
    before, after = media.decode_rgb(clip)[10], media.decode_rgb(out)[10]
    changed = (before != after).any(axis=2)
    near = cv2.dilate(media.patch_mask(), np.ones((9, 9), np.uint8)).astype(bool)
    assert changed.any() and not (changed & ~near).any()


@pytest.mark.parametrize("method", ["advanced", "crf", "threshold", "student"])
def test_processes_give_what_one_process_gives(method: str, clip: Path) -> None:
    alone = quick(f"refine.method={method}", "workers=0", "source.end=0.3")
    together = apply(alone, "workers=2")
    first, second = (list(process(clip, c, ColourModel())) for c in (alone, together))
    assert len(first) == 9
    for a, b in zip(first, second, strict=True):
        assert a.frame.index == b.frame.index and np.array_equal(a.mask, b.mask)


def test_a_turned_film_is_measured_upright_and_stays_turned(
    tall_clip: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out.mp4"
    results = list(process(tall_clip, quick(), ColourModel()))
    assert iou(results[0].mask, media.patch_mask((120, 160))) > 0.85
    annotate(tall_clip, out)
    assert [rgb.shape for rgb in media.decode_rgb(out)] == [(160, 120, 3)] * 12


def test_frames_between_the_analysed_ones_are_tracked(clip: Path, tmp_path: Path) -> None:
    summary = annotate(clip, tmp_path / "out.mp4", "sample.every=5")
    table = rows(tmp_path / "out.csv")
    assert [row["analysed"] for row in table] == ["1", "0", "0", "0", "0"] * 6
    assert all(row["probability"] == "" for row in table if row["analysed"] == "0")
    assert summary.analysed == 6
    assert all(int(row["area_px"]) > 0 for row in table)


@pytest.mark.parametrize("view", ["heatmap", "mask", "side-by-side"])
def test_every_view_makes_a_film(view: str, clip: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.mp4"
    annotate(clip, out, f"render.view={view}", "source.end=0.2")
    expected = (120, 320, 3) if view == "side-by-side" else (120, 160, 3)
    assert [rgb.shape for rgb in media.decode_rgb(out)] == [expected] * 6


def test_a_photo_gives_an_annotated_photo(tmp_path: Path) -> None:
    source, out = media.photo(tmp_path / "in.png"), tmp_path / "out.png"
    summary = annotate(source, out, "render.text=false")
    assert summary.exit_code == 0 and summary.frames == 1
    before, after = cv2.imread(str(source)), cv2.imread(str(out))
    untouched = ~cv2.dilate(media.patch_mask(), np.ones((9, 9), np.uint8)).astype(bool)
    assert np.abs(before.astype(int) - after)[untouched].max() <= 1
    assert (before != after).any()


def test_a_folder_of_photos_gives_a_film(tmp_path: Path) -> None:
    folder = media.image_folder(tmp_path / "photos", count=5)
    out = tmp_path / "out.mp4"
    annotate(folder, out)
    assert [media.frame_number(rgb) for rgb in media.decode_rgb(out)] == list(range(5))


def test_a_cut_film_is_processed_to_the_cut_and_called_so(tmp_path: Path) -> None:
    cut = media.truncated(media.clip(tmp_path / "long.mkv", frames=150), 0.5)
    summary = annotate(cut, tmp_path / "out.mp4")
    assert isinstance(summary.error, SourceCutShort) and summary.exit_code == 3
    assert len(media.frame_times(tmp_path / "out.mp4")) == summary.frames > 30
    assert len(rows(tmp_path / "out.csv")) == summary.frames == len(media.decode_rgb(cut))
    with pytest.raises(SourceCutShort):
        summary.raise_for_error()


def test_clean_footage_has_no_corroded_frame(tmp_path: Path) -> None:
    class Blind(ColourModel):
        def look(self, images):  # type: ignore[no-untyped-def]
            answer = super().look(images)
            return replace(answer, probability=answer.probability * 0)

    source = media.clip(tmp_path / "clip.mp4", frames=6)
    summary = run(_config(source, tmp_path / "out.mp4"), model=Blind())
    assert summary.corroded == 0 and summary.mean_area == 0
    assert {row["area_px"] for row in rows(tmp_path / "out.csv")} == {"0"}


def test_a_frame_whose_refinement_fails_is_marked_and_the_others_are_done(
    clip: Path, tmp_path: Path
) -> None:
    class Broken(ColourModel):
        def look(self, images):  # type: ignore[no-untyped-def]
            answer = super().look(images)
            return replace(answer, evidence=answer.evidence[:, :0])  # nothing to enlarge

    summary = run(_config(clip, tmp_path / "out.mp4", "source.end=0.2"), model=Broken())
    assert summary.exit_code == 6 and summary.statuses["failed"] == 6
    assert summary.first_failure.startswith("frame 0: ")
    table = rows(tmp_path / "out.csv")
    assert {row["status"] for row in table} == {"failed"}
    assert {(row["area_px"], row["area_pct"]) for row in table} == {("", "")}  # no area, not 0
    assert summary.measured == 0 and summary.mean_area == 0


def test_the_public_names_work_as_the_readme_says(clip: Path) -> None:
    results = rustvid.process(clip, quick("source.end=0.1"), ColourModel())
    first = next(results)
    assert isinstance(first, Measured)
    assert (first.frame.index, first.mask.shape) == (0, (120, 160))
    results.close()  # leaving early stops the threads: no_leftovers looks


def test_the_default_finds_the_rust_of_real_footage(shared: Path, tmp_path: Path) -> None:
    film, masks = shared / "video" / "rusty_truck.mp4", tmp_path / "masks.mkv"
    config = apply(apply(Config(), "source.end=1.5"), f"output.mask={json.dumps(str(masks))}")
    summary = run(replace(config, input=str(film)))
    assert (summary.frames, summary.corroded, summary.exit_code) == (7, 7, 0)
    with av.open(str(masks)) as found, av.open(str(film.with_suffix(".masks.mkv"))) as true:
        for marked, truth in zip(found.decode(video=0), true.decode(video=0), strict=False):
            painted = truth.to_ndarray() > 0
            seen = cv2.resize(marked.to_ndarray(), painted.shape[::-1]) > 127
            assert iou(seen, painted) > 0.3  # the colour rule reaches 0.32 on the whole film


def test_no_warning_holds_the_password_of_an_address(tmp_path: Path) -> None:
    path = tmp_path / "film.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"x264-params": "tff=1"})
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        for _ in range(3):
            container.mux(stream.encode(av.VideoFrame(64, 64, "yuv420p")))
        container.mux(stream.encode())
    with Silent(path, 1.0) as server:
        url = server.url.replace("//", "//me:s3cret@")
        config = replace(quick(f"output.csv={tmp_path / 'out.csv'}"), input=url)
        summary = run(config, model=ColourModel())
    (told,) = summary.warnings
    assert "***@127.0.0.1" in told and "is interlaced" in told
    assert "s3cret" not in json.dumps(summary.as_dict())
