"""A film as a source: a video file, or one at an address."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

import av
from av.video.reformatter import VideoReformatter

from rustvid.config import SourceConfig
from rustvid.errors import SourceCutShort, SourceError
from rustvid.files import size_of
from rustvid.frames import Frame
from rustvid.redact import redacted
from rustvid.video.hardware import best_opened
from rustvid.video.opening import PROTOCOLS, SILENCE, answered, opened, silent
from rustvid.video.place import Place
from rustvid.video.planes import Converter, is_rgb
from rustvid.video.source import Begin, Source, SourceInfo
from rustvid.video.streams import is_companion, left_out, odd_place, picture_of, tags_of
from rustvid.video.telemetry import track_of
from rustvid.video.times import Seen, clock_time, exact, rate_of, span_of, time_text, without_leaps

_READ_TRIES = 8  # that may fail in a row until reading is given up
_PRIMING = 0.5  # seconds before zero that a player is to leave out, and no more
_LATE = 10.0  # seconds at which a clock may begin; .ts files of FFmpeg's own begin at 1.4
_TOLERANCE = 1.0  # seconds that a film may end before its headers say


class FileSource(Source):
    """A video file, or a film at an address. FFmpeg's errors become SourceError here alone."""

    def __init__(
        self,
        path: Path | str,
        image_size: tuple[int, int],
        config: SourceConfig,
        protocols: str = PROTOCOLS,
        place: Place | None = None,
    ) -> None:
        super().__init__()
        self._path = path
        self._place = place = place or Place()
        self._config = config
        self._protocols = protocols
        self._converter = Converter(image_size)
        self._resizer = VideoReformatter()
        self._looks: tuple[int, int, str] | None = None  # size and pixel format of the first frame
        self._bytes = size_of(path)
        self.container: Any
        self.container, self.notes = best_opened(path, protocols, config)
        try:
            self._track = track_of(path, self.container, place.located)
            self._stream = picture_of(self.container, path, config.max_pixels)
            self.info = self._describe()
        except SourceError:
            self.container.close()
            raise
        self.companions = [s for s in self.container.streams if is_companion(s)]
        self.notes += left_out(self.container, [self._stream, *self.companions])
        self._pending: list[Any] = list(place.pending)
        self._last: Seen | None = place.after
        self._skipped = 0  # frames before the one that was sought
        self._read_error = ""

    @property
    def stream(self) -> Any:
        """PyAV's stream of the pictures."""
        return self._stream

    @property
    def last(self) -> Seen | None:
        """The last frame read so far, also of the file before."""
        return self._last

    def frames(self) -> Iterator[Frame]:
        """Decode; raises SourceCutShort after the last frame of a file that ends too early."""
        self._stream.thread_type = "AUTO"
        self._stream.codec_context.thread_count = self.threads
        self._stream.codec_context.options = {"max_pixels": str(self._config.max_pixels)}
        start, end = self.info.start, exact(self._config.end)
        begin = self.begin
        sought = begin is not None and begin.seek and self.finds(begin)
        if begin and sought:
            self.container.seek(self._before(begin))
        elif self._place.before:
            base = self.info.time_base
            self._place.prime(self._stream.codec_context, self._stream.index, base)
        elif self._config.start and start > self._place.shift:
            with answered(self._path, self._config.read_timeout):
                self._place.seek(self.container, self._stream, start)
        for decoded, status in without_leaps(self._decoded(), 1 / self.info.time_base):
            if self._none_yet and self._place.is_primer(decoded):
                continue
            time, status = self._time(decoded, status)
            if start and time < start:
                continue  # from the key frame before the start
            if begin and sought and self._none_yet:
                if time_text(time) != begin.time:
                    continue  # from the key frame before it
                self._skipped = begin.index
            if end is not None and time >= end:
                break
            index = self._last.index + 1 if self._last else self._skipped
            self._last = Seen(index, time, (decoded.duration or 0) * self.info.time_base)
            if not begin or index >= begin.index:
                yield self._frame(decoded, self._last, status)
            else:
                self._pending.clear()
        else:
            self._check_complete()
        if self._none_yet:
            after = f" between source.start {float(start):g} s and" if start else " before"
            raise SourceError(f"{self._path}: has no frame{after} source.end {float(end or 0):g} s")

    def companion_packets(self) -> Iterator[Any]:
        """The companions' packets alone, instead of the frames."""
        if self._config.start and self.info.start > self._place.shift:
            self.container.seek(self._ticks(self.info.start))
        for packet in self._packets() if self.companions else ():
            if self._is_copied(packet):
                yield self._place.as_companion(packet)

    def finds(self, begin: Begin) -> bool:
        """Does a seek, tried in the file opened once more, come to the very frame, undamaged?"""
        try:
            with opened(self._path, self._protocols, None, self._config) as container:
                stream = container.streams[self._stream.index]
                stream.thread_type = "AUTO"
                container.seek(self._before(begin))
                for frame in container.decode(stream):
                    if frame.pts is None:
                        return False
                    seconds = Fraction(frame.pts * frame.time_base) + self._place.shift
                    if time_text(seconds) == begin.time:
                        return not frame.is_corrupt
                    if float(seconds) > float(begin.time):
                        return False
        except (av.error.FFmpegError, SourceError):
            return False
        return False

    @property
    def _none_yet(self) -> bool:
        """Has no frame been read of this file?"""
        return self._last is self._place.after

    def _ticks(self, time: Fraction) -> int:
        """A time of the film in FFmpeg's own ticks of this file."""
        return int((time - self._place.shift) * av.time_base)

    def _before(self, begin: Begin) -> int:
        """Where to seek for it: a second earlier, for open groups' sake."""
        return self._ticks(Fraction(begin.time) - 1)

    def rest(self) -> tuple[Any, ...]:
        """Companion packets read after the last frame."""
        packets, self._pending = tuple(self._pending), []
        return packets

    def _describe(self) -> SourceInfo:
        stream, context = self._stream, self._stream.codec_context
        rate = rate_of(stream)
        return SourceInfo(
            name=redacted(str(self._path)),
            width=context.width,
            height=context.height,
            rate=rate,
            time_base=stream.time_base,
            codec=context.name,
            rgb=is_rgb(context.format),
            expected_frames=self._expected_frames(rate),
            start=self._start(),
            end=exact(self._config.end),
            tags=tags_of(self.container, stream),
            disposition=int(stream.disposition),
            located=bool(self._track),
            pixel_bytes=context.format.padded_bits_per_pixel / 8 if context.format else 3.0,
            pixel_aspect=stream.sample_aspect_ratio or Fraction(1),
            colour=(
                context.color_primaries,
                context.color_trc,
                context.colorspace,
                context.color_range,
            ),
        )

    def _start(self) -> Fraction:
        """Where the result begins: where it is asked for, or where a clock does that begins before
        zero, as of a .ts whose 33 bits run full in it, or late, as of a recorder's: no other
        container holds such times, and no player waits for hours. Pictures later than their sound
        are no late clock; of a file after another its own says nothing."""
        asked = exact(self._config.start)
        first = (self._stream.start_time or 0) * self._stream.time_base
        whole = min(first, Fraction(self.container.start_time or 0, av.time_base))
        if asked is None and self._place.begin is None and (first < -_PRIMING or whole > _LATE):
            self.notes.append(f"its clock begins at {float(first):.3f} s, that of the result at 0")
            return Fraction(first)
        return asked or Fraction(0)

    def _tolerance(self, frames: int) -> float:
        """Seconds that the end may be missing: little where the headers are exact."""
        told = clock_time(self._stream.metadata.get("DURATION", "")) is not None
        whole = not self._config.start and self._config.end is None
        few = whole and 0 < frames < self._stream.frames - 1
        return max(0.1, 2.5 / float(self.info.rate)) if told or few else _TOLERANCE

    def _expected_frames(self, rate: Fraction) -> int | None:
        start, end = self._config.start or 0, self._config.end
        if not start and end is None and self._stream.frames:
            return int(self._stream.frames)
        first, last = span_of(self.container, self._stream)
        if last is None:
            return None
        seconds = min(float(last), end if end is not None else float("inf")) - max(first, start)
        return max(0, round(seconds * float(rate)))

    def _decoded(self) -> Iterator[tuple[Any, str]]:
        """Decoded frames with their status; keeps companion packets aside as they come."""
        damaged = False
        for packet in self._packets():
            if packet.stream is not self._stream:
                if self._is_copied(packet):
                    self._pending.append(self._place.as_companion(packet))
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

    def _is_copied(self, packet: Any) -> bool:
        """Is it of a companion, before the end asked for, and not of the file before this one?"""
        if not packet.size or packet.stream not in self.companions:
            return False
        stamp = packet.pts if packet.pts is not None else packet.dts
        end = self._config.end
        if stamp is None:
            return True
        time = stamp * packet.time_base + self._place.shift
        return not self._place.is_before(packet, time) and (end is None or float(time) < end)

    def _packets(self) -> Iterator[Any]:
        """All packets; reading goes on behind a damaged place, unless nothing comes any more."""
        failures, patience = 0, self._config.read_timeout
        while failures < _READ_TRIES:
            try:
                for packet in self.container.demux():
                    failures = 0
                    yield packet
            except SILENCE as exc:
                if self._none_yet:
                    raise silent(self._path, patience) from exc
                self._read_error = f"the server was silent for {patience:g} s"
                break
            except av.error.FFmpegError as exc:
                failures += 1
                self.damaged_packets += 1
                self._read_error = exc.strerror or str(exc)
            else:
                if not failures:
                    self._read_error = ""
                return
        yield from self._flush()

    def _flush(self) -> Iterator[Any]:
        """An empty packet makes the decoder give what it still holds after a reading error."""
        packet = av.Packet()
        packet.stream = self._stream
        yield packet

    def _frame(self, decoded: Any, seen: Seen, status: str) -> Frame:
        decoded, status = self._as_the_first(decoded, status)
        picture = self._converter.picture(decoded, self.info.pixel_aspect)
        companions, self._pending = tuple(self._pending), []
        return Frame(
            index=seen.index,
            time=seen.time,
            duration=seen.duration,
            picture=picture,
            image=partial(self._converter.image, decoded, picture),
            status=status,
            companions=companions,
            position=self._track.at(seen.time - self._place.shift) if self._track else None,
        )

    def _as_the_first(self, decoded: Any, status: str) -> tuple[Any, str]:
        """A film has one size and one pixel format: the first frame's."""
        looks = decoded.width, decoded.height, decoded.format.name
        if self._looks is None and decoded.interlaced_frame:
            self.notes.append(
                f"{self._path}: is interlaced; the two moments of each frame stay woven in a film "
                "that is no longer marked as such; deinterlace it first (ffmpeg -vf bwdif)"
            )
        if self._looks is None and (told := odd_place(decoded)):
            self.notes.append(told)
        self._looks = self._looks or looks
        width, height, form = self._looks
        if looks == self._looks:
            return decoded, status
        if looks[:2] != (width, height):
            status = "resized" if status == "ok" else status
            note = f"{self._path}: changes its size; all frames are brought to {width}×{height}"
            if note not in self.notes:
                self.notes.append(note)
        return self._resizer.reformat(decoded, width=width, height=height, format=form), status

    def _time(self, decoded: Any, status: str) -> tuple[Fraction, str]:
        """pts × time_base; where that is missing or runs backwards, a time just after the last."""
        base = decoded.time_base or self.info.time_base
        time = None if decoded.pts is None else decoded.pts * base + self._place.shift
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
        if self._last is None or self._none_yet:
            if self._config.start:
                raise SourceError(
                    f"{self._path}: has no frame after source.start {self._config.start} s"
                )
            raise SourceError(f"{self._path}: no frame could be decoded; the file is damaged")
        if self._bytes and size_of(self._path) > self._bytes:
            self.notes.append(
                f"{self._path}: has grown while it was read; what was added is not in the result"
            )
        reached = self._last.time + self._last.duration - self._place.shift
        count = self._last.index - (self._place.after.index if self._place.after else -1)
        _, promised = span_of(self.container, self._stream)
        missing = 0 if promised is None else float(promised - reached)
        if self._read_error or missing > self._tolerance(count):
            lost = f", {missing:.1f} s before its end" if missing > 0 else ""
            why = f" ({self._read_error})" if self._read_error else ""
            raise SourceCutShort(
                f"{self._path}: is cut short{lost}{why}; all {count} frames "
                "that could be read were processed"
            )
