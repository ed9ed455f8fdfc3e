"""A live camera as a source: it reconnects, stays current, and says what was lost.

A supervisor thread moves between the states (`health.State`) and gives each connection a thread of
its own; what hangs in FFmpeg is abandoned, not waited for. Decoded frames wait for the pipeline in
`Arrivals`, which drops the oldest, so that what comes out is never far behind the camera.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from fractions import Fraction
from functools import partial
from typing import Any

import av
from av.video.reformatter import VideoReformatter

from rustvid.config import SourceConfig
from rustvid.errors import SourceError
from rustvid.frames import Frame
from rustvid.video.address import Address
from rustvid.video.arrivals import WAITING, Arrival, Arrivals
from rustvid.video.connection import Connection, Ending
from rustvid.video.health import Health, State
from rustvid.video.planes import Converter, is_rgb
from rustvid.video.source import Source, SourceInfo
from rustvid.video.timeline import TICK
from rustvid.video.times import exact

_LOOK = 0.1  # seconds between looks at the clock
_GRACE = 1.0  # seconds past FFmpeg's own timeouts before a connection is abandoned
_STEADY = 2.0  # seconds of pictures after which the next drop is tried again soon
_PIECE = 30.0  # seconds that HLS, which sends some seconds at a time, may be silent
_CLOSING = 0.5  # seconds for a connection to close
_MOST_ABANDONED = 16  # connections that hang in FFmpeg: more would fill the memory


class LiveSource(Source):
    """A camera. `frames()` ends when `stop` was called, and raises SourceError when it is given up.

    asked_to_stop: looked at ten times a second, whoever calls `stop` or not
    `info` is there from the first frame on.
    """

    def __init__(
        self,
        address: Address,
        image_size: tuple[int, int],
        config: SourceConfig,
        asked_to_stop: Callable[[], bool],
    ) -> None:
        super().__init__()
        if address.in_pieces:
            longer = max(config.read_timeout, _PIECE)
            config = replace(config, keep_all=True, read_timeout=longer)
        self.health = Health()
        self._address, self._config = address, config
        self._converter = Converter(image_size)
        self._refit = VideoReformatter()
        self._arrivals = Arrivals(self.health, config.keep_all, config.mark)
        self._pixel_format = ""  # of the first frame
        self._odd: tuple[int, int, str] | None = None  # the last shape that was not the first one's
        self._asked_to_stop = asked_to_stop
        self._stop, self._changed = threading.Event(), threading.Event()
        self._over = threading.Event()  # nothing more comes
        self._ending: Ending | None = None  # why it failed
        self._abandoned: list[Connection] = []  # that still hold something
        self._supervisor = threading.Thread(
            target=self._supervise, name="rustvid-supervisor", daemon=True
        )

    def __enter__(self) -> LiveSource:
        if self._config.hwaccel != "none":
            logging.getLogger("rustvid.live").warning(
                "%ssource.hwaccel %s: is for files; a camera is decoded in software",
                self._config.mark,
                self._config.hwaccel,
            )
        self._supervisor.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()
        self._supervisor.join()

    @property
    def companions(self) -> Sequence[Any]:  # type: ignore[override]
        """Streams of sound, known from the first frame on."""
        return self._arrivals.sounds

    @property
    def waiting(self) -> int:
        """Decoded frames that wait for the pipeline."""
        return self._arrivals.waiting

    @property
    def behind(self) -> bool:
        """Will frames be dropped soon? Never where they may wait."""
        return not self._config.keep_all and 2 * self.waiting > WAITING

    def stop(self) -> None:
        """End within a second, in whatever state it is."""
        self._stop.set()
        self._changed.set()

    @property
    def _stopped(self) -> bool:
        return self._stop.is_set() or self._asked_to_stop()

    def frames(self) -> Iterator[Frame]:
        """Frames as they come; those that come too fast are dropped."""
        index, end = 0, exact(self._config.end)
        while arrival := self._next():
            if end is not None and arrival.moment.time >= end:
                return
            if not index:
                self.info = self._described(arrival)
                self._pixel_format = arrival.picture.format.name
            yield self._frame(index, arrival)
            index += 1
        self._raise_failure()

    # --- in the pipeline's thread

    def _next(self) -> Arrival | None:
        """The next frame; None at the end. After `stop` nothing more is given out."""
        while not self._stopped:
            over = self._over.is_set()
            if arrival := self._arrivals.get(_LOOK):
                return arrival
            if over:
                return None
        return None

    def _raise_failure(self) -> None:
        if self._ending is None:
            return
        if self._ending.bug:
            raise self._ending.bug
        raise SourceError(f"{self._address.name}: {self._ending.reason}")

    def _described(self, arrival: Arrival) -> SourceInfo:
        picture = arrival.picture
        return SourceInfo(
            name=self._address.name,
            width=picture.width,
            height=picture.height,
            rate=(1 / self._arrivals.step).limit_denominator(1001),
            time_base=TICK,
            codec=arrival.codec,
            rgb=is_rgb(picture.format),
            expected_frames=None,
            start=Fraction(0),
            live=True,
            pixel_aspect=arrival.aspect,
            colour=(
                int(picture.color_primaries),
                int(picture.color_trc),
                int(picture.colorspace),
                int(picture.color_range),
            ),
        )

    def _frame(self, index: int, arrival: Arrival) -> Frame:
        decoded, status = self._fitted(arrival.picture, arrival.status)
        picture = self._converter.picture(decoded, self.info.pixel_aspect)
        return Frame(
            index=index,
            time=arrival.moment.time,
            duration=round(self._arrivals.step / TICK) * TICK,
            picture=picture,
            image=partial(self._converter.image, decoded, picture),
            status=status,
            companions=arrival.companions,
            utc=arrival.moment.utc,
        )

    def _fitted(self, picture: av.VideoFrame, status: str) -> tuple[av.VideoFrame, str]:
        """Bring a picture to the size of the first one: an output cannot change its own."""
        wanted = (self.info.width, self.info.height, self._pixel_format)
        shape = (picture.width, picture.height, picture.format.name)
        if shape == wanted:
            return picture, status
        if shape != self._odd:
            self._odd = shape
            self._say("sends {}×{} {} now: scaled to {}×{} {}".format(*shape, *wanted))
        width, height, kind = wanted
        scaled = self._refit.reformat(picture, width=width, height=height, format=kind, threads=1)
        return scaled, "resized" if status in ("ok", "reconnected") else status

    # --- in the supervisor's thread

    def _supervise(self) -> None:
        try:
            self._ending = self._keep_connected()
            if self._ending:
                self._enter(State.FAILED, self._ending.reason)
            else:
                self._enter(State.STOPPED)
        except BaseException as exc:  # noqa: BLE001 - it is raised again in the reader
            self._ending = Ending(type(exc).__name__, bug=exc)
        finally:
            self._over.set()

    def _keep_connected(self) -> Ending | None:
        """Connect, follow, wait, again; returns why it was given up, None if it was stopped."""
        delay, seen = self._config.retry_first, time.monotonic()  # seen: the last picture
        while True:
            self._enter(State.CONNECTING)
            played, ending = self._follow()
            if ending is None or ending.complete:
                return None
            now = time.monotonic()
            if played is not None:
                seen = now
            if played is not None and played > _STEADY:
                delay = self._config.retry_first
            final = ending.final or (ending.unless_seen and not self.health.read)
            if final:
                return ending
            if self.health.abandoned > _MOST_ABANDONED:
                reason = (
                    f"given up: {self.health.abandoned} connections hang in FFmpeg, and more would "
                    f"fill the memory; start it anew. The last one: {ending.reason}"
                )
                return replace(ending, reason=reason)
            wait = random.uniform(0.8, 1.2) * delay
            patience = self._config.retry_for
            if patience is not None:
                if now - seen >= patience:
                    reason = f"given up after {patience:g} s without a picture: {ending.reason}"
                    return replace(ending, reason=reason)
                wait = min(wait, seen + patience - now)
            self._enter(State.WAITING, f"{ending.reason}; again in {wait:.1f} s")
            if not self._waited(wait):
                return None
            self.health.reconnects += bool(self.health.read)
            delay = min(2 * delay, self._config.retry_longest)

    def _waited(self, seconds: float) -> bool:
        """Let the time pass; False if it was stopped meanwhile."""
        until = time.monotonic() + seconds
        while not self._stopped and (left := until - time.monotonic()) > 0:
            self._stop.wait(min(left, _LOOK))
        return not self._stopped

    def _follow(self) -> tuple[float | None, Ending | None]:
        """One connection, until it is over: how long it played, if at all, and why it ended.

        Without a reason it was stopped.
        """
        listener = self._arrivals.listener()
        connection = Connection(self._address, self._config, listener, self._changed)
        began: float | None = None
        try:
            while not self._stopped:
                self._changed.wait(_LOOK)
                self._changed.clear()
                now = time.monotonic()
                if began is None and connection.playing:
                    began = now
                    self._enter(State.PLAYING)
                if ending := connection.ending or self._judged(connection, now):
                    return (None if began is None else now - began), ending
            return None, None
        finally:
            self._arrivals.deafen()
            connection.abandon(_CLOSING)
            self._abandoned = [one for one in (*self._abandoned, connection) if one.alive]
            self.health.abandoned = len(self._abandoned)

    def _judged(self, connection: Connection, now: float) -> Ending | None:
        """The watchdog: does it play, stall, or hang beyond FFmpeg's own timeouts?"""
        patience = self._config.read_timeout
        if not connection.playing:
            late = now - connection.started > self._config.open_timeout + patience + _GRACE
            return Ending("no picture in time, and it does not answer") if late else None
        quiet = 0.0 if connection.busy else now - connection.heard
        if quiet > patience + _GRACE:
            return Ending(f"silent for {quiet:.0f} s, and it does not answer")
        if quiet > patience / 2:
            self._enter(State.STALLED, f"no picture for {quiet:.1f} s")
        else:
            self._enter(State.PLAYING)
        return None

    def _enter(self, state: State, reason: str = "") -> None:
        if self.health.enter(state, reason):
            self._say(f"{state.value}: {reason}" if reason else state.value)

    def _say(self, text: str) -> None:
        mark = self._config.mark or f"{self._address.name}: "
        logging.getLogger("rustvid.live").info("%s%s", mark, text)
