"""Pictures out of a film at given moments, as JPEG: for a report."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import cv2

from rustvid.config import SourceConfig
from rustvid.errors import SourceError
from rustvid.frames import Frame
from rustvid.video.film import FileSource

_QUALITY = 80  # of a JPEG, in per cent
_BEFORE = 1e-3  # seconds: .mkv rounds its times to them


def stills(film: Path, times: Sequence[float], longest: int) -> Iterator[bytes | None]:
    """For each time, in seconds since the first picture, that picture upright, its longest side
    at most so many pixels; None where there is none. Raises SourceError where it is no film."""
    with FileSource(film, (2, 2), SourceConfig()) as source:
        first = next(source.frames())  # without one it raises
    height, width = first.picture.upright_shape
    aspect = float(first.picture.pixel_aspect)
    wide = width * (1 / aspect if first.picture.rotation % 2 else aspect)
    scale = min(1.0, longest / max(wide, height))
    size = max(2, round(wide * scale)), max(2, round(height * scale))
    for time in times:
        frame = _frame(film, size, float(first.time) + time)
        yield None if frame is None else _jpeg(frame)


def _frame(film: Path, size: tuple[int, int], time: float) -> Frame | None:
    """The first one at or after a time of the film."""
    start = max(0.0, time - _BEFORE)
    with suppress(SourceError), FileSource(film, size, SourceConfig(start=start)) as source:
        return next(source.frames(), None)
    return None


def _jpeg(frame: Frame) -> bytes:
    bgr = cv2.cvtColor(frame.image, cv2.COLOR_RGB2BGR)
    return cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])[1].tobytes()
