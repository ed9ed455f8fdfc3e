"""The pieces of a film that was written in more than one run: where one may be cut, how they join.

Pictures are copied packet for packet; sound and subtitles come once more from the input, so they
are what an unbroken run copies.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import av

from rustvid.config import OutputConfig
from rustvid.video.border import border
from rustvid.video.muxed import VideoSink
from rustvid.video.opening import PROTOCOLS
from rustvid.video.sink import Template

_REORDERED_SECONDS = Fraction(1, 2)  # that a picture may be decoded before it is shown


class Piece(NamedTuple):
    """A part file and how many of its pictures count, from its first one on; None: all."""

    path: Path
    pictures: int | None


def cuts(path: Path) -> list[int]:
    """After how many pictures a part can be cut: where a key frame begins a group.

    The last group may be incomplete, so its end is none of them. The group before a cut is
    decoded once: what a power failure left of it may be zeros. Empty where nothing can be kept.
    """
    found = _key_frames(path)
    while len(found) > 1 and not _decodes(path, found[-2], found[-1]):
        found.pop()
    return [count for count, _ in found[1:]]


def join(target: Join, pieces: Sequence[Piece], companions: Iterator[Any], start: Fraction) -> None:
    """Copy all packets into `target` in the order of their times, and close it.

    start: seconds that the companions' times are ahead of those of the pieces
    """
    pictures = ((_when(packet), packet) for packet in _packets(pieces))
    others = ((_when(packet) - start, packet) for packet in companions)
    with border(target.path):
        for _, packet in heapq.merge(pictures, others, key=lambda pair: pair[0]):
            target.copy(packet)
    target.complete(())


class Join(VideoSink):
    """A video of copied pictures: the streams are those of the first piece and of the input."""

    def __init__(
        self, path: Path, template: Template, config: OutputConfig, part: Path, first: Path
    ) -> None:
        super().__init__(path, template, config, part)
        self._last: int | None = None  # time of decoding of the last picture, in its time base
        with (
            border(path),
            av.open(f"file:{first}", options={"protocol_whitelist": PROTOCOLS}) as piece,
        ):
            self._start(piece.streams.video[0])

    def copy(self, packet: Any) -> None:
        """Write one packet, of a piece's pictures or of a companion of the input."""
        if packet.stream.type != "video":
            self._copy([packet])
            return
        packet.dts = self._in_order(packet)
        self._last = packet.dts
        packet.stream = self._video
        self._container.mux(packet)

    def _in_order(self, packet: Any) -> int:
        """When to decode it: a new encoder delays its first pictures otherwise, .mkv hides it."""
        wanted: int | None = packet.dts
        if self._last is not None:
            return self._last + 1 if wanted is None or wanted <= self._last else wanted
        early = round(_REORDERED_SECONDS / packet.time_base)
        return int(packet.pts) - early if wanted is None else wanted

    def _add_video(self, picture: Any) -> Any:
        return self._add_encoded(picture)

    def _last_packets(self) -> list[Any]:
        return []


def _packets(pieces: Sequence[Piece]) -> Iterator[Any]:
    for path, pictures in pieces:
        with _opened(path) as container:
            for number, packet in enumerate(_demuxed(container)):
                if number == pictures:
                    break
                yield packet


def _opened(path: Path) -> Any:
    return av.open(f"file:{path}", options={"protocol_whitelist": PROTOCOLS})


def _demuxed(container: Any) -> Iterator[Any]:
    yield from (packet for packet in container.demux(video=0) if packet.size)


def _key_frames(path: Path) -> list[tuple[int, int]]:
    """(pictures before it, its time in the stream's time base) of every key frame."""
    found: list[tuple[int, int]] = []
    try:
        with _opened(path) as container:
            for number, packet in enumerate(_demuxed(container)):
                if packet.is_keyframe:
                    found.append((number, packet.pts))
    except (av.error.FFmpegError, OSError, IndexError):
        return found  # the end of a file that was cut off
    return found


def _decodes(path: Path, begin: tuple[int, int], end: tuple[int, int]) -> bool:
    """Do all pictures from one key frame to before another decode without an error?"""
    count = 0
    try:
        with _opened(path) as container:
            stream = container.streams.video[0]
            container.seek(begin[1], stream=stream)
            for frame in container.decode(stream):
                if frame.is_corrupt:
                    return False
                if frame.pts is None or frame.pts >= end[1]:
                    break
                count += frame.pts >= begin[1]
    except (av.error.FFmpegError, OSError):
        return False
    return count == end[0] - begin[0]


def _when(packet: Any) -> Fraction:
    stamp = packet.dts if packet.dts is not None else packet.pts
    return Fraction((stamp or 0) * packet.time_base)
