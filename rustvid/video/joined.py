"""A film that the camera cut into several files (DJI_0001.MP4, DJI_0002.MP4, …), read as one.

Every file begins where the one before it ends: by its own packets, not by its headers, and to the
tick. Pictures, sound and data of all are given as those of the first file.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import islice, takewhile
from pathlib import Path
from typing import Any

import av

from rustvid.config import SourceConfig
from rustvid.errors import SourceCutShort, SourceError
from rustvid.frames import Frame
from rustvid.redact import redacted
from rustvid.video.film import FileSource
from rustvid.video.opening import PROTOCOLS, opened
from rustvid.video.place import Before, Place
from rustvid.video.source import Begin, Source
from rustvid.video.times import Seen

_TAIL = 2  # seconds before the end in which the last picture is looked for
_CUT = 1  # second that is missing: the file was longer once; less where the frames are counted
_LEADING = 32  # packets at a file's beginning among which are those shown before its key frame
_RATES = 0.01  # relative difference that two files of one recording may have


@dataclass(frozen=True)
class _Part:
    """One file: its first picture begins, and its last one ends, at these seconds of the film.

    key: its first key frame; what is shown before that refers to the file before
    located: does it tell where the camera was?
    """

    path: Path
    shift: Fraction
    begin: Fraction
    key: Fraction
    end: Fraction
    located: bool


@dataclass(frozen=True)
class Looks:
    """What the files of one recording have in common.

    size: (width, height) as stored; rotation: degrees; rate: mean frames per second
    tracks: (kind, codec, sampling rate, channels) of each other stream
    """

    codec: str
    size: tuple[int, int]
    format: str
    rotation: int
    rate: Fraction
    tracks: tuple[tuple[str, str, int, int], ...]


class JoinedSource(Source):
    """Several files as one source. The first one is open throughout, of the others one at a time.

    Raises SourceError where they do not belong together, naming what differs.
    """

    def __init__(
        self, paths: Sequence[Path], image_size: tuple[int, int], config: SourceConfig
    ) -> None:
        super().__init__()
        self._image_size, self._config = image_size, config
        self._pending: tuple[Any, ...] = ()
        self._first = FileSource(paths[0], image_size, config)
        self.container, self.companions = self._first.container, self._first.companions
        try:
            self._parts = self._placed(paths)
        except SourceError:
            self._first.container.close()
            raise
        rate = self._first.info.rate
        self.info = replace(
            self._first.info,
            name=f"{redacted(str(paths[0]))} and {len(paths) - 1} more",
            expected_frames=round(self._seconds() * rate),
            located=any(part.located for part in self._parts),
        )

    def frames(self) -> Iterator[Frame]:
        """Decode one file after the other.

        Raises SourceCutShort after the last frame, where any of the files ends too early.
        """
        begin, parts = self._place_of_begin()
        if not parts:
            raise SourceError(f"{self.info.name}: has no frame after {self._config.start} s")
        last: Seen | None = None
        pending: tuple[Any, ...] = ()
        heard: dict[int, int] = {}
        cut: SourceCutShort | None = None
        for part in parts:
            source = self._opened(part, heard, last, pending)
            source.begin, source.threads = begin, self.threads
            with source:
                try:
                    yield from source.frames()
                except SourceCutShort as exc:  # the next file is there all the same
                    cut = cut or exc
                last, pending = source.last, source.rest()
                self.damaged_packets += source.damaged_packets
                self.notes += [note for note in source.notes if note not in self.notes]
        self._pending = pending
        if cut:
            raise cut

    def rest(self) -> tuple[Any, ...]:
        packets, self._pending = self._pending, ()
        return packets

    def companion_packets(self) -> Iterator[Any]:
        heard: dict[int, int] = {}
        for part in self._chosen():
            with self._opened(part, heard) as source:
                yield from source.companion_packets()

    def _opened(
        self,
        part: _Part,
        heard: dict[int, int],
        last: Seen | None = None,
        pending: tuple[Any, ...] = (),
    ) -> FileSource:
        """The file in its place. The first one too is opened again: its own handle is the template.

        heard: up to where each track of sound has come, kept up by the file
        """
        number = self._parts.index(part)
        begin = part.begin if number else None
        before = None
        if number and part.begin < part.key and self._first.info.start < part.key:
            other = self._parts[number - 1]
            before = Before(other.path, other.shift, other.end)
        located = self.info.located
        place = Place(part.shift, begin, last, pending, self.companions, heard, before, located)
        return FileSource(part.path, self._image_size, self._config, place=place)

    def _placed(self, paths: Sequence[Path]) -> list[_Part]:
        """Every file with its place, once they are known to belong together."""
        parts: list[_Part] = []
        common: Looks | None = None
        for path in paths:
            source = FileSource(path, self._image_size, self._config)
            with source:
                looks = looks_of(source, path)
                common = common or looks
                check_same(paths[0], common, path, looks)
                begin, key = _beginning(path, source)
                end = _end(source, common.rate)
            shift = parts[-1].end - begin if parts else Fraction(0)
            located = source.info.located
            parts.append(_Part(path, shift, begin + shift, key + shift, end + shift, located))
        return parts

    def _chosen(self) -> list[_Part]:
        """The files that hold anything between the start and the end asked for."""
        start, end = self._first.info.start, self._config.end
        return [p for p in self._parts if p.end > start and (end is None or float(p.begin) < end)]

    def _place_of_begin(self) -> tuple[Begin | None, list[_Part]]:
        """Where a run goes on that was broken off, and the files from there on.

        A file that cannot be sought in is no reason to lose count: then all is decoded again.
        """
        begin, parts = self.begin, self._chosen()
        if begin is None or not begin.seek:
            return begin, parts
        time = Fraction(begin.time) + Fraction(1, 1_000_000)  # it was rounded
        number = max((n for n, part in enumerate(parts) if part.begin <= time), default=0)
        if number:
            source = self._opened(parts[number], {})
            with source:
                if source.finds(begin):
                    return begin, parts[number:]
            return replace(begin, seek=False), parts
        return begin, parts

    def _seconds(self) -> Fraction:
        parts = self._chosen()
        if not parts:
            return Fraction(0)
        end = parts[-1].end
        if self._config.end is not None:
            end = min(end, Fraction(self._config.end))
        return max(Fraction(0), end - max(parts[0].begin, self._first.info.start))


def looks_of(source: FileSource, path: Path) -> Looks:
    """Decode the first picture of a file; raises SourceError where there is none."""
    stream = source.stream
    try:
        frame = next(source.container.decode(stream), None)
    except av.error.FFmpegError as exc:
        raise SourceError(f"{path}: cannot be decoded ({exc.strerror})") from exc
    if frame is None:
        raise SourceError(f"{path}: no frame could be decoded; the file is damaged")
    return Looks(
        codec=stream.codec_context.name,
        size=(frame.width, frame.height),
        format=frame.format.name,
        rotation=round(frame.rotation) % 360,
        rate=source.info.rate,
        tracks=tuple(_track(other) for other in source.companions),
    )


def check_same(first: Path, common: Looks, path: Path, looks: Looks) -> None:
    """Raise SourceError, naming what differs, where a file is not of the first one's recording."""
    same_rate = abs(looks.rate - common.rate) <= _RATES * common.rate
    differ = [
        f"{told} {_told(getattr(looks, name))}, not {_told(getattr(common, name))}"
        for name, told in (
            ("size", "its pictures are"),
            ("rotation", "turned by"),
            ("codec", "coded in"),
            ("format", "in the pixel format"),
            ("rate", "frames per second"),
            ("tracks", "its other streams are"),
        )
        if getattr(looks, name) != getattr(common, name) and not (name == "rate" and same_rate)
    ]
    if differ:
        raise SourceError(
            f"{path}: does not go on where {first.name} ends: {'; '.join(differ)}; "
            "join only files of one recording, or use --out-dir for each its own result"
        )


def _track(stream: Any) -> tuple[str, str, int, int]:
    context = getattr(stream, "codec_context", None)
    if context is None:
        return stream.type, "unknown", 0, 0
    if stream.type != "audio":
        return stream.type, str(context.name), 0, 0
    return stream.type, str(context.name), int(context.sample_rate), int(context.channels)


def _told(value: Any) -> str:
    if isinstance(value, Fraction):
        return f"{float(value):.3f}"
    if isinstance(value, tuple):
        kinds = [" ".join(str(v) for v in one if v) for one in value if isinstance(one, tuple)]
        return ", ".join(kinds) or "×".join(map(str, value)) or "none"
    return str(value)


def _beginning(path: Path, source: FileSource) -> tuple[Fraction, Fraction]:
    """Seconds of a file at which its first picture is shown, and the key frame that comes first.

    They are two where a camera has cut within an open group: then pictures follow the key frame
    that are shown before it.
    """
    stream = source.stream
    begin = key = Fraction((stream.start_time or 0) * stream.time_base)
    with opened(path, PROTOCOLS) as container, suppress(av.error.FFmpegError):
        packets = islice(container.demux(container.streams[stream.index]), _LEADING)
        shown = [p.pts * p.time_base for p in packets if p.pts is not None and not p.is_discard]
        if shown:
            key = Fraction(shown[0])
            leading = takewhile(lambda time: time < key, shown[1:])
            begin = min([begin, key, *map(Fraction, leading)])
    return begin, key


def _end(source: FileSource, rate: Fraction) -> Fraction:
    """Seconds of a file at which its last picture ends.

    Read off the packets at its end; of a file that is cut short, off its headers, so that what is
    behind it keeps its time.
    """
    stream, container = source.stream, source.container
    begin = Fraction((stream.start_time or 0) * stream.time_base)
    length = Fraction((stream.duration or 0) * stream.time_base)
    promised = begin + length if length else Fraction(container.duration or 0, av.time_base)
    end = begin
    with suppress(av.error.FFmpegError):  # a damaged end
        container.seek(max(0, int((promised - _TAIL) * av.time_base)))
        for packet in container.demux(stream):
            if packet.size and packet.pts is not None:
                lasts = packet.duration * packet.time_base if packet.duration else 1 / rate
                end = max(end, Fraction(packet.pts * packet.time_base) + lasts)
    missing = Fraction(5, 2) / rate if stream.frames else Fraction(_CUT)
    return promised if promised - end > missing else end
