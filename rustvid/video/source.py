"""Sources of frames: a video file, a photo, a folder of photos.

A source is a context manager; `frames()` yields what it holds once, in order of presentation.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from rustvid.config import SourceConfig
from rustvid.errors import SourceCutShort, SourceError
from rustvid.frames import Frame
from rustvid.video.planes import Converter, rgb_picture

PHOTOS = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp"})
_PROTOCOLS = "file"  # a playlist that reaches for the network or another protocol is refused


@dataclass(frozen=True)
class SourceInfo:
    """What is known of a source before its first frame.

    width, height: pixels, as stored; rate: mean frames per second
    time_base: seconds per tick of its clock; expected_frames: an estimate, None if unknown
    start: seconds, the time of what should be the first frame asked for
    """

    name: str
    width: int
    height: int
    rate: Fraction
    time_base: Fraction
    codec: str
    pixel_format: str
    expected_frames: int | None
    start: Fraction
    pixel_aspect: Fraction = Fraction(1)
    colour: tuple[int, int, int, int] = (2, 2, 2, 0)  # primaries, transfer, matrix, range: untold


class Source(Protocol):
    """What every source offers; one contract test runs over all of them."""

    info: SourceInfo
    companions: Sequence[Any]  # streams whose packets come with the frames, to be copied
    damaged_packets: int

    def __enter__(self) -> Source: ...
    def __exit__(self, *error: object) -> None: ...
    def frames(self) -> Iterator[Frame]: ...
    def rest(self) -> tuple[Any, ...]: ...


def open_source(name: str, image_size: tuple[int, int], config: SourceConfig) -> Source:
    """The source for a path, by what the path is. image_size: (width, height) for the network."""
    path = Path(name)
    if not path.exists():
        raise SourceError(f"{name}: no such file or folder; check the path")
    if path.is_dir():
        photos = sorted(p for p in path.iterdir() if p.suffix.lower() in PHOTOS)
        if not photos:
            raise SourceError(f"{name}: holds no pictures ({', '.join(sorted(PHOTOS))})")
        return PhotoSource(photos, name, image_size, config)
    if path.suffix.lower() in PHOTOS:
        return PhotoSource([path], name, image_size, config)
    if path.is_file() and path.stat().st_size == 0:
        raise SourceError(f"{name}: is empty (0 bytes); copy it again from the camera")
    return FileSource(path, image_size, config)


class FileSource:
    """A video file. Errors of FFmpeg become SourceError here and nowhere else."""

    def __init__(self, path: Path, image_size: tuple[int, int], config: SourceConfig) -> None:
        self._path = path
        self._config = config
        self._converter = Converter(image_size)
        self._container = _open(path)
        try:
            self._stream = self._video_stream()
            self.info = self._describe()
        except SourceError:
            self._container.close()
            raise
        self.companions = [
            s for s in self._container.streams if s.type in ("audio", "subtitle", "data")
        ]
        self._pending: list[Any] = []
        self._last: Frame | None = None
        self._read_error = ""
        self.damaged_packets = 0

    @property
    def container(self) -> Any:
        """The open input, for its metadata and chapters."""
        return self._container

    def __enter__(self) -> FileSource:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._container.close()

    def frames(self) -> Iterator[Frame]:
        """Decode; raises SourceCutShort after the last frame of a file that ends too early."""
        self._stream.thread_type = "AUTO"
        if self._config.start:
            self._container.seek(int(self._config.start * av.time_base))
        for decoded, status in self._decoded():
            frame = self._frame(decoded, status)
            if self._config.end is not None and frame.time >= self._config.end:
                return
            if frame.time >= (self._config.start or 0) or self._config.start is None:
                self._last = frame
                yield frame
        self._check_complete()

    def rest(self) -> tuple[Any, ...]:
        """Companion packets read after the last frame."""
        packets, self._pending = tuple(self._pending), []
        return packets

    def _video_stream(self) -> Any:
        streams = [
            s
            for s in self._container.streams.video
            if not s.disposition & av.stream.Disposition.attached_pic
        ]
        if not streams:
            kinds = ", ".join(sorted({s.type for s in self._container.streams})) or "nothing"
            raise SourceError(f"{self._path}: has no video stream (it holds {kinds})")
        stream = streams[0]
        context = stream.codec_context
        if context is None or not context.width or not context.height:
            raise SourceError(f"{self._path}: its video cannot be decoded; it may be cut short")
        if context.width * context.height > self._config.max_pixels:
            raise SourceError(
                f"{self._path}: {context.width}×{context.height} pixels are more than "
                f"source.max_pixels {self._config.max_pixels}; raise it if the file is trusted"
            )
        return stream

    def _describe(self) -> SourceInfo:
        stream, context = self._stream, self._stream.codec_context
        rate = stream.average_rate or stream.guessed_rate or stream.base_rate or Fraction(25)
        start = Fraction(self._config.start or 0).limit_denominator(1_000_000)
        return SourceInfo(
            name=str(self._path),
            width=context.width,
            height=context.height,
            rate=Fraction(rate),
            time_base=stream.time_base,
            codec=context.name,
            pixel_format=context.pix_fmt or "",
            expected_frames=self._expected_frames(Fraction(rate)),
            start=start,
            pixel_aspect=stream.sample_aspect_ratio or Fraction(1),
            colour=(
                context.color_primaries,
                context.color_trc,
                context.colorspace,
                context.color_range,
            ),
        )

    def _duration(self) -> Fraction | None:
        """Seconds that the headers promise, of the video stream if they say so."""
        if self._stream.duration:
            return Fraction(self._stream.duration * self._stream.time_base)
        if self._container.duration:
            return Fraction(self._container.duration, av.time_base)
        return None

    def _expected_frames(self, rate: Fraction) -> int | None:
        duration = self._duration()
        begin, end = self._config.start or 0, self._config.end
        if not begin and end is None and self._stream.frames:
            return int(self._stream.frames)
        if duration is None:
            return None
        seconds = min(float(duration), end if end is not None else float("inf")) - begin
        return max(0, round(seconds * float(rate)))

    def _decoded(self) -> Iterator[tuple[Any, str]]:
        """Decoded frames with their status; keeps companion packets aside as they come."""
        damaged = False
        for packet in self._packets():
            if packet.stream is not self._stream:
                if packet.size and packet.stream in self.companions:
                    self._pending.append(packet)
                continue
            try:
                decoded = packet.decode()
            except av.error.FFmpegError:
                self.damaged_packets += 1
                damaged = True
                continue
            for frame in decoded:
                status = "corrupt" if frame.is_corrupt else "damaged" if damaged else "ok"
                damaged = False
                yield frame, status

    def _packets(self) -> Iterator[Any]:
        try:
            yield from self._container.demux()
        except av.error.FFmpegError as exc:
            self._read_error = exc.strerror or str(exc)
            yield from self._flush()

    def _flush(self) -> Iterator[Any]:
        """An empty packet makes the decoder give what it still holds after a reading error."""
        packet = av.Packet()
        packet.stream = self._stream
        yield packet

    def _frame(self, decoded: Any, status: str) -> Frame:
        time, status = self._time(decoded, status)
        picture = self._converter.picture(decoded, self.info.pixel_aspect)
        companions, self._pending = tuple(self._pending), []
        return Frame(
            index=self._last.index + 1 if self._last else 0,
            time=time,
            duration=(decoded.duration or 0) * self.info.time_base,
            picture=picture,
            image=self._converter.image(decoded, picture),
            status=status,
            companions=companions,
        )

    def _time(self, decoded: Any, status: str) -> tuple[Fraction, str]:
        """pts × time_base; where that is missing or runs backwards, a time just after the last."""
        base = decoded.time_base or self.info.time_base
        time = None if decoded.pts is None else decoded.pts * base
        if time is not None and (self._last is None or time > self._last.time):
            return time, status
        if self._last is None:
            return Fraction(0), status
        step = self._last.duration or 1 / self.info.rate
        ticks = max(1, round(step / self.info.time_base))
        repaired = self._last.time + ticks * self.info.time_base
        return repaired, "time repaired" if status == "ok" else status

    def _check_complete(self) -> None:
        """FFmpeg ends a cut .mkv without an error: compare with what the headers promise."""
        if self._last is None:
            if self._config.start:
                raise SourceError(
                    f"{self._path}: has no frame after source.start {self._config.start} s"
                )
            raise SourceError(f"{self._path}: no frame could be decoded; the file is damaged")
        reached = self._last.time + self._last.duration
        begin = (self._stream.start_time or 0) * self.info.time_base
        promised = self._duration()
        missing = 0 if promised is None else float(begin + promised - reached)
        if self._read_error or missing > max(1.0, 0.02 * float(promised or 0)):
            lost = f", {missing:.1f} s before its end" if missing > 0 else ""
            why = f" ({self._read_error})" if self._read_error else ""
            raise SourceCutShort(
                f"{self._path}: is cut short{lost}{why}; all {self._last.index + 1} frames "
                "that could be read were processed"
            )


class PhotoSource:
    """One photo, or a folder of them as a film of `source.rate` frames per second."""

    def __init__(
        self, photos: list[Path], name: str, image_size: tuple[int, int], config: SourceConfig
    ) -> None:
        self._photos = photos
        self._image_size = image_size
        self.companions: list[Any] = []
        self.damaged_packets = 0
        rate = Fraction(config.rate).limit_denominator(1001)
        first = _read_photo(photos[0])
        self.info = SourceInfo(
            name=name,
            width=first.shape[1],
            height=first.shape[0],
            rate=rate,
            time_base=1 / rate,
            codec=photos[0].suffix.lower().lstrip("."),
            pixel_format="rgb24",
            expected_frames=len(photos),
            start=Fraction(0),
        )

    def __enter__(self) -> PhotoSource:
        return self

    def __exit__(self, *error: object) -> None:
        return None

    def frames(self) -> Iterator[Frame]:
        """Read the photos; each is brought to the size of the first."""
        for index, path in enumerate(self._photos):
            photo, status = _read_photo(path), "ok"
            size = (self.info.width, self.info.height)
            if photo.shape[1::-1] != size:
                photo, status = _fitted(photo, size), "resized"
            image = cv2.resize(photo, self._image_size, interpolation=cv2.INTER_AREA)
            yield Frame(
                index=index,
                time=index / self.info.rate,
                duration=1 / self.info.rate,
                picture=replace(rgb_picture(photo), full_range=True),
                image=image.astype(np.uint8, copy=False),
                status=status,
            )

    def rest(self) -> tuple[Any, ...]:
        return ()


def _open(path: Path) -> Any:
    try:
        return av.open(str(path), metadata_errors="replace", options={"protocol_whitelist": _PROTOCOLS})
    except PermissionError as exc:
        raise SourceError(f"{path}: may not be read; check its permissions") from exc
    except (av.error.FFmpegError, OSError) as exc:
        reason = getattr(exc, "strerror", None) or str(exc)
        raise SourceError(
            f"{path}: cannot be opened as video ({reason}); it may be cut short, "
            "damaged or of another kind"
        ) from exc


def _read_photo(path: Path) -> NDArray[np.uint8]:
    """(h, w, 3) uint8 RGB, turned upright by its EXIF orientation."""
    photo = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if photo is None:
        raise SourceError(f"{path}: cannot be read as a picture; it may be damaged")
    return cv2.cvtColor(photo, cv2.COLOR_BGR2RGB).astype(np.uint8, copy=False)


def _fitted(photo: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """Scale a photo into (width, height) with its aspect kept, black around it."""
    width, height = size
    scale = min(width / photo.shape[1], height / photo.shape[0])
    inner = (max(1, round(photo.shape[1] * scale)), max(1, round(photo.shape[0] * scale)))
    canvas = np.zeros((height, width, 3), np.uint8)
    left, top = (width - inner[0]) // 2, (height - inner[1]) // 2
    scaled = cv2.resize(photo, inner, interpolation=cv2.INTER_AREA)
    canvas[top : top + inner[1], left : left + inner[0]] = scaled
    return canvas
