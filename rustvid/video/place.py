"""Where a file lies in a film that is in several files: see joined.py."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import av

from rustvid.video.opening import opened
from rustvid.video.times import Seen

_FURTHER_BACK = (0, 1, 4, 16, 64)  # seconds
_GROUP = 1  # second before a file's end from which its last pictures are read
_SEAM = Fraction(2, 1000)  # seconds between the sound of two files that are no gap


@dataclass(frozen=True)
class Before:
    """A file whose last pictures the first ones of the next file refer to.

    shift: seconds that are added to its own times; end: of the film, where it ends
    """

    path: Path
    shift: Fraction
    end: Fraction


@dataclass(frozen=True)
class Place:
    """Of a file that is a film by itself, all is as it is by default.

    shift: seconds that are added to its own times
    begin: seconds of the film, its first picture's; None of the first file
    after: the last frame of the file before it; pending: companion packets since that frame
    companions: of the first file, whose streams all packets are given as
    heard: index of a track of sound → where its last packet ended, in the track's time base
    before: the file before it, where this one begins within an open group of pictures
    located: does any file of the film tell where the camera was?
    """

    shift: Fraction = Fraction(0)
    begin: Fraction | None = None
    after: Seen | None = None
    pending: tuple[Any, ...] = ()
    companions: Sequence[Any] = ()
    heard: dict[int, int] = field(default_factory=dict)
    before: Before | None = None
    located: bool = False
    _corrections: dict[int, int] = field(default_factory=dict)  # ticks, by index of the stream

    def seek(self, container: Any, stream: Any, time: Fraction) -> None:
        """To a key frame at or before a time of the film.

        In .ts files FFmpeg finds any packet: then what follows it shows nothing until the next key
        frame, and the one before is looked for further back.
        """
        lowest = min(0, (stream.start_time or 0) * stream.time_base)  # .avi refuses times below it
        for back in _FURTHER_BACK:
            place = int(max(time - self.shift - back, lowest) * av.time_base)
            container.seek(place)
            packets = (p for p in container.demux(stream) if p.is_keyframe)
            key = next((p.pts * p.time_base for p in packets if p.pts is not None), None)
            if key is not None and key + self.shift <= time:
                break
        container.seek(place)

    def prime(self, decoder: Any, index: int, base: Fraction) -> None:
        """Let a decoder see the last pictures of the file before, at their times by this file.

        index: of the stream; base: its time base in this file
        """
        if self.before is None:
            return
        behind = self.before.shift - self.shift
        begin = self.before.end - self.before.shift - _GROUP
        with opened(self.before.path) as container, suppress(av.error.FFmpegError):
            container.seek(int(begin * av.time_base))
            for packet in container.demux(container.streams[index]):
                if packet.size and packet.pts is not None:
                    packet.pts = round((packet.pts * packet.time_base + behind) / base)
                    packet.dts, packet.time_base = None, base
                    with suppress(av.error.FFmpegError):  # the sought group may be open, too
                        decoder.decode(packet)

    def is_primer(self, decoded: Any) -> bool:
        """Is it of the file before, which the decoder has held back since it was primed?"""
        if self.before is None or self.begin is None or decoded.pts is None:
            return False
        return bool(decoded.pts * decoded.time_base + self.shift < self.begin)

    def is_before(self, packet: Any, time: Fraction) -> bool:
        """Is it over before the first picture: sound that only gets its decoder going?"""
        lasts = (packet.duration or 0) * packet.time_base
        return self.begin is not None and time + lasts <= self.begin

    def as_companion(self, packet: Any) -> Any:
        """The packet at its time of the film, as one of the first file's stream."""
        if not self.companions:
            return packet
        stream = next(s for s in self.companions if s.index == packet.stream.index)
        if stream.index not in self._corrections:
            self._corrections[stream.index] = self._correction(packet, stream)
        more = self._corrections[stream.index]
        if packet.pts is not None:
            packet.pts = self._ticks(packet.pts, packet, stream) + more
        if packet.dts is not None:
            packet.dts = self._ticks(packet.dts, packet, stream) + more
        packet.duration = round((packet.duration or 0) * packet.time_base / stream.time_base)
        packet.stream, packet.time_base = stream, stream.time_base
        if packet.pts is not None:
            self.heard[stream.index] = packet.pts + packet.duration
        return packet

    def _ticks(self, stamp: int, packet: Any, stream: Any) -> int:
        """The time of a packet in the time base of the first file's stream."""
        ticks: int = round((stamp * packet.time_base + self.shift) / stream.time_base)
        return ticks

    def _correction(self, packet: Any, stream: Any) -> int:
        """Samples from a file's first sound to where the sound of the file before it ended.

        Many a file says only to the millisecond when its sound begins.
        """
        end = self.heard.get(stream.index)
        if end is None or packet.pts is None or stream.type != "audio":
            return 0
        if stream.time_base != Fraction(1, stream.codec_context.sample_rate or 1):
            return 0  # a clock that does not count samples
        gap = end - self._ticks(packet.pts, packet, stream)
        return gap if abs(gap) * stream.time_base <= _SEAM else 0
