"""Where a drone was while it filmed: the positions that DJI's cameras write beside the pictures.

They come as subtitles, in a .SRT file beside the film or as a stream of text in it, and every model
writes them its own way (Mavic 2 and later, Mavic Pro, Phantom 4, Matrice):

    [latitude: -20.2533] [longitude: 149.0251] [rel_alt: 1.9 abs_alt: 22.1]    or "longtitude"
    GPS(149.0251,-20.2533,16) BAROMETER:1.9                                    longitude first
    GPS (149.0251, -20.2533, 16), D 10.1m, H 1.9m

An entry lasts a second or a frame; it tells its time as subtitles do, or by the clock of the day.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from fractions import Fraction
from functools import lru_cache
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

import av
from av.stream import Discard

from rustvid.errors import SourceError
from rustvid.frames import NOWHERE, Position
from rustvid.video.copies import codec_name
from rustvid.video.opening import opened

_LARGEST = 256_000_000  # bytes of a .SRT that are read: hours of an entry a frame
_TRIED = 30  # texts of a stream without a position, until it is taken for words
_NEAR = 2.0  # seconds before the first position and after the last one that it still stands for
_HOLE = 10.0  # seconds between two positions, from which nothing is known between them
_LENGTH = 2  # bytes before each text of an .mp4
_RENEWED = 1.0  # seconds in which a receiver finds a new position: a longer stay is one

_NUMBER = r"([-+]?\d{1,6}(?:\.\d+)?(?!\d))"
_LATITUDE = re.compile(rf"\blat(?:itude)?\s*:\s*{_NUMBER}", re.IGNORECASE)
_LONGITUDE = re.compile(rf"\blong?(?:t?itude)?\s*:\s*{_NUMBER}", re.IGNORECASE)
_GPS = re.compile(rf"\bGPS\s*\(\s*{_NUMBER}\s*,\s*{_NUMBER}")
_HEIGHT = re.compile(rf"\b(?:rel_alt\s*:|BAROMETER\s*:|Hb\s*:|H\s)\s*{_NUMBER}")
_SPAN = re.compile(r"(?<!\d)(\d{1,4}):(\d\d):(\d\d)[,.](\d{1,3})\s*-->")
_CLOCK = re.compile(r"\b(\d{4})[.-](\d\d?)[.-](\d\d?)\s+(\d\d?):(\d\d):(\d\d)(?:[,.](\d{1,3}))?")


class Fix(NamedTuple):
    """A position and the seconds of the film at which it was written."""

    time: float
    position: Position


class Track:
    """The way of the camera: a position for every moment of the film.

    fixes: as they were written; where the same position is written again and again, because the
        receiver has no newer one yet, the camera is taken to move on evenly
    """

    def __init__(self, fixes: Iterable[Fix]) -> None:
        self._knots = list(_knots(sorted(fixes, key=lambda fix: fix.time)))
        self._times = [knot.time for knot in self._knots]

    def at(self, time: float | Fraction) -> Position:
        """Where it was then; NOWHERE in a hole of more than ten seconds, and beyond either end."""
        seconds = float(time)
        after = bisect_right(self._times, seconds)
        before, following = self._knots[max(0, after - 1) : after], self._knots[after : after + 1]
        if before and following and following[0].time - before[0].time <= _HOLE:
            share = (seconds - before[0].time) / (following[0].time - before[0].time)
            return _between(before[0].position, following[0].position, share)
        near = (knot for knot in before + following if abs(knot.time - seconds) <= _NEAR)
        return next((knot.position for knot in near), NOWHERE)


def track_of(path: Path | str, container: Any, located: bool = False) -> Track | None:
    """The track of a film: of the .SRT beside it, else of the text in it; None if there is none.

    container: PyAV's, of the film; located: it is part of a film that has positions, so without
        any of its own it has a track that knows none
    Raises SourceError where the .SRT cannot be read: without a word the table would lack columns.
    """
    none = Track(()) if located else None
    if not isinstance(path, Path):
        return none  # an address: nothing lies beside it, and to look through it takes its length
    # the index of an .mp4 or .mov leads to its text past the rest; others are read to their end
    texts = "mov" in container.format.name and bool(container.streams.subtitles)
    begin = (container.start_time or 0) / av.time_base  # a .SRT counts from there, as players do
    beside = beside_of(path)
    try:
        return _read(path, beside, texts, begin, *(_state(p) for p in (path, beside) if p)) or none
    except OSError as exc:
        raise SourceError(
            f"{beside or path}: cannot be read ({exc.strerror}); check its permissions, or move it "
            "away where its positions are not wanted"
        ) from exc


def beside_of(path: Path) -> Path | None:
    """The .SRT file of a film."""
    names = (path.with_suffix(suffix) for suffix in (".SRT", ".srt", ".Srt"))
    return next((name for name in names if name.is_file()), None)


def _state(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_size, status.st_mtime_ns


@lru_cache(maxsize=8)  # a run opens its film several times
def _read(
    path: Path, beside: Path | None, texts: bool, begin: float, *states: tuple[int, int]
) -> Track | None:
    fixes: list[Fix] = []
    if beside:
        with beside.open("rb") as file:
            text = file.read(_LARGEST).decode("utf-8-sig", "replace")
        fixes = [Fix(time + begin, position) for time, position in fixes_of(text)]
    if not fixes and texts:
        fixes = _embedded(path)
    return Track(fixes) if fixes else None


def fixes_of(text: str) -> list[Fix]:
    """What a .SRT file tells of positions; broken entries, and those without one, are left out."""
    fixes: list[Fix] = []
    first: float | None = None
    for entry in re.split(r"\n[ \t]*\n", text.replace("\r\n", "\n").replace("\r", "\n")):
        time = _seconds(_SPAN.search(entry))
        clock = None if time is not None else _clock(_CLOCK.search(entry))
        if clock is not None:
            first = clock if first is None else first
            time = clock - first
        position = position_of(entry)
        if time is not None and position is not None:
            fixes.append(Fix(time, position))
    return fixes


def position_of(text: str) -> Position | None:
    """What one entry tells; None without a position, where it is 0,0 (no fix), or none on Earth."""
    latitude, longitude = _LATITUDE.search(text), _LONGITUDE.search(text)
    if latitude and longitude:
        north, east = float(latitude[1]), float(longitude[1])
    elif both := _GPS.search(text):
        east, north = float(both[1]), float(both[2])
        if abs(north) > 90:  # written the other way round
            east, north = north, east
    else:
        return None
    if abs(north) > 90 or abs(east) > 180 or (north == 0 and east == 0):
        return None
    height = _HEIGHT.search(text)
    return Position(north, east, float(height[1]) if height else None)


def _embedded(path: Path) -> list[Fix]:
    """Positions in a stream of text of a film."""
    with suppress(SourceError, av.error.FFmpegError), opened(path) as container:
        for chosen in container.streams.subtitles:
            for stream in container.streams:
                stream.discard = Discard.default if stream is chosen else Discard.all
            fixes = list(_of_stream(container, chosen))
            if fixes:
                return fixes
            container.seek(0)
    return []


def _of_stream(container: Any, stream: Any) -> Iterator[Fix]:
    found = tried = 0
    lead = _LENGTH if codec_name(stream) == "mov_text" else 0
    for packet in container.demux(stream):
        if not packet.size or packet.pts is None:
            continue
        position = position_of(bytes(packet)[lead:].decode("utf-8", "replace"))
        found, tried = found + (position is not None), tried + 1
        if not found and tried >= _TRIED:
            return
        if position is not None:
            yield Fix(float(packet.pts * packet.time_base), position)


def _seconds(span: re.Match[str] | None) -> float | None:
    """Of `00:01:02,500 -->`."""
    if span is None:
        return None
    hours, minutes, seconds, fraction = span.groups()
    whole = int(hours) * 3600 + int(minutes) * 60 + int(seconds)
    return whole + int(fraction.ljust(3, "0")) / 1000


def _clock(clock: re.Match[str] | None) -> float | None:
    """Of `2017.08.05 14:11:51,393`, since 1970; None where there is no such day."""
    if clock is None:
        return None
    *numbers, fraction = clock.groups()
    with suppress(ValueError):
        moment = datetime(*map(int, numbers), tzinfo=UTC)  # type: ignore[misc, arg-type]
        return moment.timestamp() + int((fraction or "0").ljust(3, "0")) / 1000
    return None


def _knots(fixes: Sequence[Fix]) -> Iterator[Fix]:
    """Each new position when it was first written; where the camera stayed, until it left."""
    runs = [list(run) for _, run in groupby(fixes, key=lambda fix: fix.position[:2])]
    for number, run in enumerate(runs, start=1):
        left = runs[number][0].time - _RENEWED if number < len(runs) else run[-1].time
        stayed = min(left, run[-1].time) - run[0].time > _RENEWED
        yield run[0]
        yield from (fix for fix in run[1:] if stayed and fix.time <= left)


def _between(a: Position, b: Position, share: float) -> Position:
    """`share` of the way from a to b, the short way round the Earth."""
    assert a.latitude is not None and b.latitude is not None
    assert a.longitude is not None and b.longitude is not None
    east = (b.longitude - a.longitude + 180) % 360 - 180
    height = a.height
    if a.height is not None and b.height is not None:
        height = a.height + share * (b.height - a.height)
    return Position(
        a.latitude + share * (b.latitude - a.latitude),
        (a.longitude + share * east + 180) % 360 - 180,
        height,
    )
