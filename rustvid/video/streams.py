"""The streams of a film: which one is looked at, which go along, and what of them is told."""

from __future__ import annotations

import re
import sys
from collections.abc import Collection
from fractions import Fraction
from pathlib import Path
from typing import Any

from av.stream import Discard, Disposition

from rustvid.errors import SourceError
from rustvid.video.planes import placed
from rustvid.video.source import SourceInfo

_CODE = "timecode"
_FASTEST = 255  # frames per second, that a track of time code counts
# Tags that are of what is seen; others speak of how it was coded, which is not how the result is.
_KEPT = frozenset({"language", "title", "comment", "handler_name", "creation_time", _CODE})


def picture_of(container: Any, path: Path | str, most: int = sys.maxsize) -> Any:
    """The film's stream of pictures: the one that is marked as the default, else the first.

    most: pixels of a picture. Raises SourceError where there is none, or too large a one.
    """
    streams = [stream for stream in container.streams.video if not _is_cover(stream)]
    if not streams:
        kinds = ", ".join(sorted({stream.type for stream in container.streams})) or "nothing"
        raise SourceError(f"{path}: has no video stream (it holds {kinds})")
    marked = (stream for stream in streams if stream.disposition & Disposition.default)
    stream = next(marked, streams[0])
    context = stream.codec_context
    if context is None or not context.width or not context.height:
        raise SourceError(f"{path}: its video cannot be decoded; it may be cut short")
    if context.width * context.height > most:
        raise SourceError(
            f"{path}: {context.width}×{context.height} pixels are more than "
            f"source.max_pixels {most}; raise it if the file is trusted"
        )
    return stream


def is_companion(stream: Any) -> bool:
    """Is it copied? Not what carries the chapters or the time code of a .mov: they are read
    already, and written anew."""
    known = stream.discard == Discard.all or (stream.type == "data" and _CODE in stream.metadata)
    return stream.type in ("audio", "subtitle", "data") and not known


def left_out(container: Any, used: Collection[Any]) -> list[str]:
    """What the result will lack, for people."""
    told = []
    for stream in container.streams:
        if stream in used or stream.type in ("audio", "subtitle", "data"):
            continue
        kind = "cover picture" if _is_cover(stream) else stream.type
        name = stream.metadata.get("filename") or stream.metadata.get("title")
        named = f" ({name})" if name else ""
        told.append(f"{kind}, stream {stream.index}{named}: is left out of the result")
    return told


def tags_of(container: Any, stream: Any) -> dict[str, str]:
    """Language, title, handler, and the time code, which may be the container's: by lower case."""
    code = {k: v for k, v in container.metadata.items() if k.lower() == _CODE}
    tags = (code | dict(stream.metadata)).items()
    return {key.lower(): value for key, value in tags if key.lower() in _KEPT}


def odd_place(frame: Any) -> str:
    """What of the way a picture is to be shown the result does not keep, for people; "" if it
    keeps all."""
    place = placed(frame)
    if place.mirrored:
        return "its tags have it shown mirrored; the result is not, and was not looked at so"
    if not place.exact:
        return "its tags turn it by no quarter turn; the result is turned by the nearest"
    return ""


def fitting_tags(
    info: SourceInfo, suffix: str, *, holds_code: bool
) -> tuple[dict[str, str], list[str]]:
    """The picture's tags in a result of that suffix, and what is told of a time code that is none
    of them. holds_code: can such a file hold one?"""
    tags = dict(info.tags)
    if not (code := tags.pop(_CODE, "")):
        return tags, []
    if not holds_code:
        return tags, [f"the time code is left out: {suffix} does not hold it"]
    if info.start:
        return tags, ["the time code is left out: it is that of the film's first frame"]
    if not is_timecode(code, info.rate):
        fits = f"it fits no {float(info.rate):g} frames/s"
        return tags, [f"the time code {code} is left out: {fits}"]
    return {**tags, _CODE: code}, []


def is_timecode(text: str, rate: Fraction) -> bool:
    """Is it hh:mm:ss:ff, or with a ; for ff that drops numbers, which multiples of 30 frames a
    second alone do? .mov and .mp4 would refuse the whole film for any other."""
    found = re.fullmatch(r"\d\d:\d\d:\d\d([:;.])\d\d", text)
    drops = found is not None and found[1] != ":"
    return found is not None and rate <= _FASTEST and (not drops or round(rate) % 30 == 0)


def _is_cover(stream: Any) -> bool:
    return bool(stream.disposition & Disposition.attached_pic)
