"""One connection to a camera: opened, read and decoded by a thread of its own, which ends with it.

PyAV can hang beyond its own timeouts and cannot be interrupted. So nobody waits for this thread:
who has had enough of it abandons it; it then says nothing more, and closes what it holds when it
can.
"""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import av
from av.stream import Discard

from rustvid.config import SourceConfig
from rustvid.redact import redacted
from rustvid.video.address import Address
from rustvid.video.delay import LeastDelay
from rustvid.video.device import refusal_of

_ANALYSE = 1_000_000  # microseconds of stream that FFmpeg may look at before it says what it is
_FINAL = (  # trying again would give the same
    av.error.HTTPUnauthorizedError,
    av.error.HTTPForbiddenError,
    av.error.HTTPNotFoundError,
)
_LATE, _ON_TIME = 2.0, 0.5  # seconds behind the camera: packets are skipped; no more
_RESTARTED = 1.0  # seconds back in time that are no packets out of order, but another clock
_UNSTAMPED = ("mpjpeg", "mjpeg")  # FFmpeg makes times up: 25 frames a second
_ENDED, _SILENT = "the stream ended", "no data in time"
_COMPLETE = "the playlist is complete"
_VARIANT = "variant_bitrate"  # of a stream that HLS offers in several qualities
_MISSING = 2.0  # seconds that may be missing at the end of one that was played to its end
_NO_PICTURE = "no picture in time, though the rest comes"
_NEVER = (av.error.ProtocolNotFoundError, av.error.DemuxerNotFoundError)
_REASONS: tuple[tuple[type[BaseException], str], ...] = (
    (av.error.HTTPUnauthorizedError, "401: user or password are refused"),
    (av.error.HTTPForbiddenError, "403: access is forbidden"),
    (av.error.HTTPNotFoundError, "404: there is no such stream"),
    (av.error.ProtocolNotFoundError, "the protocol is not known to FFmpeg here, or not allowed"),
    (av.error.ExitError, _SILENT),
)


@dataclass(frozen=True)
class Opened:
    """What is known once a connection is open.

    rate: frames per second as promised, None if nothing is; aspect: width / height of one pixel
    sounds: the streams of sound
    stamped: the frames say when they were taken; those of MJPEG over HTTP do not
    """

    codec: str
    rate: Fraction | None
    aspect: Fraction
    sounds: tuple[Any, ...]
    stamped: bool = True


@dataclass(frozen=True)
class Ending:
    """Why a connection is over; final: there is no use in another one; bug: one of ours.

    unless_seen: final, too, but where a picture came before
    complete: all there is was read, as of a film
    """

    reason: str
    final: bool = False
    unless_seen: bool = False
    complete: bool = False
    bug: BaseException | None = None


class Listener:
    """What a connection tells; called from its thread, never after it was abandoned."""

    def opened(self, opened: Opened) -> None:
        """It is open: the first packet may come."""

    def sound(self, packet: Any) -> None:
        """A packet of a stream in `opened.sounds`."""

    def picture(self, frame: av.VideoFrame, status: str) -> None:
        """A decoded frame; may block, which holds the camera up."""

    def damaged(self) -> None:
        """A packet could not be decoded."""

    def skipped(self) -> None:
        """A packet was not decoded, for want of time."""


class Connection:
    """Starts at once. `ending` is set when it is over, `changed` whenever something happens."""

    def __init__(
        self, address: Address, config: SourceConfig, listener: Listener, changed: threading.Event
    ) -> None:
        self.started = self.heard = time.monotonic()  # heard: when the picture's last packet came
        self.playing = False
        self.busy = False  # in `listener.picture`: no packet is waited for
        self.ending: Ending | None = None
        self._address, self._config, self._listener = address, config, listener
        self._changed = changed
        self._abandoned = threading.Event()
        self._thread = threading.Thread(target=self._live, name="rustvid-camera", daemon=True)
        self._thread.start()

    @property
    def wanted(self) -> bool:
        return not self._abandoned.is_set()

    @property
    def alive(self) -> bool:
        """Does its thread still hold something?"""
        return self._thread.is_alive()

    def abandon(self, wait: float = 0.0) -> None:
        """Hear nothing more of it; wait so many seconds for it to close."""
        self._abandoned.set()
        self._thread.join(wait)

    def _live(self) -> None:
        container = None
        try:
            container = _open(self._address, self._config)
            reason = self._read(container) if self.wanted else _ENDED
            ending = Ending(reason, complete=reason == _COMPLETE)
        except (av.error.FFmpegError, OSError) as exc:
            ending = ending_of(exc, self._config, self._address.scheme)
            late = time.monotonic() - self.started >= self._config.open_timeout
            if late and not self.playing and not ending.final:
                ending = Ending(_SILENT)  # FFmpeg may say anything then
        except _Unfit as exc:
            ending = Ending(str(exc), exc.final)
        except BaseException as exc:  # noqa: BLE001 - a bug: it is raised again in the reader
            ending = Ending(type(exc).__name__, final=True, bug=exc)
        self.ending = ending
        self._changed.set()
        if container is not None:
            with suppress(av.error.FFmpegError, OSError):  # it was lost, or says goodbye to nobody
                container.close()

    def _read(self, container: Any) -> str:
        """Read to the end; why it ended."""
        video = _video_of(container, self._config)
        sounds = _sounds_of(container, video)
        self._listener.opened(
            Opened(
                video.codec_context.name,
                Fraction(rate) if (rate := video.average_rate or video.guessed_rate) else None,
                video.sample_aspect_ratio or Fraction(1),
                sounds,
                container.format.name not in _UNSTAMPED,
            )
        )
        damaged, patience = False, self._config.read_timeout
        last = 0.0  # seconds since the beginning of the stream
        lag = None if self._config.keep_all else Lag()
        asked = self.heard = time.monotonic()
        for packet in container.demux():
            if not self.wanted:
                return _ENDED
            now = time.monotonic()
            # where its timeout strikes, FFmpeg gives out a packet that it had held back, and only
            # after as long again says so
            late = now - asked >= patience
            if packet.stream is not video:
                if packet.stream in sounds and packet.size:
                    self._listener.sound(packet)
                if not late and now - self.heard >= patience:
                    return _NO_PICTURE
            else:
                if not late:
                    self.heard = now
                if packet.pts is not None:
                    last = max(
                        last, float((packet.pts - (video.start_time or 0)) * video.time_base)
                    )
                if lag and lag.skips(packet, now):
                    self._listener.skipped()
                else:
                    damaged = self._decode(packet, damaged)
            if late:
                return _SILENT
            asked = time.monotonic()
        # FFmpeg ends a playlist likewise when its server is gone. Of one that is complete, and of
        # no other, it knew the length from the beginning.
        length = container.duration if self._address.in_pieces else None
        whole = length is not None and last >= length / av.time_base - _MISSING
        return _COMPLETE if whole else _ENDED

    def _decode(self, packet: Any, damaged: bool) -> bool:
        """Hand its frames over; was it, or one before it without a frame since, damaged?"""
        try:
            decoded = packet.decode()
        except av.error.FFmpegError:
            self._listener.damaged()
            return True
        for frame in decoded:
            status = "corrupt" if frame.is_corrupt else "damaged" if damaged else "ok"
            damaged = False
            self._hand_over(frame, status)
        return damaged

    def _hand_over(self, frame: av.VideoFrame, status: str) -> None:
        if not self.playing:
            self.playing = True
            self._changed.set()
        self.busy = True
        try:
            self._listener.picture(frame, status)
        finally:
            self.heard = time.monotonic()
            self.busy = False


class Lag:
    """Whether decoding has fallen behind the camera, so that packets must go undecoded.

    Where the processor cannot decode all, what is not read waits in the network's buffers and the
    delay grows without end. Packets are then skipped until a key frame that is on time.
    """

    def __init__(self) -> None:
        self._least = LeastDelay()
        self._last = 0.0  # stamp of the packet before
        self._skipping = False

    def skips(self, packet: Any, now: float) -> bool:
        """Leave this packet of the picture undecoded? now: monotonic seconds"""
        if packet.dts is None:
            return self._skipping
        stamp = float(packet.dts * packet.time_base)
        restarted = stamp < self._last - _RESTARTED
        self._last = stamp
        late = now - stamp - self._least.seen(stamp, now, restart=restarted)
        if late > _LATE:
            self._skipping = True
        elif self._skipping and packet.is_keyframe and late < _ON_TIME:
            self._skipping = False
        return self._skipping


class _Unfit(Exception):
    """The camera sends what cannot be used, now or ever."""

    def __init__(self, message: str, *, final: bool = False) -> None:
        super().__init__(message)
        self.final = final


def ending_of(error: BaseException, config: SourceConfig, scheme: str = "") -> Ending:
    """Why, in words without a password, and whether to try again."""
    refusal = refusal_of(error) if scheme == "v4l2" else None
    if refusal:
        again = config.retry_refused
        return Ending(
            refusal.reason, refusal.final and not again, refusal.unless_seen and not again
        )
    final = isinstance(error, _NEVER) or (isinstance(error, _FINAL) and not config.retry_refused)
    for kind, words in _REASONS:
        if isinstance(error, kind):
            return Ending(words, final)
    return Ending(redacted(getattr(error, "strerror", None) or str(error)), final)


def _open(address: Address, config: SourceConfig) -> Any:
    options = {
        "protocol_whitelist": address.whitelist,
        "analyzeduration": str(_ANALYSE),
        "fpsprobesize": "0",  # the rate is measured here
    }
    if not address.in_pieces:  # what comes in pieces is behind anyway, and would lose its beginning
        options["fflags"] = "nobuffer"
    if address.scheme in ("rtsp", "rtsps"):
        options["rtsp_transport"] = config.transport
    return av.open(
        address.url,
        format="v4l2" if address.scheme == "v4l2" else None,
        options=options,
        metadata_errors="replace",
        timeout=(config.open_timeout, config.read_timeout),
    )


def _video_of(container: Any, config: SourceConfig) -> Any:
    if not container.streams.video:
        kinds = ", ".join(sorted({s.type for s in container.streams})) or "nothing"
        raise _Unfit(f"it sends no picture ({kinds})")
    stream = max(container.streams.video, key=lambda one: int(one.metadata.get(_VARIANT, 0)))
    context = stream.codec_context
    if context is None:
        raise _Unfit("its picture cannot be decoded")
    if context.width * context.height > config.max_pixels:
        raise _Unfit(
            f"{context.width}×{context.height} pixels are more than source.max_pixels "
            f"{config.max_pixels}; raise it if the camera is trusted",
            final=True,
        )
    stream.thread_type = "SLICE"  # threads by frame hold a frame back each
    return stream


def _sounds_of(container: Any, video: Any) -> tuple[Any, ...]:
    """The streams of sound that go with these pictures; other qualities are not even fetched."""
    own = (None, video.metadata.get(_VARIANT))
    for stream in container.streams:
        if stream.metadata.get(_VARIANT) not in own:
            stream.discard = Discard.all
    return tuple(s for s in container.streams.audio if s.metadata.get(_VARIANT) in own)
