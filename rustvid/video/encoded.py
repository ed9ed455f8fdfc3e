"""Packets that outlive the encoder they come from: kept a while, written elsewhere, sent on."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any, Protocol

import av

from rustvid.config import OutputConfig
from rustvid.video.border import border
from rustvid.video.copies import holds
from rustvid.video.muxed import VideoSink
from rustvid.video.sink import Template

PICTURE = -1  # the track of the picture; a sound's is the index of its stream


@dataclass(frozen=True)
class Encoded:
    """A packet, with its times in seconds of the run.

    track: PICTURE, or the index of the stream of sound; key: what follows needs nothing before it
    """

    track: int
    data: bytes
    pts: Fraction
    dts: Fraction
    duration: Fraction
    key: bool


class Tap(Protocol):
    """Gets what an encoder makes, in order; from the thread that encodes."""

    def begin(self, picture: Any, sounds: Sequence[Any]) -> None:
        """An encoder has begun: PyAV's streams, as templates of others."""

    def take(self, packet: Encoded) -> None:
        """The next packet."""


class Tapped(VideoSink):
    """A video file whose packets others get too."""

    def __init__(
        self,
        path: Path,
        template: Template,
        config: OutputConfig,
        part: Path | None,
        taps: Sequence[Tap],
    ) -> None:
        super().__init__(path, template, config, part)
        self._taps = taps

    def _start(self, picture: Any) -> None:
        super()._start(picture)
        for tap in self._taps:
            tap.begin(self._video, self._template.companions)

    def _copy(self, packets: Sequence[Any]) -> None:
        self._tell_copies(packets)
        super()._copy(packets)

    def _tell_copies(self, packets: Sequence[Any]) -> None:
        for packet in packets:
            if packet.pts is not None and packet.stream.index in self._copies:
                self._tell(packet, packet.stream.index, Fraction(0))

    def _mux_video(self, packets: Sequence[Any]) -> None:
        for packet in packets:
            self._tell(packet, PICTURE, self._template.info.start)
        super()._mux_video(packets)

    def _last_packets(self) -> list[Any]:
        packets = super()._last_packets()
        for packet in packets:
            self._tell(packet, PICTURE, self._template.info.start)
        return packets

    def _tell(self, packet: Any, track: int, start: Fraction) -> None:
        base = Fraction(packet.time_base)
        pts = packet.pts * base
        made = Encoded(
            track=track,
            data=bytes(packet),
            pts=pts + start,
            dts=(pts if packet.dts is None else packet.dts * base) + start,
            duration=(packet.duration or 0) * base,
            key=packet.is_keyframe,
        )
        for tap in self._taps:
            tap.take(made)


class Unwritten(Tapped):
    """Encodes for its taps alone: no file is written. `path` says of which kind it would be.

    Sound is handed on as it came: a muxer might need to go back in a file to write its headers
    (AAC of MPEG-TS in .mkv), and there is none. One that goes back would keep an index for weeks.
    """

    def __init__(
        self, path: Path, template: Template, config: OutputConfig, taps: Sequence[Tap]
    ) -> None:
        super().__init__(path, template, replace(config, segment=None), None, taps)

    def _container_to(self, options: dict[str, str]) -> Any:
        return av.open(_Nowhere(), "w", format=self._format, options=options)

    def _add_copy(self, stream: Any) -> None:
        if holds(self._format, stream):
            self._copies[stream.index] = stream

    def _copy(self, packets: Sequence[Any]) -> None:
        self._tell_copies(packets)

    def name(self) -> None:
        """There is nothing to be named."""


class _Nowhere(io.RawIOBase):
    """A file that forgets; no seeking in it."""

    def write(self, data: Any) -> int:
        return len(data)

    def writable(self) -> bool:
        return True


class Copied(VideoSink):
    """A video file of packets that are encoded already.

    template: `companions` as they came to the encoder, `info.start` is time 0 of the file
    """

    def __init__(self, path: Path, template: Template, config: OutputConfig, picture: Any) -> None:
        super().__init__(path, template, config)
        self._sounds = {stream.index: stream for stream in template.companions}
        with border(path):
            self._start(picture)

    def write_packet(self, packet: Encoded) -> None:
        """Write one packet; the first one of the picture must be a key frame."""
        with border(self.path):
            if packet.track == PICTURE:
                info = self._template.info
                shifted = packet_of(packet, info.time_base, info.start)
                shifted.stream = self._video
                self._mux_video([shifted])
            elif stream := self._sounds.get(packet.track):
                sound = packet_of(packet, Fraction(stream.time_base), Fraction(0))
                sound.stream = stream
                self._copy([sound])

    def _add_video(self, picture: Any) -> Any:
        return self._add_encoded(picture)

    def _last_packets(self) -> list[Any]:
        return []


def packet_of(packet: Encoded, base: Fraction, start: Fraction) -> Any:
    """PyAV's packet of one of ours, `start` seconds earlier, in ticks of `base`."""
    made = av.Packet(packet.data)
    made.time_base = base
    made.pts = round((packet.pts - start) / base)
    made.dts = round((packet.dts - start) / base)
    made.duration = round(packet.duration / base)
    made.is_keyframe = packet.key
    return made
