"""What comes from a camera, over all its connections: one stream of frames, on one clock.

Connections tell it from their own threads, the pipeline takes from it in its own.
"""

from __future__ import annotations

import io
import logging
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import av

from rustvid.threads import Newest
from rustvid.video.connection import Listener, Opened
from rustvid.video.copies import codec_name
from rustvid.video.health import Health
from rustvid.video.timeline import TICK, Moment, Timeline

WAITING = 5  # decoded frames that may wait: a fifth of a second
_HOLDERS = ("matroska", "mov")  # the second holds G.711, the usual sound of cameras
_USUAL_RATE = Fraction(25)  # frames per second, where the camera does not say
_RATES = (1, 240)  # frames per second that are believed


@dataclass(frozen=True)
class Arrival:
    """A decoded frame on its way to the pipeline.

    status: as of `Frame`; aspect: width / height of one pixel; codec: its name
    companions: packets of sound since the frame before
    """

    picture: av.VideoFrame
    moment: Moment
    status: str
    aspect: Fraction
    codec: str
    companions: tuple[Any, ...]


class Arrivals:
    """Frames wait here, a few; the oldest are dropped, or `keep_all` holds the camera up.

    mark: what begins each line of the log about this camera
    """

    def __init__(self, health: Health, keep_all: bool, mark: str) -> None:
        self._health, self._mark = health, mark
        self._queue: Newest[Arrival] = Newest(WAITING, keep_all=keep_all, merge=_with_companions)
        self._skipped = 0  # packets that were not even decoded
        self._lock = threading.Lock()
        self._current: Listener | None = None  # whom we still hear
        self._timeline: Timeline | None = None
        self._sounds: _Sounds | None = None

    def listener(self) -> Listener:
        """Hear a new connection, and no more the one before."""
        with self._lock:
            self._current = _Ear(self)
            if self._timeline:
                self._timeline.connect()
            return self._current

    def deafen(self) -> None:
        """Hear nobody."""
        with self._lock:
            self._current = None

    def get(self, timeout: float) -> Arrival | None:
        """The next frame; None if none came in time."""
        arrival = self._queue.get(timeout)
        self._health.dropped = self._queue.dropped + self._skipped
        return arrival

    @property
    def waiting(self) -> int:
        """Frames that wait."""
        return len(self._queue)

    @property
    def step(self) -> Fraction:
        """Seconds from frame to frame, as of late."""
        return self._timeline.step if self._timeline else 1 / _USUAL_RATE

    @property
    def sounds(self) -> list[Any]:
        """Streams of sound, as templates of their copies; they outlive the connections."""
        return self._sounds.streams if self._sounds else []

    # --- from the threads of the connections

    def heard(self, ear: Listener) -> bool:
        return ear is self._current

    def opened(self, opened: Opened) -> dict[int, Any]:
        """The stream of `sounds` for each one of the connection, by its index."""
        if self._timeline is None:
            rate = opened.rate or _USUAL_RATE
            low, high = _RATES
            self._timeline = Timeline(rate if low <= rate <= high else _USUAL_RATE)
        if self._sounds is None:
            self._sounds = _Sounds(opened.sounds, self._mark)
        return self._sounds.matched(opened.sounds)

    def sound(self, packet: Any) -> None:
        """Keep a packet, whose stream is one of `sounds`, for the next frame."""
        assert self._timeline is not None and self._sounds is not None
        self._sounds.keep(packet, self._timeline)

    def picture(self, ear: _Ear, frame: av.VideoFrame, status: str) -> None:
        """Place a frame on the clock and let it wait."""
        with self._lock:
            if not self.heard(ear):
                return
            assert self._timeline is not None and self._sounds is not None
            first = not ear.pictures
            again = first and bool(self._health.read)
            ear.pictures += 1
            now, utc = time.monotonic(), time.time()
            stamped = ear.opened_as.stamped
            stamp = None if frame.pts is None else frame.pts * Fraction(frame.time_base or TICK)
            moment = self._timeline.place(stamp if stamped else Fraction(now), now, utc)
            self._health.read += 1
            if stamped or again:  # the time of arrival alone does not tell loss from jitter
                self._health.lost += max(0, moment.lost - ear.behind)  # what we skipped was sent
            ear.behind = 0
            if status == "ok":
                status = "reconnected" if again else "time repaired" if moment.jumped else status
            companions = self._sounds.taken()
        aspect, codec = ear.opened_as.aspect, ear.opened_as.codec
        arrival = Arrival(frame, moment, status, aspect, codec, companions)
        self._queue.put(arrival, lambda: self.heard(ear))

    def damaged(self) -> None:
        self._health.damaged += 1

    def skipped(self) -> None:
        self._skipped += 1


class _Ear(Listener):
    """Listens to one connection, until another one is listened to."""

    def __init__(self, arrivals: Arrivals) -> None:
        self.pictures = 0
        self.behind = 0  # packets skipped since the last picture
        self._arrivals = arrivals
        self._copies: dict[int, Any] = {}

    def opened(self, opened: Opened) -> None:
        if self._arrivals.heard(self):
            self.opened_as = opened
            self._copies = self._arrivals.opened(opened)

    def sound(self, packet: Any) -> None:
        copy = self._copies.get(packet.stream.index)
        if copy is not None and self.pictures and self._arrivals.heard(self):
            packet.stream = copy  # its own one is gone when the connection is
            self._arrivals.sound(packet)

    def picture(self, frame: av.VideoFrame, status: str) -> None:
        self._arrivals.picture(self, frame, status)

    def damaged(self) -> None:
        if self._arrivals.heard(self):
            self._arrivals.damaged()

    def skipped(self) -> None:
        if self._arrivals.heard(self):
            self.behind += 1
            self._arrivals.skipped()


class _Sounds:
    """Copies of the first connection's streams of sound, and packets that wait for a frame."""

    def __init__(self, streams: tuple[Any, ...], mark: str) -> None:
        # an output that is never written: it owns what describes the streams
        self._holder, held = max(
            (_held(streams, kind) for kind in _HOLDERS), key=lambda h: len(h[1])
        )
        self.streams = [ours for _, ours in held]
        self._about = [_about(stream) for stream, _ in held]
        self._ends: dict[int, Fraction] = {}
        self._packets: list[Any] = []
        for stream in streams:
            if all(stream is not other for other, _ in held):
                logging.getLogger("rustvid.live").warning(
                    "%ssound (%s) is left out: it cannot be copied", mark, codec_name(stream)
                )

    def matched(self, streams: tuple[Any, ...]) -> dict[int, Any]:
        """Which of these streams go on with which of ours, by index: those that sound alike."""
        left = dict(zip(map(id, self.streams), self._about, strict=True))
        found = {}
        for stream in streams:
            for ours in self.streams:
                if left.get(id(ours)) == _about(stream):
                    found[stream.index] = ours
                    del left[id(ours)]
                    break
        return found

    def keep(self, packet: Any, timeline: Timeline) -> None:
        """Move a packet to the common clock; one that would go back in time is left out."""
        stamp = packet.dts if packet.dts is not None else packet.pts
        base = packet.time_base
        moved = None if stamp is None else timeline.moved(stamp * base)
        index = packet.stream.index
        if moved is None or moved <= self._ends.get(index, Fraction(-1)):
            return
        self._ends[index] = moved
        shift = round(moved / base) - stamp
        packet.dts = stamp + shift
        packet.pts = (packet.pts if packet.pts is not None else stamp) + shift
        self._packets.append(packet)

    def taken(self) -> tuple[Any, ...]:
        """What waits, for one frame."""
        packets, self._packets = tuple(self._packets), []
        return packets


def _held(streams: Sequence[Any], kind: str) -> tuple[Any, list[tuple[Any, Any]]]:
    """A container of this kind, and of the streams that it takes each with its copy there."""
    holder = av.open(io.BytesIO(), "w", format=kind)
    held = []
    for stream in streams:
        with suppress(av.error.FFmpegError, ValueError):  # a codec that it does not hold
            held.append((stream, holder.add_stream_from_template(stream)))
    return holder, held


def _about(stream: Any) -> tuple[Any, ...]:
    """What must be the same for two streams to go into one track."""
    context = stream.codec_context
    return (context.name, context.sample_rate, context.layout.name, bytes(context.extradata or b""))


def _with_companions(gone: Arrival, following: Arrival) -> Arrival:
    """A frame that is dropped leaves its sound, its gap and its mark to the next one."""
    status = following.status if following.status != "ok" else gone.status
    return replace(following, companions=gone.companions + following.companions, status=status)
