"""Photos: one, or a folder of them as a film, in; one out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import nullcontext, suppress
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from rustvid.chatter import silenced
from rustvid.config import SourceConfig
from rustvid.errors import SinkError, SourceCutShort, SourceError, UsageError
from rustvid.frames import Frame, Picture, Window
from rustvid.video.headers import is_animated, is_whole, size_of_photo
from rustvid.video.planes import rgb_of, rgb_picture
from rustvid.video.sink import Sink
from rustvid.video.source import Source, SourceInfo
from rustvid.video.times import exact

PHOTOS = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp"})
_UNREADABLE = "corrupt"
_HEAD = 1 << 16  # bytes in which a photo says that it moves


class PhotoSource(Source):
    """One photo, or a folder of them as a film of `source.rate` frames per second.

    Raises SourceError where none can be read, or none is in the time asked for.
    """

    def __init__(
        self, photos: list[Path], name: str, image_size: tuple[int, int], config: SourceConfig
    ) -> None:
        super().__init__()
        rate = Fraction(config.rate).limit_denominator(1001)
        start, end = exact(config.start) or Fraction(0), exact(config.end)
        times = {n / rate: photo for n, photo in enumerate(photos)}
        self._photos = [(t, p) for t, p in times.items() if t >= start and (not end or t < end)]
        if not self._photos:
            until = f" to source.end {config.end} s" if end else ""
            raise SourceError(f"{name}: has no photo from source.start {float(start)} s{until}")
        self._named = Path(name).is_dir()
        self._image_size = image_size
        self._most = config.max_pixels
        first = self._first_readable()
        self.info = SourceInfo(
            name=name,
            width=first.shape[1],
            height=first.shape[0],
            rate=rate,
            time_base=1 / rate,
            codec=photos[0].suffix.lower().lstrip("."),
            rgb=True,
            expected_frames=len(self._photos),
            start=start,
        )

    def frames(self) -> Iterator[Frame]:
        """Read the photos; each is brought to the size of the first, an unreadable one is black."""
        size = (self.info.width, self.info.height)
        first = self.begin.index if self.begin else 0
        damaged = False
        for index, (time, path) in enumerate(self._photos[first:], first):
            try:
                photo, status = _read_photo(path, self._most)
            except SourceError as exc:  # one of many: the others are looked at all the same
                photo, status = np.zeros((*size[::-1], 3), np.uint8), _UNREADABLE
                self.notes.append(str(exc))
            if status != _UNREADABLE and _is_animated(path):
                self.notes.append(f"{path}: is animated; its first picture alone was looked at")
            if status == "damaged":
                damaged = True
                self.notes.append(f"{path}: is cut short; the part of it that is there was used")
            image = cv2.resize(photo, self._image_size, interpolation=cv2.INTER_AREA)
            window = None
            if photo.shape[1::-1] != size:
                photo, window = _fitted(photo, size)
                status = "resized" if status == "ok" else status
            yield Frame(
                index=index,
                time=time,
                duration=1 / self.info.rate,
                picture=replace(rgb_picture(photo), full_range=True),
                image=image.astype(np.uint8, copy=False),
                status=status,
                window=window,
                file=path.name if self._named else None,
                readable=status != _UNREADABLE,
            )
        if len(self._photos) == 1 and damaged:
            raise SourceCutShort(self.notes.pop())

    def _first_readable(self) -> NDArray[np.uint8]:
        """The photo whose size is that of the film; raises SourceError where none can be read."""
        errors = []
        for _, path in self._photos:
            try:
                return _read_photo(path, self._most)[0]
            except SourceError as exc:
                errors.append(exc)
        if len(errors) == 1:
            raise errors[0]
        raise SourceError(f"{errors[0]}; nor can any of the {len(errors) - 1} other photos")


class PhotoSink(Sink):
    """Writes the one picture it is given; a film does not fit."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._count = 0

    def write(self, picture: Picture, frame: Frame) -> None:
        self._count += 1
        if self._count > 1:
            raise UsageError(f"{self.path}: holds one picture, the input is a film; use .mp4")
        bgr = cv2.cvtColor(rgb_of(picture), cv2.COLOR_RGB2BGR)
        if not _written(self.part, bgr):
            raise SinkError(f"{self.path}: cannot be written; check the folder and the space in it")

        self.settled = 1

    def complete(self, rest: Sequence[Any]) -> None:
        """It is written already."""


def _read_photo(path: Path, most: int) -> tuple[NDArray[np.uint8], str]:
    """(h, w, 3) uint8 RGB, turned upright by its EXIF orientation, and its status.

    most: pixels; a header that promises more is refused before anything is decoded
    """
    try:
        data = path.read_bytes()
    except OSError as exc:
        raise SourceError(f"{path}: cannot be read ({exc.strerror}); check the file") from exc
    width, height = size_of_photo(data) or (0, 0)
    if width * height > most:
        raise SourceError(
            f"{path}: {width}×{height} pixels are more than source.max_pixels {most}; "
            "raise it if the file is trusted"
        )
    whole, photo = is_whole(data), None
    ended = data if whole else data + b"\xff\xd9"  # a cut JPEG is decoded as far as it goes
    quiet = nullcontext() if whole else silenced()  # libjpeg says what the status says
    with suppress(cv2.error), quiet:  # what has no pixels at all
        photo = cv2.imdecode(np.frombuffer(ended, np.uint8), cv2.IMREAD_COLOR)
    if photo is None:
        raise SourceError(f"{path}: cannot be read as a picture; it may be damaged")
    rgb = cv2.cvtColor(photo, cv2.COLOR_BGR2RGB).astype(np.uint8, copy=False)
    return rgb, "ok" if whole else "damaged"


def _is_animated(path: Path) -> bool:
    with suppress(OSError), path.open("rb") as file:
        return is_animated(file.read(_HEAD))
    return False


def _written(path: Path, bgr: NDArray[Any]) -> bool:
    """Write a picture whole or not at all.

    The file is written here: OpenCV takes the process down at a name that is no UTF-8.
    """
    with suppress(cv2.error, OSError):
        made, data = cv2.imencode(path.suffix, bgr)
        if made and path.write_bytes(data.tobytes()):
            return True
    with suppress(OSError):
        path.unlink()
    return False


def _fitted(
    photo: NDArray[np.uint8], size: tuple[int, int]
) -> tuple[NDArray[np.uint8], Window | None]:
    """Scale a photo into (width, height) with its aspect kept, black around it; where it lies."""
    width, height = size
    scale = min(width / photo.shape[1], height / photo.shape[0])
    inner = (max(1, round(photo.shape[1] * scale)), max(1, round(photo.shape[0] * scale)))
    canvas = np.zeros((height, width, 3), np.uint8)
    window = Window((height - inner[1]) // 2, (width - inner[0]) // 2, inner[1], inner[0])
    window.of(canvas)[:] = cv2.resize(photo, inner, interpolation=cv2.INTER_AREA)
    return canvas, None if inner == size else window
