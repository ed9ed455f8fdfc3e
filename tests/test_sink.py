"""What comes out is what went in: pixels, times, rotation, sound, metadata; or a clear error."""

from __future__ import annotations

import shutil
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import media
import numpy as np
import pytest

from rustvid.config import OutputConfig, SourceConfig
from rustvid.errors import SinkError, UsageError
from rustvid.video import check_output, open_sink, open_source
from rustvid.video.planes import mask_picture
from rustvid.video.sink import Template, part_of


def copied(source: Path, target: Path, start: float | None = None, **wanted: Any) -> list[str]:
    """Send every frame from the source to the sink, unchanged; returns the warnings."""
    with open_source(str(source), (32, 32), SourceConfig(start=start)) as reader:
        template = Template(reader.info, reader.container, reader.companions)
        with open_sink(target, template, OutputConfig(**wanted)) as sink:
            for frame in reader.frames():
                sink.write(frame.picture, frame)
            sink.finish(reader.rest())
            return sink.warnings


@pytest.mark.parametrize(
    ("name", "wanted", "codec"),
    [
        ("a.mp4", {}, "h264"),
        ("a.mov", {}, "hevc"),
        ("a.mkv", {}, "av1"),
        ("a.webm", {"codec": "libvpx-vp9"}, "vp9"),
        ("a.ts", {}, "h264"),
        ("uneven.mp4", {"vfr": True}, "h264"),
        ("uneven.mkv", {"vfr": True}, "hevc"),
        ("turned.mp4", {"rotation": 90, "size": (120, 160)}, "h264"),
        ("turned.mkv", {"rotation": 270, "size": (120, 160)}, "h264"),
        ("deep.mp4", {"codec": "libx265", "pix_fmt": "yuv420p10le"}, "hevc"),
        ("wide-chroma.mp4", {"pix_fmt": "yuv422p10le"}, "h264"),
        ("anamorphic.mp4", {"pixel_aspect": Fraction(4, 3)}, "h264"),
        ("tagged.mp4", {"matrix": "bt2020", "full_range": True}, "hevc"),
    ],
)
def test_times_sound_and_looks_are_kept(
    name: str, wanted: dict[str, Any], codec: str, tmp_path: Path
) -> None:
    source = media.clip(tmp_path / name, frames=20, **wanted)
    target = tmp_path / f"out-{name}"
    assert copied(source, target, codec=codec) == []
    assert media.frame_times(target) == media.frame_times(source)
    assert media.packets(target, "audio") == media.packets(source, "audio")
    assert _looks(target) == _looks(source)
    before, after = media.decode_rgb(source), media.decode_rgb(target)
    assert [media.frame_number(rgb) for rgb in after] == list(range(20))
    assert max(np.abs(a.astype(int) - b).mean() for a, b in zip(before, after, strict=True)) < 4


@pytest.mark.parametrize("codec", ["h264", "hevc", "av1", "vp9", "ffv1"])
def test_full_range_stays_full_range(codec: str, tmp_path: Path) -> None:
    """Also where the encoder has no format of that name: black stays black."""
    source = media.clip(tmp_path / "full.mp4", frames=8, full_range=True)
    target = tmp_path / "out.mkv"
    assert copied(source, target, codec=codec) == []
    assert _looks(target)[-1][-1] == 2
    before, after = media.decode_rgb(source), media.decode_rgb(target)
    assert max(np.abs(a.astype(int) - b).mean() for a, b in zip(before, after, strict=True)) < 4


@pytest.mark.parametrize("suffix", [".avi", ".nut"])
def test_a_palette_is_full_range_whether_tagged_or_not(suffix: str, tmp_path: Path) -> None:
    source, target = tmp_path / f"palette{suffix}", tmp_path / "out.mkv"
    gray = np.repeat(np.arange(256, dtype=np.uint8)[None], 64, axis=0)
    palette = np.repeat(np.arange(256, dtype=np.uint8)[:, None], 4, axis=1)
    palette[:, 0] = 255  # opaque
    with av.open(str(source), "w") as container:
        stream = container.add_stream("rawvideo", rate=25)
        stream.width, stream.height, stream.pix_fmt = 256, 64, "pal8"
        container.mux(stream.encode(av.VideoFrame.from_ndarray((gray, palette), "pal8")))
        container.mux(stream.encode(None))
    copied(source, target, codec="ffv1")
    (rgb,) = media.decode_rgb(target)
    assert np.abs(rgb[..., 1].astype(int) - gray).max() <= 2  # not 15, as of limited range


def test_rgb_tagged_for_wide_colour_keeps_its_matrix(tmp_path: Path) -> None:
    source, target = tmp_path / "wide.mkv", tmp_path / "out.mp4"
    with av.open(str(source), "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = 160, 120, "bgr0"
        stream.codec_context.colorspace = 9
        frame = av.VideoFrame.from_ndarray(media.picture(0), "rgb24")
        container.mux(stream.encode(frame.reformat(format="bgr0")))
        container.mux(stream.encode(None))
    copied(source, target)
    assert _looks(target)[-1][0] == 9
    (rgb,) = media.decode_rgb(target)
    assert np.abs(rgb.astype(int) - media.picture(0)).mean() < 4


@pytest.mark.parametrize(
    ("name", "codec", "kept"),
    [("a.mkv", "h264", True), ("a.mp4", "av1", True), ("a.mkv", "ffv1", False)],
)
def test_a_pixels_shape_is_kept_or_its_loss_told(
    name: str, codec: str, kept: bool, tmp_path: Path
) -> None:
    shape = Fraction(16, 11)
    source = media.clip(tmp_path / "dv.mp4", frames=4, pixel_aspect=shape)
    warnings = copied(source, tmp_path / name, codec=codec)
    assert (_looks(tmp_path / name)[2] == shape) is kept
    assert any("shape 16/11 is lost" in warning for warning in warnings) is not kept


@pytest.mark.parametrize(("suffix", "kept"), [(".mkv", True), (".ts", False), (".avi", False)])
def test_a_rotation_is_kept_or_its_loss_told(suffix: str, kept: bool, tmp_path: Path) -> None:
    source = media.clip(tmp_path / "phone.mp4", frames=4, rotation=90)
    warnings = copied(source, tmp_path / f"out{suffix}")
    assert (_looks(tmp_path / f"out{suffix}")[3] == 90) is kept
    assert any("rotation is lost" in warning for warning in warnings) is not kept


def _looks(path: Path) -> tuple[Any, ...]:
    """What a player must know to show the picture right."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        context = stream.codec_context
        rotation = next(container.decode(stream)).rotation
        tags = context.colorspace, context.color_primaries, context.color_trc, context.color_range
        aspect = stream.sample_aspect_ratio or 1
        return context.width, context.height, aspect, rotation, tags


def test_lossless_output_is_bit_for_bit_the_decoded_picture(clip: Path, tmp_path: Path) -> None:
    target = tmp_path / "same.mkv"
    copied(clip, target, codec="ffv1")
    for before, after in zip(media.decode_rgb(clip), media.decode_rgb(target), strict=True):
        assert np.array_equal(before, after)


def test_odd_sizes_are_kept_with_a_warning(tmp_path: Path) -> None:
    source = media.clip(tmp_path / "odd.mkv", codec="ffv1", size=(161, 121), frames=4)
    target = tmp_path / "odd.mp4"
    warnings = copied(source, target)
    assert any("161×121" in warning for warning in warnings)
    assert _looks(target)[:2] == (161, 121)


def test_all_tracks_metadata_and_chapters_are_copied(many_tracks: Path, tmp_path: Path) -> None:
    target = tmp_path / "tracks.mkv"
    assert copied(many_tracks, target) == []
    with av.open(str(many_tracks)) as before, av.open(str(target)) as after:
        assert [s.type for s in after.streams] == [s.type for s in before.streams]
        assert after.metadata["title"] == "a bridge"
        assert [c["metadata"] for c in after.chapters()] == [
            c["metadata"] for c in before.chapters()
        ]
    assert media.packets(target, "subtitle") == media.packets(many_tracks, "subtitle")


@pytest.mark.parametrize(
    ("share", "left"),
    [
        (0, [(0, 0.5, "first half"), (0.5, 1, "second half")]),
        (0.25, [(0, 0.25, "first half"), (0.25, 0.75, "second half")]),
        (0.75, [(0, 0.25, "second half")]),
    ],
)
def test_chapters_are_those_of_what_is_left(
    many_tracks: Path, tmp_path: Path, share: float, left: list[tuple[float, float, str]]
) -> None:
    with av.open(str(many_tracks)) as before:
        whole = before.chapters()[-1]["end"] * before.chapters()[-1]["time_base"]
    target = tmp_path / "tracks.mkv"
    copied(many_tracks, target, start=float(share * whole))
    with av.open(str(target)) as after:
        found = [
            (c["start"] * c["time_base"], c["end"] * c["time_base"], c["metadata"]["title"])
            for c in after.chapters()
        ]
    for (begin, end, title), wanted in zip(found, left, strict=True):
        assert title == wanted[2]
        assert float(begin / whole) == pytest.approx(wanted[0], abs=0.01)
        assert float(end / whole) == pytest.approx(wanted[1], abs=0.01)


@pytest.mark.parametrize(("suffix", "told"), [(".ts", 1), (".avi", 1), (".mkv", 0), (".mov", 0)])
def test_chapters_that_cannot_be_kept_are_told(
    many_tracks: Path, tmp_path: Path, suffix: str, told: int
) -> None:
    target = tmp_path / f"tracks{suffix}"
    warnings = copied(many_tracks, target)
    assert sum("chapters are left out" in warning for warning in warnings) == told
    with av.open(str(target)) as after:
        assert len(after.chapters()) == 2 * (not told)


def test_what_a_container_cannot_hold_is_left_out_with_a_warning(
    many_tracks: Path, tmp_path: Path
) -> None:
    warnings = copied(many_tracks, tmp_path / "tracks.mp4")
    assert any("subtitle" in warning and ".mp4 cannot hold it" in warning for warning in warnings)
    with av.open(str(tmp_path / "tracks.mp4")) as container:
        kinds = [stream.type for stream in container.streams]
    assert kinds[:3] == ["video", "audio", "audio"] and "subtitle" not in kinds


def test_what_nobody_reads_back_from_a_ts_is_left_out_with_a_warning(tmp_path: Path) -> None:
    source = media.clip(tmp_path / "tracks.mp4", frames=20, subtitle=True)
    warnings = copied(source, tmp_path / "out.ts")
    assert any("mov_text" in warning and ".ts cannot hold it" in warning for warning in warnings)
    with av.open(str(tmp_path / "out.ts")) as container:
        assert [stream.type for stream in container.streams] == ["video", "audio"]


@pytest.mark.parametrize("suffix", [".mov", ".mp4"])
def test_a_film_with_a_timecode_becomes_a_film(suffix: str, tmp_path: Path) -> None:
    """Its track of timecode cannot be copied: FFmpeg would refuse the whole file at its end."""
    told = {"timecode": "01:00:00:00"}
    source = media.clip(tmp_path / f"camera{suffix}", frames=40, metadata=told)
    warnings = copied(source, tmp_path / "out.mov")
    assert [warning for warning in warnings if "data stream" in warning]
    assert media.frame_times(tmp_path / "out.mov") == media.frame_times(source)


def test_a_part_of_the_film_starts_at_zero_with_its_sound(tmp_path: Path) -> None:
    source = media.clip(tmp_path / "long.mp4", frames=60)
    target = tmp_path / "end.mp4"
    copied(source, target, start=1.0)
    times = media.frame_times(target)
    assert times[0] == 0 and len(times) == 30
    first_sound = media.packets(target, "audio")[0][0]
    assert first_sound is not None and 0 <= first_sound < 2 * 1024


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv", ".ts"])
def test_a_file_killed_while_it_is_written_plays_to_its_last_fragment(
    suffix: str, tmp_path: Path
) -> None:
    source = media.clip(tmp_path / "long.mp4", frames=150)
    target, killed = tmp_path / f"out{suffix}", tmp_path / f"killed{suffix}"
    with open_source(str(source), (32, 32), SourceConfig()) as reader:
        template = Template(reader.info, reader.container, reader.companions)
        with open_sink(target, template, OutputConfig()) as sink:
            for frame in reader.frames():
                sink.write(frame.picture, frame)
                if frame.index == 140:
                    shutil.copy(part_of(target), killed)  # what a SIGKILL would leave
                    break
    times = media.frame_times(killed)
    assert len(times) >= 60  # two seconds may be lost, and the encoder's look-ahead
    assert times == [Fraction(n, 30) for n in range(len(times))] or suffix == ".mkv"


def test_leaving_early_closes_the_part_and_gives_no_final_name(clip: Path, tmp_path: Path) -> None:
    target = tmp_path / "out.mp4"
    with (
        pytest.raises(KeyboardInterrupt),
        open_source(str(clip), (32, 32), SourceConfig()) as reader,
        open_sink(target, Template(reader.info, None, ()), OutputConfig()) as sink,
    ):
        for frame in reader.frames():
            sink.write(frame.picture, frame)
            if frame.index == 9:
                raise KeyboardInterrupt
    assert not target.exists()
    assert len(media.frame_times(part_of(target))) == 10


def test_masks_are_stored_losslessly_and_turned_like_the_film(
    tall_clip: Path, tmp_path: Path
) -> None:
    target = tmp_path / "masks.mkv"
    upright = media.patch_mask((120, 160))
    with (
        open_source(str(tall_clip), (32, 32), SourceConfig()) as reader,
        open_sink(target, Template(reader.info, None, ()), OutputConfig(codec="ffv1")) as sink,
    ):
        for frame in reader.frames():
            stored = np.ascontiguousarray(frame.picture.stored(upright))
            sink.write(mask_picture(stored, frame.picture), frame)
        sink.finish(())
    with av.open(str(target)) as container:
        frames = list(container.decode(video=0))
    assert len(frames) == 12
    for frame in frames:
        gray = frame.to_ndarray()
        assert frame.format.name == "gray" and set(np.unique(gray)) == {0, 255}
        assert np.array_equal(np.rot90(gray, frame.rotation // 90), upright * 255)


@pytest.mark.parametrize(
    ("name", "says"),
    [("there.mp4", "exists"), ("film.xyz", "unknown kind"), ("clip.mp4", "input itself")],
)
def test_outputs_that_would_destroy_or_fail_are_refused(
    name: str, says: str, tmp_path: Path
) -> None:
    (tmp_path / "there.mp4").touch()
    source = media.clip(tmp_path / "clip.mp4", frames=2)
    with pytest.raises(UsageError, match=says):
        check_output(tmp_path / name, False, [source])


def test_a_folder_that_is_missing_is_told(tmp_path: Path) -> None:
    with pytest.raises(SinkError, match="no such folder"):
        check_output(tmp_path / "nowhere" / "film.mp4", False, [])


def test_the_check_leaves_nothing_behind_and_keeps_a_part_file(tmp_path: Path) -> None:
    check_output(tmp_path / "film.mp4", False, [])
    assert list(tmp_path.iterdir()) == []
    part_of(tmp_path / "film.mp4").write_bytes(b"an earlier run")
    check_output(tmp_path / "film.mp4", False, [])
    assert part_of(tmp_path / "film.mp4").read_bytes() == b"an earlier run"


def test_every_error_class_of_pyav_becomes_a_sink_error(tmp_path: Path) -> None:
    """PyAV's errors are FFmpegError or OSError; a class that is neither would slip through."""
    classes = [c for c in vars(av.error).values() if isinstance(c, type)]
    errors = [c for c in classes if issubclass(c, Exception) and c.__module__ == "av.error"]
    assert errors and all(issubclass(c, (av.error.FFmpegError, OSError)) for c in errors)


@pytest.mark.parametrize("fields", ["", "tff=1"])
def test_an_interlaced_film_is_told(tmp_path: Path, fields: str) -> None:
    path = tmp_path / "field.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"x264-params": fields})
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        for _ in range(3):
            container.mux(stream.encode(av.VideoFrame(64, 64, "yuv420p")))
        container.mux(stream.encode())
    with open_source(str(path), (32, 32), SourceConfig()) as reader:
        assert len(list(reader.frames())) == 3
        assert [("is interlaced" in note) for note in reader.notes] == [True] * bool(fields)
