"""Times as people, tables and containers write them, exact."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import av

_FASTEST = 1000  # frames per second that a camera of ours may take
_USUAL = Fraction(25)  # where nothing is said


@dataclass(frozen=True)
class Seen:
    """What is remembered of the last frame: see Frame."""

    index: int
    time: Fraction
    duration: Fraction


def without_leaps(decoded: Iterator[tuple[Any, str]], leap: Fraction) -> Iterator[tuple[Any, str]]:
    """Decoded frames with their status; a time more than `leap` ticks after the last one that the
    next frame's takes back is taken away: else all that follows would lie before it."""
    last: int | None = None
    held: tuple[Any, str] | None = None
    for frame, status in decoded:
        if held:
            if frame.pts is not None and frame.pts < held[0].pts:
                held[0].pts = None
            else:
                last = held[0].pts
            yield held
            held = None
        if frame.pts is not None and last is not None and frame.pts - last > leap:
            held = frame, status
            continue
        last = last if frame.pts is None else frame.pts
        yield frame, status
    if held:
        yield held


def rate_of(stream: Any) -> Fraction:
    """Mean frames per second, as far as headers are to be believed: FFmpeg says 60,000 of a .dv."""
    told = (stream.average_rate, stream.guessed_rate, stream.base_rate)
    return next((Fraction(rate) for rate in told if rate and rate <= _FASTEST), _USUAL)


def span_of(container: Any, stream: Any) -> tuple[Fraction, Fraction | None]:
    """Seconds of a container at which a stream begins and, by the headers, ends; None: unknown."""
    begin = Fraction((stream.start_time or 0) * stream.time_base)
    duration = _duration(container, stream)
    if duration is None or "matroska" in container.format.name:
        return begin, duration  # .mkv counts from 0, wherever the first picture is
    return begin, begin + duration


def _duration(container: Any, stream: Any) -> Fraction | None:
    """Seconds that the headers promise, of the stream if they say so."""
    whole = Fraction(container.duration, av.time_base) if container.duration else None
    if stream.duration:
        seconds = Fraction(stream.duration * stream.time_base)
        return min(seconds, whole) if whole else seconds  # without what an edit list leaves out
    return clock_time(stream.metadata.get("DURATION", "")) or whole  # the former: .mkv


def time_text(seconds: Fraction) -> str:
    """A time as the table has it."""
    return f"{float(seconds):.6f}"


def exact(seconds: float | None) -> Fraction | None:
    """The decimal fraction that a person meant: 0.2 s is 1/5, which the float 0.2 is not."""
    return None if seconds is None else Fraction(seconds).limit_denominator(1_000_000)


def clock_time(text: str) -> Fraction | None:
    """hh:mm:ss.fff as seconds."""
    found = re.fullmatch(r"(\d+):(\d\d):(\d\d(?:\.\d+)?)", text.strip("\0 "))
    if not found:
        return None
    hours, minutes, rest = found.groups()
    return int(hours) * 3600 + int(minutes) * 60 + Fraction(rest)
