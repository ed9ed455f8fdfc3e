"""What of chapters and texts is left in a part of a film, from a start to an end."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import av

from rustvid.video.copies import codec_name


def cut(packet: Any, stamp: int, start: int, end: int | None) -> int:
    """Cut a text that stands over the start or the end of what is left; returns when it begins."""
    begin, over = max(stamp, start), stamp + (packet.duration or 0)
    over = over if end is None else min(over, end)
    if over <= begin:
        return stamp
    packet.duration = over - begin
    if begin != stamp:
        packet.pts = packet.dts = begin
    return begin


def nothing_after(packet: Any, stamp: int, target: Any) -> Any:
    """An empty text of .mp4 for the stream `target`, where this one, which begins at `stamp`, ends.

    As the last of a track it may not be missing: FFmpeg would write one that stands as long as the
    text before it. None for what is no such text.
    """
    if codec_name(packet.stream) != "mov_text":
        return None
    empty = av.Packet(b"\0\0")
    empty.stream, empty.time_base = target, packet.time_base
    empty.pts = empty.dts = stamp + (packet.duration or 0)
    return empty


def within(start: Fraction, end: Fraction | None, chapters: list[Any]) -> list[Any]:
    """The chapters of what is left of a film, from `start` to `end` seconds."""
    left = []
    for chapter in chapters:
        base = chapter["time_base"]
        begin = max(chapter["start"], round(start / base))
        over = chapter["end"] if end is None else min(chapter["end"], round(end / base))
        if over > begin:
            gone = round(start / base)
            left.append({**chapter, "start": begin - gone, "end": over - gone})
    return left
