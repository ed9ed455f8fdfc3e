"""The streams of a film: which one is looked at, which go along, and what of them is told."""

from __future__ import annotations

import re
from collections.abc import Collection
from fractions import Fraction
from pathlib import Path
from typing import Any

from av.stream import Discard, Disposition

from rustvid.errors import SourceError
from rustvid.video.planes import placed

_CODE = "timecode"
# Tags that speak of how a stream was coded, which is not how the result is.
_OF_THE_CODING = frozenset(
    {"ENCODER", "DURATION", "VENDOR_ID", "BPS", "NUMBER_OF_FRAMES", "NUMBER_OF_BYTES"}
    | {"_STATISTICS_TAGS", "_STATISTICS_WRITING_APP", "_STATISTICS_WRITING_DATE_UTC"}
)


def picture_of(container: Any, path: Path | str, most: int) -> Any:
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


def tags_of(stream: Any) -> dict[str, str]:
    """Language, title, handler, time code: what a copy should have, too."""
    tags = stream.metadata.items()  # Matroska's may end in a language: BPS-eng
    return {key: value for key, value in tags if key.upper().split("-")[0] not in _OF_THE_CODING}


def odd_place(frame: Any) -> str:
    """What of the way a picture is to be shown the result does not keep, for people; "" if it
    keeps all."""
    place = placed(frame)
    if place.mirrored:
        return "its tags have it shown mirrored; the result is not, and was not looked at so"
    if not place.exact:
        return "its tags turn it by no quarter turn; the result is turned by the nearest"
    return ""


def is_timecode(text: str, rate: Fraction) -> bool:
    """Is it hh:mm:ss:ff, or with a ; for ff that drops numbers, which multiples of 30 frames a
    second alone do? .mov and .mp4 would refuse the whole film for any other."""
    found = re.fullmatch(r"\d\d:\d\d:\d\d([:;.])\d\d", text)
    return found is not None and (found[1] == ":" or round(rate) % 30 == 0)


def _is_cover(stream: Any) -> bool:
    return bool(stream.disposition & Disposition.attached_pic)
