"""What comes out is what went in: pixels, times, rotation, sound, metadata; or a clear error."""

from __future__ import annotations

import shutil
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import media
import numpy as np
import pytest
from av.stream import Disposition

from rustvid.config import OutputConfig, SourceConfig
from rustvid.errors import SinkError, UsageError
from rustvid.training.examples import ExampleSet
from rustvid.video import check_output, open_sink, open_source
from rustvid.video.planes import mask_picture
from rustvid.video.sink import Template, part_of


def copied(
    source: Path,
    target: Path,
    start: float | None = None,
    end: float | None = None,
    **wanted: Any,
) -> list[str]:
    """Send every frame from the source to the sink, unchanged; returns the warnings."""
    with open_source(str(source), (32, 32), SourceConfig(start=start, end=end)) as reader:
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
    assert any(
        "subtitle" in warning and "it cannot be copied into .mp4" in warning for warning in warnings
    )
    with av.open(str(tmp_path / "tracks.mp4")) as container:
        kinds = [stream.type for stream in container.streams]
    assert kinds[:3] == ["video", "audio", "audio"] and "subtitle" not in kinds


def test_what_nobody_reads_back_from_a_ts_is_left_out_with_a_warning(tmp_path: Path) -> None:
    source = media.clip(tmp_path / "tracks.mp4", frames=20, subtitle=True)
    warnings = copied(source, tmp_path / "out.ts")
    assert any(
        "mov_text" in warning and "it cannot be copied into .ts" in warning for warning in warnings
    )
    with av.open(str(tmp_path / "out.ts")) as container:
        assert [stream.type for stream in container.streams] == ["video", "audio"]


@pytest.mark.parametrize("suffix", [".mov", ".mp4"])
def test_a_film_with_a_timecode_becomes_a_film(suffix: str, tmp_path: Path) -> None:
    """Its track of time code cannot be copied, FFmpeg would refuse the whole file at its end; it is
    made anew from the picture's tag."""
    told = {"timecode": "01:00:00:00"}
    source = media.clip(tmp_path / f"camera{suffix}", frames=40, metadata=told)
    assert copied(source, tmp_path / "out.mov") == []
    assert media.frame_times(tmp_path / "out.mov") == media.frame_times(source)
    with av.open(str(tmp_path / "out.mov")) as film:
        assert film.streams.video[0].metadata["timecode"] == "01:00:00:00"
    warnings = copied(source, tmp_path / "part.mov", start=0.5)
    assert "the time code is left out: it is that of the film's first frame" in warnings


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


@pytest.mark.parametrize("code", ["01:00:00;00", "nonsense"])
def test_a_timecode_that_fits_no_film_is_left_out(code: str, tmp_path: Path) -> None:
    """.mp4 would refuse to be begun."""
    source = media.clip(tmp_path / "film.mkv", frames=10, rate=Fraction(25), audio=0)
    with open_source(str(source), (32, 32), SourceConfig()) as reader:
        info = replace(reader.info, tags={"timecode": code})
        with open_sink(tmp_path / "out.mp4", Template(info, None, ()), OutputConfig()) as sink:
            for frame in reader.frames():
                sink.write(frame.picture, frame)
            sink.finish(())
    assert sink.warnings == [f"the time code {code} is left out: it fits no 25 frames/s"]
    assert len(media.frame_times(tmp_path / "out.mp4")) == 10


def remuxed(
    source: Path,
    target: Path,
    *,
    held: float | None = None,
    tags: dict[str, str] | None = None,
    fonts: bool = False,
) -> Path:
    """The same packets in another file. held: seconds that the last picture stands; tags: of the
    picture's stream; fonts: with an attachment"""
    with av.open(str(source)) as reader, av.open(str(target), "w") as writer:
        video = reader.streams.video[0]
        copy = writer.add_stream_from_template(video)
        copy.metadata.update(tags or {})
        if fonts:
            writer.add_attachment("sign.ttf", "application/x-truetype-font", b"\0" * 64)
        packets = [packet for packet in reader.demux(video) if packet.size]
        if held:
            last = max(packets, key=lambda packet: packet.pts)
            last.duration = round(held / last.time_base)
        for packet in packets:
            packet.stream = copy
            writer.mux(packet)
    return target


@pytest.mark.parametrize(
    ("suffix", "codec"), [(".mp4", "h264"), (".mkv", "h264"), (".webm", "vp9"), (".mov", "hevc")]
)
def test_the_last_picture_stands_as_long_as_it_did(
    suffix: str, codec: str, clip: Path, tmp_path: Path
) -> None:
    """A frame from a camera that waited, or the last slide: the film does not end before it."""
    source = remuxed(clip, tmp_path / "held.mp4", held=4.0)
    target = tmp_path / f"out{suffix}"
    copied(source, target, codec=codec)
    with av.open(str(source)) as before, av.open(str(target)) as after:
        assert before.duration and before.duration / av.time_base > 4.5
        assert after.duration == pytest.approx(before.duration, abs=0.02 * av.time_base)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_the_pictures_own_tags_are_kept(suffix: str, clip: Path, tmp_path: Path) -> None:
    tags = {"language": "jpn", "handler_name": "Left camera"}
    source = remuxed(clip, tmp_path / f"tagged{suffix}", tags=tags)
    target = tmp_path / f"out{suffix}"
    assert copied(source, target) == []
    with av.open(str(source)) as before, av.open(str(target)) as after:
        told = {key.lower(): value for key, value in after.streams.video[0].metadata.items()}
        assert told["language"] == "jpn" and told["handler_name"] == "Left camera"
        assert after.streams.video[0].disposition == before.streams.video[0].disposition


def test_chapters_and_texts_end_with_what_is_left(many_tracks: Path, tmp_path: Path) -> None:
    target = tmp_path / "begin.mkv"
    copied(many_tracks, target, end=0.5)
    length = float(media.frame_times(target)[-1]) + 0.1
    with av.open(str(target)) as after:
        ends = [float(c["end"] * c["time_base"]) for c in after.chapters()]
        (texts,) = after.streams.subtitles
        stood = [
            float((p.pts + p.duration) * p.time_base)
            for p in after.demux(texts)
            if p.size and p.pts
        ]
    assert max([*ends, *stood]) < length


@pytest.mark.parametrize("end", [None, 1.5])
@pytest.mark.parametrize("suffix", [".mp4", ".mov"])
def test_a_film_is_no_longer_than_it_was_for_its_last_text(
    suffix: str, end: float | None, tmp_path: Path
) -> None:
    source = media.clip(tmp_path / "source.mp4", frames=50, rate=Fraction(25), subtitle=True)
    target = tmp_path / f"out{suffix}"
    copied(source, target, end=end)
    with av.open(str(source)) as before, av.open(str(target)) as after:
        assert abs(after.duration / av.time_base - (end or before.duration / av.time_base)) < 0.05
    texts = media.packets(source, "subtitle")
    assert media.packets(target, "subtitle") == texts[: len(texts) if end is None else -1]


def test_a_last_text_that_runs_backwards_costs_no_film(tmp_path: Path) -> None:
    source = media.clip(tmp_path / "source.mp4", audio=0, subtitle=True)
    target = tmp_path / "out.mp4"
    with open_source(str(source), (32, 32), SourceConfig()) as reader:
        template = Template(reader.info, reader.container, reader.companions)
        with open_sink(target, template, OutputConfig()) as sink:
            texts: list[Any] = []
            for frame in reader.frames():
                texts += [packet for packet in frame.companions if packet.size]
                sink.write(frame.picture, replace(frame, companions=()))
            sink.finish((texts[-1], texts[0]))
    assert any("run backwards" in warning for warning in sink.warnings)
    assert len(media.frame_times(target)) == 30


def test_what_no_film_of_ours_holds_is_told(clip: Path, tmp_path: Path) -> None:
    source = remuxed(clip, tmp_path / "fonts.mkv", fonts=True)
    with open_source(str(source), (32, 32), SourceConfig()) as reader:
        assert reader.notes == ["attachment, stream 1 (sign.ttf): is left out of the result"]


@pytest.mark.parametrize(
    ("suffix", "told"), [(".ts", ".ts does not hold it"), (".avi", ".avi does not hold it")]
)
def test_a_time_code_that_is_lost_is_told(suffix: str, told: str, tmp_path: Path) -> None:
    code = {"timecode": "01:00:00:00"}
    source = media.clip(tmp_path / "camera.mov", frames=10, audio=0, metadata=code)
    assert any(told in warning for warning in copied(source, tmp_path / f"out{suffix}"))


def test_the_stream_marked_as_default_is_the_film(tmp_path: Path) -> None:
    """In a run as in an evaluation."""
    small, large = (
        media.clip(tmp_path / f"{width}.mkv", frames=4, size=(width, 120), audio=0)
        for width in (160, 200)
    )
    both = tmp_path / "both.mkv"
    with av.open(str(small)) as one, av.open(str(large)) as other, av.open(str(both), "w") as out:
        for reader, marked in ((one, False), (other, True)):
            copy = out.add_stream_from_template(reader.streams.video[0])
            copy.disposition = Disposition.default if marked else Disposition(0)
        for number, reader in enumerate((one, other)):
            for packet in reader.demux(video=0):
                if packet.size:
                    packet.stream = out.streams.video[number]
                    out.mux(packet)
    with open_source(str(both), (32, 32), SourceConfig()) as reader:
        assert reader.info.width == 200
        assert reader.notes == ["video, stream 0: is left out of the result"]
    assert next(iter(ExampleSet(both))).image.shape[1] == 200


def test_an_hevc_film_in_mp4_is_tagged_as_players_want_it(clip: Path, tmp_path: Path) -> None:
    copied(clip, tmp_path / "out.mp4", codec="hevc")
    assert b"hvc1" in (tmp_path / "out.mp4").read_bytes()


@pytest.mark.parametrize(
    ("vfr", "start"), [(False, None), (False, 0.05), (False, 0.25), (True, None)]
)
def test_an_avi_counts_its_pictures(vfr: bool, start: float | None, tmp_path: Path) -> None:
    """Also where the times of two round to one number."""
    source = media.clip(tmp_path / "film.mkv", frames=20, rate=Fraction(30), vfr=vfr, audio=0)
    copied(source, tmp_path / "out.avi", start=start)
    with open_source(str(source), (32, 32), SourceConfig(start=start)) as reader:
        rate, count = reader.info.rate, len(list(reader.frames()))
    with av.open(str(tmp_path / "out.avi")) as film:
        assert film.streams.video[0].average_rate == rate
        shown = [media.frame_number(f.to_ndarray(format="rgb24")) for f in film.decode(video=0)]
    assert len(dict.fromkeys(shown)) == count


@pytest.mark.parametrize(("suffix", "begin"), [(".mp4", "0"), (".mov", "1/30")])
def test_a_film_begins_at_its_exact_time(suffix: str, begin: str, tmp_path: Path) -> None:
    """A third of a tenth of a second is no whole number of milliseconds."""
    source = media.clip(tmp_path / "film.mkv", frames=10, audio=0)
    with open_source(str(source), (32, 32), SourceConfig()) as reader:
        template = Template(replace(reader.info, time_base=Fraction(1, 30)), None, ())
        with open_sink(tmp_path / f"out{suffix}", template, OutputConfig()) as sink:
            for number, frame in enumerate(reader.frames()):
                time = Fraction(begin) + Fraction(number, 30)
                sink.write(frame.picture, replace(frame, time=time, companions=()))
            sink.finish(())
    assert media.frame_times(tmp_path / f"out{suffix}")[0] == Fraction(begin)


def flipped(path: Path, matrix: tuple[int, ...]) -> Path:
    """Write another display matrix (a b c d, of 1) into the header of an .mp4 of one track."""
    data = bytearray(path.read_bytes())
    at = data.index(b"tkhd") + 4 + 40
    values = dict(zip((0, 1, 3, 4), matrix, strict=True))
    for place, value in values.items():
        data[at + 4 * place : at + 4 * place + 4] = (value * 65536).to_bytes(4, "big", signed=True)
    path.write_bytes(data)
    return path


@pytest.mark.parametrize(
    ("matrix", "turns"), [((-1, 0, 0, 1), 0), ((1, 0, 0, -1), 2), ((0, 1, 1, 0), 3)]
)
def test_a_mirrored_film_is_turned_but_not_mirrored_and_that_is_told(
    matrix: tuple[int, ...], turns: int, tmp_path: Path
) -> None:
    """It is never upside down: only left and right change sides."""
    source = flipped(media.clip(tmp_path / "film.mp4", frames=3, audio=0), matrix)
    with open_source(str(source), (32, 32), SourceConfig()) as reader:
        frames = list(reader.frames())
        assert [frame.picture.rotation for frame in frames] == [turns] * 3
        assert "mirrored" in " ".join(reader.notes)


@pytest.mark.parametrize("begins", [95443.7 - 1.0, 40_000.0], ids=["33 bits run full", "late"])
def test_a_clock_that_begins_anywhere_hides_nothing(begins: float, tmp_path: Path) -> None:
    """As of a recorder's .ts: .mp4 and .mkv hold no times before zero, and would show nothing
    for as long as it is late."""
    plain = media.clip(tmp_path / "plain.ts", frames=60)
    other = tmp_path / "other.ts"
    with (
        av.open(str(plain)) as reader,
        av.open(str(other), "w", options={"mpegts_copyts": "1"}) as writer,
    ):
        copies = {s.index: writer.add_stream_from_template(s) for s in reader.streams}
        for packet in reader.demux():
            if packet.size:
                shift = round((begins - 1.4) / packet.time_base)
                packet.pts, packet.dts = packet.pts + shift, packet.dts + shift
                packet.stream = copies[packet.stream.index]
                writer.mux(packet)
    with open_source(str(other), (32, 32), SourceConfig()) as reader:
        assert not 0 <= reader.info.start < 10
        assert "its clock begins" in " ".join(reader.notes)
    for suffix in (".mp4", ".mkv"):
        copied(other, tmp_path / f"out{suffix}")
        times = media.frame_times(tmp_path / f"out{suffix}")
        assert len(times) == 60 and 0 <= times[0] < 0.1
        assert media.packets(tmp_path / f"out{suffix}", "audio")
