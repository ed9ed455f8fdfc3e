"""What is encoded, sent on to another address as well: by a thread of its own, which may fail.

The recording never waits for it: packets wait in a queue, and where it is full, all of them go and
sending goes on with the next key frame.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections import deque
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import av

from rustvid.config import SourceConfig
from rustvid.redact import host_of, redacted
from rustvid.video.address import expanded, scheme_of
from rustvid.video.copies import holds, is_adts
from rustvid.video.encoded import PICTURE, Encoded, packet_of

FORMATS = {
    "rtsp": "rtsp",
    "rtsps": "rtsp",
    "rtmp": "flv",
    "rtmps": "flv",
    "udp": "mpegts",
    "tcp": "mpegts",
    "srt": "mpegts",
}
_WHOLE = "pkt_size=1316"  # bytes of a datagram: seven whole packets of MPEG-TS, as receivers expect
_MOST_BYTES = 8_000_000  # of packets that wait
_STEADY = 2.0  # seconds of sending after which the next drop is tried again soon
_LAST = 1.0  # seconds at the end for the connection to close
_TICK = 0.1


def speaks(scheme: str) -> bool:
    """Does FFmpeg here know this protocol? Nothing is sent to anybody."""
    if FORMATS[scheme] != "mpegts":
        return True  # a format of its own, that is always there
    try:
        av.open(f"{scheme}://", timeout=_TICK).close()
    except av.error.ProtocolNotFoundError:
        return False
    except (av.error.FFmpegError, OSError, ValueError):
        return True  # it is known: what it misses is the host
    return True


class Republisher:
    """Takes packets (see encoded.Tap) and sends them to `url`; a context manager.

    sent, dropped: packets; connections: how many there were. It connects again with the pauses of
    `source.retry_first` and `source.retry_longest`, for ever.
    """

    def __init__(self, url: str, config: SourceConfig) -> None:
        self.sent = self.dropped = self.connections = 0
        self._url, self._config = expanded(url), config
        self._name = f"{scheme_of(url)}://{host_of(url)}"  # the path may be a secret
        self._format = FORMATS[scheme_of(url)]
        if scheme_of(url) == "udp" and "pkt_size=" not in url:
            self._url += ("&" if "?" in url else "?") + _WHOLE
        self._queue: deque[Encoded] = deque()
        self._bytes = 0
        self._from_key = True  # nothing before a key frame is of use
        self._streams: tuple[Any, Sequence[Any]] | None = None
        self._changed = threading.Condition()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, name="rustvid-republish", daemon=True)

    def __enter__(self) -> Republisher:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        """Stop; a connection that hangs in FFmpeg is abandoned."""
        self._stop.set()
        self._thread.join(_LAST)

    @property
    def facts(self) -> dict[str, int]:
        """Counts, by their names on the status page."""
        return {
            "republished": self.sent,
            "republish_dropped": self.dropped,
            "republish_connections": self.connections,
        }

    # --- from the thread that encodes

    def begin(self, picture: Any, sounds: Sequence[Any]) -> None:
        """An encoder has begun; each one after the first is alike."""
        with self._changed:
            self._streams = (picture, tuple(sounds))

    def take(self, packet: Encoded) -> None:
        """Let a packet wait to be sent."""
        with self._changed:
            if self._from_key and not (packet.track == PICTURE and packet.key):
                self.dropped += 1
                return
            self._from_key = False
            self._queue.append(packet)
            self._bytes += len(packet.data)
            if self._bytes > _MOST_BYTES:
                self._drop_all()
            self._changed.notify_all()

    def _drop_all(self) -> None:
        self.dropped += len(self._queue)
        self._queue.clear()
        self._bytes, self._from_key = 0, True

    # --- in its own thread

    def _work(self) -> None:
        delay = self._config.retry_first
        while not self._stop.is_set():
            first = self._next()
            if first is None:
                continue
            began = time.monotonic()
            try:
                self._send(first)
            except (av.error.FFmpegError, OSError, ValueError) as exc:
                reason = redacted(getattr(exc, "strerror", None) or str(exc))
                if time.monotonic() - began > _STEADY:
                    delay = self._config.retry_first
                wait = random.uniform(0.8, 1.2) * delay
                delay = min(2 * delay, self._config.retry_longest)
                self._say(f"{reason}; again in {wait:.1f} s")
                self._stop.wait(wait)
            with self._changed:
                self._drop_all()  # it is old, and begins with no key frame

    def _next(self) -> Encoded | None:
        """The next packet; None if none came for a while."""
        with self._changed:
            if not self._queue:
                self._changed.wait(_TICK)
            if not self._queue:
                return None
            packet = self._queue.popleft()
            self._bytes -= len(packet.data)
            return packet

    def _send(self, packet: Encoded | None) -> None:
        """Connect, and send from this key frame on until it is stopped or fails."""
        assert packet and self._streams
        picture, sounds = self._streams
        start, last = packet.dts, dict[int, Fraction]()
        options: dict[str, str] = {}
        if self._format == "rtsp":
            options["rtsp_transport"] = self._config.transport
        container = av.open(self._url, "w", format=self._format, options=options)
        try:
            targets = {PICTURE: container.add_stream_from_template(picture, opaque=True)}
            for sound in sounds:
                if self._takes(sound):
                    targets[sound.index] = container.add_stream_from_template(sound)
            container.start_encoding()
            self.connections += 1
            self._say("connected")
            while not self._stop.is_set():
                if packet and packet.track in targets and packet.dts > last.get(packet.track, -1):
                    last[packet.track] = packet.dts
                    made = packet_of(packet, Fraction(1, 90_000), start)
                    made.stream = targets[packet.track]
                    container.mux(made)
                    self.sent += 1
                packet = self._next()
        finally:
            container.close()

    def _takes(self, sound: Any) -> bool:
        """Can it be sent? AAC with a header in each packet only where that is the way."""
        if self._format == "mpegts":
            return holds("mpegts", sound)
        return not is_adts(sound) and holds("flv" if self._format == "flv" else "mp4", sound)

    def _say(self, text: str) -> None:
        log = logging.getLogger("rustvid.live")
        log.info("%srepublish to %s: %s", self._config.mark, self._name, text)
