"""One contract for every source: whatever it reads, its frames keep the same promises."""

from __future__ import annotations

import itertools
import os
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import av
import media
import numpy as np
import pytest
from cameras import Silent
from fakes import ColourModel, quick
from garbage import collected

from rustvid.config import SourceConfig
from rustvid.errors import SourceCutShort, SourceError
from rustvid.files import masks_of
from rustvid.frames import Frame
from rustvid.pipeline import run
from rustvid.training.examples import film_examples
from rustvid.video import open_source
from rustvid.video.planes import canvas, rgb_of, video_frame
from rustvid.video.source import SourceInfo
from rustvid.video.times import rate_of

IMAGE_SIZE = (80, 60)
EVERY_KIND: dict[str, dict[str, Any]] = {
    "h264.mp4": {},
    "h264.mov": {},
    "h264.mkv": {},
    "h264.ts": {},
    "hevc.mp4": {"codec": "libx265"},
    "hevc-10-bit.mkv": {"codec": "libx265", "pix_fmt": "yuv420p10le"},
    "vp9.webm": {"codec": "libvpx-vp9"},
    "av1.mp4": {"codec": "libsvtav1"},
    "mjpeg.avi": {"codec": "mjpeg", "pix_fmt": "yuvj420p", "full_range": True},
    "mpeg4.avi": {"codec": "mpeg4"},
    "ffv1-odd.mkv": {"codec": "ffv1", "size": (161, 121)},
    "rgb.mkv": {"codec": "ffv1", "pix_fmt": "yuv444p"},
    "uneven.mkv": {"vfr": True},
}


def read(path: Path, **wanted: Any) -> tuple[SourceInfo, list[Frame]]:
    with open_source(str(path), IMAGE_SIZE, SourceConfig(**wanted)) as source:
        return source.info, list(source.frames())


@pytest.fixture(scope="module", params=[*EVERY_KIND, "folder", "photo.png"])
def kind(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("kinds")
    if request.param == "folder":
        return media.image_folder(folder / "folder", count=12)
    if request.param == "photo.png":
        return media.photo(folder / "photo.png")
    return media.clip(folder / request.param, frames=12, **EVERY_KIND[request.param])


def test_every_source_keeps_the_contract(kind: Path) -> None:
    info, frames = read(kind)
    assert len(frames) == (1 if kind.name == "photo.png" else 12)
    assert [frame.index for frame in frames] == list(range(len(frames)))
    assert all(a.time < b.time for a, b in itertools.pairwise(frames))
    assert all(isinstance(frame.time, Fraction) for frame in frames)
    for frame in frames:
        assert frame.status == "ok"
        assert frame.image.shape == (60, 80, 3) and frame.image.dtype == np.uint8
        assert frame.image.flags.c_contiguous
        assert frame.picture.shape == (info.height, info.width)
        luma, *chroma = frame.picture.planes
        for plane in chroma:
            assert plane.shape[0] == -(-luma.shape[0] // 2**frame.picture.shift_y)
            assert plane.shape[1] == -(-luma.shape[1] // 2**frame.picture.shift_x)
        assert media.frame_number(rgb_of(frame.picture)) == frame.index
    # of an uneven .mkv nobody knows the number of frames before the end
    if kind.name != "uneven.mkv":
        assert info.expected_frames is not None
        assert abs(info.expected_frames - len(frames)) <= 1


@pytest.mark.parametrize("name", ["h264.mp4", "h264.ts", "uneven.mkv"])
def test_times_are_those_of_the_container(name: str, tmp_path: Path) -> None:
    path = media.clip(tmp_path / name, **EVERY_KIND[name])
    assert [frame.time for frame in read(path)[1]] == media.frame_times(path)


@pytest.mark.parametrize("rotation", [0, 90, 180, 270])
def test_the_network_sees_the_picture_upright(rotation: int, tmp_path: Path) -> None:
    path = media.clip(tmp_path / "turned.mp4", frames=2, size=(120, 160), rotation=rotation)
    with open_source(str(path), (120, 160), SourceConfig()) as source:
        first = next(iter(source.frames()))
    assert first.picture.upright_shape == (160, 120)
    seen = media.picture(0, (120, 160)).astype(int)
    assert np.abs(first.image.astype(int) - seen).mean() < 4


@pytest.mark.parametrize("matrix", ["bt601", "bt709", "bt2020"])
@pytest.mark.parametrize("full_range", [False, True])
@pytest.mark.parametrize("pix_fmt", ["yuv444p", "yuv444p10le"])
def test_colours_come_back_whatever_matrix_and_range(
    matrix: str, full_range: bool, pix_fmt: str, tmp_path: Path
) -> None:
    path = media.clip(
        tmp_path / "colour.mkv",
        frames=1,
        codec="ffv1",
        pix_fmt=pix_fmt,
        matrix=matrix,
        full_range=full_range,
    )
    with open_source(str(path), (160, 120), SourceConfig()) as source:
        frame = next(iter(source.frames()))
    assert (frame.picture.matrix, frame.picture.full_range) == (matrix, full_range)
    assert np.abs(frame.image.astype(int) - media.picture(0)).max() <= 3


@pytest.mark.parametrize("matrix", ["bt601", "bt709", "bt2020"])
@pytest.mark.parametrize("full_range", [False, True])
@pytest.mark.parametrize("pix_fmt", ["yuv420p", "yuv422p10le"])
def test_a_smaller_picture_is_neither_darker_nor_of_another_hue(
    matrix: str, full_range: bool, pix_fmt: str, tmp_path: Path
) -> None:
    looks = {"pix_fmt": pix_fmt, "matrix": matrix, "full_range": full_range}
    path = media.clip(tmp_path / "colour.mkv", frames=1, codec="ffv1", **looks)
    with open_source(str(path), (80, 60), SourceConfig()) as source:
        seen = next(iter(source.frames())).image.astype(float)
    true = media.picture(0).reshape(60, 2, 80, 2, 3).mean((1, 3))
    assert np.abs((seen - true).mean((0, 1))).max() < 1
    assert np.abs(seen - true).mean() < 3


def test_a_canvas_is_a_copy_that_is_encoded_as_it_is(clip: Path) -> None:
    with open_source(str(clip), (80, 60), SourceConfig()) as source:
        picture = next(iter(source.frames())).picture
    before = picture.planes[0].copy()
    drawn = canvas(picture)
    drawn.planes[0][:] = 77
    np.testing.assert_array_equal(picture.planes[0], before)
    encoded = video_frame(drawn)
    assert encoded is drawn.frame and encoded is not picture.frame
    assert (encoded.to_ndarray()[: before.shape[0]] == 77).all()
    assert video_frame(picture) is not video_frame(picture)  # of a decoder's, copies


def test_untagged_video_is_taken_for_what_players_take_it() -> None:
    from rustvid.video.planes import matrix_of

    class Untagged:
        colorspace = 2

        def __init__(self, width: int, height: int) -> None:
            self.width, self.height = width, height

    assert matrix_of(Untagged(720, 576)) == "bt601"  # type: ignore[arg-type]
    assert matrix_of(Untagged(1280, 720)) == "bt709"  # type: ignore[arg-type]
    assert matrix_of(Untagged(1080, 1920)) == "bt709"  # type: ignore[arg-type]


def test_start_and_end_cut_exactly_between_key_frames(tmp_path: Path) -> None:
    path = media.clip(tmp_path / "long.mp4", frames=60)
    _, frames = read(path, start=0.5, end=1.5)
    assert [media.frame_number(rgb_of(f.picture)) for f in frames] == list(range(15, 45))
    assert frames[0].time == Fraction(1, 2) and frames[0].index == 0


def test_a_start_after_the_end_of_the_film_is_an_error(clip: Path) -> None:
    with pytest.raises(SourceError, match=r"no frame after source\.start 99"):
        read(clip, start=99.0)


def test_sound_comes_with_the_frames_and_none_is_lost(many_tracks: Path) -> None:
    with open_source(str(many_tracks), IMAGE_SIZE, SourceConfig()) as source:
        packets = [p for frame in source.frames() for p in frame.companions] + list(source.rest())
        kinds = [packet.stream.type for packet in packets]
    audio = media.packets(many_tracks, "audio")
    assert kinds.count("audio") == 2 * len(audio)
    assert kinds.count("subtitle") == len(media.packets(many_tracks, "subtitle"))


@pytest.mark.parametrize("suffix", [".mkv", ".ts"])
def test_a_cut_file_gives_its_frames_and_then_says_so(suffix: str, tmp_path: Path) -> None:
    whole = media.clip(tmp_path / f"long{suffix}", frames=150)
    seen: list[Frame] = []
    source = open_source(str(media.truncated(whole, 0.5)), IMAGE_SIZE, SourceConfig())
    if suffix == ".ts":  # a stream has no headers that promise a length: it just ends
        with source:
            assert 30 < len(list(source.frames())) < 150
        return
    with source, pytest.raises(SourceCutShort, match="cut short"):
        seen.extend(source.frames())


@pytest.mark.parametrize("suffix", [".mkv", ".mp4", ".ts"])
def test_a_film_that_begins_late_is_not_called_cut_short(suffix: str, tmp_path: Path) -> None:
    """As of a recorded stream, or where the sound begins first."""
    clip = media.clip(tmp_path / "clip.mp4", frames=60)
    late = media.delayed(clip, tmp_path / f"late{suffix}", Fraction(3, 2))
    info, frames = read(late)
    assert len(frames) == info.expected_frames == 60 and frames[0].time >= Fraction(3, 2)
    info, frames = read(late, end=2.5)
    assert info.expected_frames is not None and abs(info.expected_frames - len(frames)) <= 1


def test_where_the_sound_begins_first_the_clock_is_not_late(tmp_path: Path) -> None:
    """The sound before the first picture would be left out."""
    clip, path = media.clip(tmp_path / "clip.mp4", frames=15 * 30), tmp_path / "film.mp4"
    with av.open(str(clip)) as source, av.open(str(path), "w") as film:
        copies = {s.index: film.add_stream_from_template(s) for s in source.streams}
        for packet in source.demux():
            late = packet.pts is not None and packet.pts * packet.time_base >= 12
            if packet.size and (late or packet.stream.type == "audio"):
                packet.stream = copies[packet.stream.index]
                film.mux(packet)
    info, frames = read(path)
    assert info.start == 0 and frames[0].time >= 12
    info, frames = read(media.delayed(clip, tmp_path / "late.mp4", Fraction(12)))
    assert info.start == frames[0].time == 12


def test_an_avi_is_sought_at_its_very_beginning(tmp_path: Path) -> None:
    """FFmpeg refuses times below 0 there."""
    clip = media.clip(tmp_path / "clip.avi", frames=20)
    _, frames = read(clip)
    _, some = read(clip, start=float(frames[0].time) - 0.001)
    assert [frame.index for frame in some] == [frame.index for frame in frames]


def test_a_cut_file_loses_no_frame_before_the_cut(tmp_path: Path) -> None:
    whole = media.clip(tmp_path / "long.mkv", frames=150)
    numbers = []
    source = open_source(str(media.truncated(whole, 0.5)), IMAGE_SIZE, SourceConfig())
    with source, pytest.raises(SourceCutShort):
        for frame in source.frames():
            numbers.append(media.frame_number(rgb_of(frame.picture)))
    assert len(numbers) > 30 and numbers == list(range(len(numbers)))


def test_corrupt_packets_are_marked_and_do_not_end_the_film(tmp_path: Path) -> None:
    whole = media.clip(tmp_path / "long.mp4", frames=90, options={"g": "15"})
    with open_source(str(media.noisy(whole)), IMAGE_SIZE, SourceConfig()) as source:
        frames = list(source.frames())
        damaged = [frame for frame in frames if frame.status != "ok"]
        assert len(frames) > 45
        assert damaged or source.damaged_packets


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda folder: folder / "nothing.mp4", "no such file"),
        (lambda folder: media.empty_file(folder / "empty.mp4"), "empty"),
        (lambda folder: media.text_file(folder / "text.mp4"), "cannot be opened"),
        (lambda folder: media.audio_only(folder / "sound.mp4"), "no video stream"),
        (lambda folder: media.text_file(folder / "text.jpg"), "cannot be read as a picture"),
        (lambda folder: folder, "holds no pictures"),
    ],
)
def test_what_cannot_be_read_is_told_in_one_line(make: Any, says: str, tmp_path: Path) -> None:
    path = make(tmp_path)
    with pytest.raises(SourceError, match=says) as caught:
        read(path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_an_mp4_cut_before_its_index_cannot_be_opened(tmp_path: Path) -> None:
    whole = media.clip(tmp_path / "long.mp4", frames=90)
    with pytest.raises(SourceError, match="cannot be opened as video"):
        read(media.truncated(whole, 0.6))


@pytest.mark.parametrize("name", ["film.mp4", "photo.jpg"])
def test_a_pipe_is_refused_and_not_waited_for(name: str, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / name)
    with pytest.raises(SourceError, match="is a pipe"):
        open_source(str(tmp_path / name), IMAGE_SIZE, SourceConfig())


def test_a_picture_larger_than_allowed_is_refused_before_it_is_decoded(clip: Path) -> None:
    with pytest.raises(SourceError, match=r"source\.max_pixels"):
        read(clip, max_pixels=1000)


def test_a_playlist_cannot_reach_for_other_protocols(tmp_path: Path) -> None:
    playlist = tmp_path / "list.m3u8"
    playlist.write_text("#EXTM3U\n#EXTINF:1,\nhttp://127.0.0.1:9/x.ts\n#EXT-X-ENDLIST\n")
    with pytest.raises(SourceError):
        read(playlist)


def test_a_folder_of_photos_of_two_sizes_becomes_one_film(tmp_path: Path) -> None:
    folder = media.image_folder(tmp_path / "mixed", count=2)
    media.photo(folder / "z-tall.jpg", size=(60, 200))
    info, frames = read(folder)
    assert (info.width, info.height) == (160, 120)
    assert [frame.status for frame in frames] == ["ok", "ok", "resized"]


# --- at an address


def test_a_film_whose_server_falls_silent_is_cut_short_and_says_so(tmp_path: Path) -> None:
    film = media.clip(tmp_path / "film.mkv", frames=120)
    config = SourceConfig(read_timeout=0.5)
    frames: list[Frame] = []
    with Silent(film, 0.7) as server, open_source(server.url, IMAGE_SIZE, config) as source:
        with pytest.raises(SourceCutShort, match=r"cut short.* server was silent for 0\.5 s"):
            frames.extend(source.frames())
        assert source.damaged_packets == 0
    assert 20 < len(frames) < 120


def test_a_server_that_does_not_answer_is_not_waited_for(tmp_path: Path) -> None:
    film = media.clip(tmp_path / "film.mkv", frames=12)
    words = r"film\.mkv: the server was silent for 0\.5 s; .*source\.open_timeout"
    with Silent(film, 0.0) as server, pytest.raises(SourceError, match=words):
        open_source(server.url, IMAGE_SIZE, SourceConfig(open_timeout=0.5, read_timeout=0.5))


def test_a_server_that_falls_silent_before_the_start_is_not_waited_for(tmp_path: Path) -> None:
    film = media.clip(tmp_path / "film.mkv", frames=120)
    config = SourceConfig(open_timeout=0.5, read_timeout=0.5, start=3.0)
    told = pytest.raises(SourceError, match=r"server was silent for 0\.5 s")
    with Silent(film, 0.7) as server, open_source(server.url, IMAGE_SIZE, config) as source, told:
        list(source.frames())


@pytest.mark.parametrize(
    ("told", "rate"),
    [
        ((Fraction(30000, 1001), None, None), Fraction(30000, 1001)),
        ((None, Fraction(25), None), Fraction(25)),
        ((Fraction(60000), Fraction(60000), Fraction(30)), Fraction(30)),  # a .dv
        ((Fraction(60000), None, None), Fraction(25)),
        ((Fraction(960), None, None), Fraction(960)),
    ],
)
def test_a_rate_that_no_camera_has_is_not_believed(
    told: tuple[Fraction | None, ...], rate: Fraction
) -> None:
    names = ("average_rate", "guessed_rate", "base_rate")
    assert rate_of(SimpleNamespace(**dict(zip(names, told, strict=True)))) == rate


@pytest.mark.parametrize("turned", [0, 90])
def test_no_picture_waits_for_the_garbage_collector(turned: int, tmp_path: Path) -> None:
    """It comes when there are many small things, however large they are: a long film would fill
    the memory long before."""
    path = media.clip(tmp_path / "film.mp4", frames=40, rotation=turned)
    with collected() as found, open_source(str(path), IMAGE_SIZE, SourceConfig()) as source:
        for frame in source.frames():
            assert frame.image.any()
        del frame
    assert found["VideoFrame"] <= 2  # the first one, of which is asked how it is turned
    assert found["ndarray"] == 0


@pytest.mark.parametrize("view", ["overlay", "side-by-side"])
def test_no_picture_of_a_whole_run_does_either(view: str, clip: Path, tmp_path: Path) -> None:
    config = quick(f"output.path={tmp_path / 'out.mp4'}", f"render.view={view}", "sample.every=3")
    with collected() as found:
        run(replace(config, input=str(clip)), model=ColourModel()).raise_for_error()
    assert found["VideoFrame"] <= 4  # the run opens the film more than once
    assert found["Measured"] == found["Picture"] == 0


def test_no_picture_with_a_true_mask_does_either(tmp_path: Path) -> None:
    film = media.clip(tmp_path / "film.mp4", frames=40, rotation=90)
    media.clip(masks_of(film), frames=40, codec="ffv1", pix_fmt="gray")
    with collected() as found:
        for example in film_examples(film):
            assert example.seen((32, 32)).any()
        del example
    assert found["VideoFrame"] <= 2
