"""A video as a sink: encoded, muxed with the input's other streams, whole whatever happens.

It is written in fragments that play up to the last one after a crash; leaving the `with` without
`finish` closes the part file properly.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import av
from av.bitstream import BitStreamFilterContext
from av.video.frame import PictureType
from av.video.reformatter import ColorRange, VideoReformatter

from rustvid.config import OutputConfig
from rustvid.errors import SinkError
from rustvid.frames import Frame, Picture
from rustvid.video import priority
from rustvid.video.accelerators import accelerated
from rustvid.video.border import border
from rustvid.video.copies import codec_name, holds, is_adts
from rustvid.video.encoders import CONTAINERS, ENCODERS, encoder_options, pixel_format
from rustvid.video.excerpt import cut, nothing_after, within
from rustvid.video.planes import video_frame
from rustvid.video.sink import Sink, Template
from rustvid.video.streams import fitting_tags

_LIVE_FRAGMENT = 500_000  # microseconds: who plays the file of a camera is not far behind
GROUP_SECONDS = 1  # between key frames, and so between fragments
_WAIT_SECONDS = 0.25  # that a packet may wait in the muxer for those of other streams
# hybrid_fragmented: fragments while it is written, an ordinary indexed file once closed;
# delay_moov: the fragments too have the edit list that B-frames and sound's priming need
_MOV_FLAGS = "hybrid_fragmented+frag_keyframe+delay_moov+default_base_moof+use_metadata_tags"
_MUXER_OPTIONS = {
    "mp4": {"movflags": _MOV_FLAGS, "movie_timescale": "90000"},  # else a start has whole ms
    "mov": {"movflags": _MOV_FLAGS, "movie_timescale": "90000"},
    "mpegts": {"mpegts_copyts": "1"},  # times as in the input, not from a start of its own
    "matroska": {"cluster_time_limit": "500"},  # ms: a cluster is written when it is complete
    "webm": {"cluster_time_limit": "500"},
}
# PyAV cannot tell these muxers the pixels' shape, and these codecs do not say it themselves.
_SHAPELESS, _UNSHAPED = ("matroska", "webm"), ("av1", "vp9", "ffv1")
_POOR = ("avi", "mpegts")  # no place to say that a picture is stored on its side, nor for chapters
_SETTLES = {"matroska": 0.5, "webm": 0.5}  # seconds more until what was muxed is in the file


class VideoSink(Sink):
    """Encodes pictures and copies packets. Errors of FFmpeg become SinkError here.

    A group of pictures begins with every second of the film: a fragment ends there, and a broken
    run goes on from there (see resume.py).
    """

    def __init__(
        self, path: Path, template: Template, config: OutputConfig, part: Path | None = None
    ) -> None:
        super().__init__(path, part)
        self._template = template
        self._config = config
        self._format = CONTAINERS[path.suffix.lower()]
        self._container: Any = None
        self._video: Any = None
        self._copies: dict[int, Any] = {}  # index of the input's stream → stream of the output
        self._filters: dict[int, Any] = {}  # index of the input's stream → bit stream filter
        self._texts: dict[int, Any] = {}  # index of the output's stream → what ends its last text
        self._to_encoder = VideoReformatter()
        self._whole = True  # all that was muxed is in the file
        self._durations: dict[int, int] = {}  # of the pictures in the encoder, by their times
        self._tick = template.info.time_base
        self._latest = -1  # pts of the last picture
        self._group = -1  # number of the second that the last picture is in
        self._muxed = 0  # packets of the video
        self._ended_groups: list[tuple[int, float]] = []  # pictures up to there, settled when

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close what `finish` has not: the part file then plays up to the last frame written."""
        if self._container is None:
            return
        try:
            self._close()
        except SinkError:
            if kind is None:
                raise
        finally:
            if self.part.exists() and not self.part.stat().st_size:
                self.part.unlink()

    def write(self, picture: Picture, frame: Frame) -> None:
        """Encode one picture at the frame's time, after the companions read before it."""
        with border(self.path):
            if self._container is None:
                self._start(picture)
            self._copy(frame.companions)
            self._mux_picture(picture, frame)

    def hear(self, packets: Sequence[Any]) -> None:
        """Copy companions that came after the last picture, of which no tap is to know again."""
        with border(self.path):
            VideoSink._copy(self, packets)

    def complete(self, rest: Sequence[Any]) -> None:
        """Write what is left and close."""
        if self._container is None:
            return
        with border(self.path):
            self._copy(rest)
        self._close()

    def _start(self, picture: Any) -> None:
        options = {
            "flush_packets": "1",
            "avoid_negative_ts": "disabled",
            "max_interleave_delta": str(round(_WAIT_SECONDS * 1_000_000)),
        }
        options |= _MUXER_OPTIONS.get(self._format, {})
        if self._template.info.live and "movflags" in options:
            options["frag_duration"] = str(_LIVE_FRAGMENT)
            if not self._config.segment:  # its index would grow for weeks
                options["movflags"] = _MOV_FLAGS.removeprefix("hybrid_fragmented+")
        if self._format == "avi":
            self._warn(
                "avi keeps no frame times of its own: they may shift; .mkv and .mp4 keep them"
            )
        self._container = self._container_to(options)
        try:
            self._copy_headers()
            self._video = self._add_video(picture)
            for stream in self._template.companions:
                self._add_copy(stream)
            with priority.unchanged():
                self._container.start_encoding()
        except BaseException:  # what has not started cannot be closed, only let go
            self._container = self._video = None
            self._copies.clear()
            self.part.unlink(missing_ok=True)
            raise

    def _container_to(self, options: dict[str, str]) -> Any:
        return av.open(f"file:{self.part}", "w", format=self._format, options=options)

    def _copy_headers(self) -> None:
        source = self._template.container
        if source is None:
            return
        skip = {"major_brand", "minor_version", "compatible_brands", "encoder", "timecode"}
        self._container.metadata.update(
            {key: value for key, value in source.metadata.items() if key.lower() not in skip}
        )
        info = self._template.info
        if chapters := within(info.start, info.end, source.chapters()):
            self._container.set_chapters(chapters)
            if self._format in _POOR:
                self._warn(f"chapters are left out: {self.path.suffix} cannot hold them")

    def _add_video(self, picture: Any) -> Any:
        info, config = self._template.info, self._config
        kind = f"full-range {picture.format}" if picture.full_range else picture.format
        hardware, told = accelerated(config, kind, picture.shape, info.rate)
        if told:
            self._warn(told)
        software = encoder_options(config, self._format, info.rate, info.live)
        stream = self._container.add_stream(
            hardware.name if hardware else ENCODERS[config.codec],
            rate=info.rate,
            options=hardware.options if hardware else software,
        )
        context = stream.codec_context
        tags, lost = fitting_tags(info, self.path.suffix, holds_code=self._format not in _POOR)
        stream.metadata.update(tags)
        for text in lost:
            self._warn(text)
        if info.disposition:
            stream.disposition = info.disposition
        stream.height, stream.width = picture.shape
        software_kind = None if hardware else self._pixel_format(picture, context)
        stream.pix_fmt = hardware.pixel_format if hardware else software_kind
        context.thread_count = self.threads
        if self._format == "avi":  # it numbers pictures, and takes a tick for one
            self._tick = 1 / info.rate
        context.time_base = self._tick
        context.sample_aspect_ratio = picture.pixel_aspect
        if picture.pixel_aspect != 1 and self._format in _SHAPELESS and config.codec in _UNSHAPED:
            self._warn(
                f"the pixels' shape {picture.pixel_aspect} is lost: {self.path.suffix} with "
                f"{config.codec} does not hold it; .mp4 does, and so do h264 and hevc"
            )
        longest = max(1, round(2 * GROUP_SECONDS * info.rate))  # they are begun by the clock
        self._tag(context, config.codec)
        context.gop_size = 1 if config.codec == "ffv1" else longest
        context.color_primaries, context.color_trc, matrix, colour_range = info.colour
        if info.rgb:
            matrix, colour_range = {"bt709": 1, "bt601": 6, "bt2020": 9}[picture.matrix], 2
        context.colorspace = matrix
        context.color_range = 2 if picture.full_range else colour_range
        if picture.rotation:
            stream.set_display_rotation(picture.rotation * 90)
            if self._format in _POOR:
                self._warn(
                    f"the rotation is lost: {self.path.suffix} does not hold it, so players show "
                    f"the film turned by {picture.rotation * 90} degrees; .mp4 and .mkv hold it"
                )
        return stream

    def _add_encoded(self, picture: Any) -> Any:
        """A stream of pictures that are encoded already, as PyAV's stream `picture`."""
        copy = self._container.add_stream_from_template(picture, opaque=True)
        copy.metadata.update(picture.metadata)
        copy.disposition = picture.disposition
        context = copy.codec_context
        # The encoder's own headers do not say these two rightly, or not at all.
        context.framerate = picture.average_rate or self._template.info.rate
        context.sample_aspect_ratio = picture.sample_aspect_ratio or 1
        self._tag(context, picture.codec_context.name)
        return copy

    def _tag(self, context: Any, codec: str) -> None:
        is_hevc = codec == "libx265" or codec.startswith("hevc")  # hevc_nvenc, hevc_qsv, …
        if is_hevc and self._format in ("mp4", "mov"):
            context.codec_tag = "hvc1"  # Apple's players know no other

    def _pixel_format(self, picture: Picture, context: Any) -> str:
        """The format in which the encoder takes the picture with the least change."""
        supported = [known.name for known in context.codec.video_formats or []]
        rgb = self._template.info.rgb
        found, told = pixel_format(self._config.codec, picture, rgb, supported)
        if found is None:
            raise SinkError(f"{self.path}: {'; '.join(told)}")
        for text in told:
            self._warn(text)
        return found

    def _warn(self, text: str) -> None:
        if text not in self.warnings:
            self.warnings.append(text)

    def _add_copy(self, stream: Any) -> None:
        name = f"{stream.type} stream {stream.index} ({codec_name(stream)})"
        if not holds(self._format, stream):
            self._warn(f"{name} is left out: it cannot be copied into {self.path.suffix}")
            return
        copy = self._container.add_stream_from_template(stream)
        copy.metadata.update(stream.metadata)
        copy.disposition = stream.disposition
        self._copies[stream.index] = copy
        if self._format in ("mp4", "mov") and is_adts(stream):
            self._filters[stream.index] = BitStreamFilterContext("aac_adtstoasc", stream)

    def _copy(self, packets: Sequence[Any]) -> None:
        start, end = self._template.info.start, self._template.info.end
        for packet in packets:
            target = self._copies.get(packet.stream.index)
            stamp = packet.pts if packet.pts is not None else packet.dts
            if target is None or stamp is None:
                continue
            shift = round(start / packet.time_base)
            if target.type == "subtitle":
                over = None if end is None else round(end / packet.time_base)
                stamp = cut(packet, stamp, shift, over)
            if start and stamp < shift:
                continue
            if packet.pts is not None:
                packet.pts -= shift
            if packet.dts is not None:
                packet.dts -= shift
            ending = nothing_after(packet, stamp - shift, target)
            self._mux_copy(packet, target, ending)

    def _mux_copy(self, packet: Any, target: Any, ending: Any) -> None:
        bit_stream = self._filters.get(packet.stream.index)
        try:
            for ready in bit_stream.filter(packet) if bit_stream else [packet]:
                ready.stream = target
                self._mux(ready)
            if ending:  # of a text that is refused none is wanted: it may lie before the last one
                self._texts[target.index] = ending
        except (av.error.ArgumentError, av.error.InvalidDataError):  # times that run backwards
            self._whole = True  # it was refused, not half written
            self._warn(
                f"{target.type} stream: packets that are damaged, or whose times run backwards, "
                "are left out"
            )

    def _mux_picture(self, picture: Picture, frame: Frame) -> None:
        info = self._template.info
        encoded = video_frame(picture)
        if encoded.format.name != self._video.codec_context.pix_fmt:
            colour_range = ColorRange.JPEG if picture.full_range else ColorRange.MPEG
            encoded = self._to_encoder.reformat(
                encoded,
                format=self._video.codec_context.pix_fmt,
                src_color_range=colour_range,
                dst_color_range=colour_range,
                threads=1,
            )
        encoded.time_base = self._tick
        encoded.pts = round((frame.time - info.start) / self._tick)
        if self._format == "avi" and encoded.pts <= self._latest:
            encoded.pts = self._latest + 1  # two frames in one tick: it has a slot for each picture
        self._latest = encoded.pts
        self._durations[encoded.pts] = round(frame.duration / self._tick)
        group = int((frame.time - info.start) / GROUP_SECONDS)
        if group != self._group:
            self._group, encoded.pict_type = group, PictureType.I
        self._mux_video(self._encoded(encoded))

    def _encoded(self, picture: Any) -> list[Any]:
        """The encoder's next packets; None gives its last. It forgets how long a picture stands,
        and the film would end before its last one does."""
        packets = list(self._video.encode(picture))
        for packet in packets:
            packet.duration = self._durations.pop(packet.pts, 0)
        return packets

    def _mux_video(self, packets: Sequence[Any]) -> None:
        """Mux, and note up to which picture the file then holds what a crash leaves."""
        for packet in packets:
            now = float((packet.dts or 0) * packet.time_base)
            if packet.is_keyframe and self._muxed:
                settles = now + 2 * _WAIT_SECONDS + _SETTLES.get(self._format, 0.0)
                self._ended_groups.append((self._muxed, settles))
            self._mux(packet)
            self._muxed += 1
            while self._ended_groups and now >= self._ended_groups[0][1]:
                self.settled = self._ended_groups.pop(0)[0]

    def _mux(self, packet: Any) -> None:
        self._whole = False
        self._container.mux(packet)
        self._whole = True

    def _close(self) -> None:
        """Flush the encoder and close; the file is closed whatever fails on the way."""
        container, self._container = self._container, None
        with border(self.path):
            try:
                packets = self._last_packets()
                container.mux([*packets, *self._texts.values()])
            finally:
                container.close()
        if self._whole:  # after an error FFmpeg closes as if all were well
            self.settled = self._muxed + len(packets)

    def _last_packets(self) -> list[Any]:
        """What the encoder still holds."""
        return self._encoded(None)
