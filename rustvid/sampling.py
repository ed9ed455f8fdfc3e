"""Which frames are looked at: every Nth, so many a second, or as many as the time allows."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from rustvid.config import SampleConfig
from rustvid.frames import Frame
from rustvid.motion import changed, thumbnail

Clock = Callable[[], float]  # seconds, from anywhere

LONGEST_GAP = 1.0  # seconds of film: what comes into view is not left unseen for longer
_FIRST_GAP = 0.2  # seconds of film, until the pace has been measured
_WINDOW = 0.5  # seconds of work between two corrections
_PATIENCE = 10.0  # seconds of work in which a delay is to be made up for
_STEP = 2.0  # the most that one correction changes the gap
_AT_ONCE = 0.25  # of the gap: where changes follow each other, none is looked at sooner


def sampled(
    frames: Iterable[Frame],
    config: SampleConfig,
    clock: Clock,
    live: bool = False,
    origin: Fraction | None = None,
    behind: Callable[[], bool] = lambda: False,
) -> Iterator[tuple[Frame, bool]]:
    """Every frame, with whether to look at it; the first one always is.

    clock: read for "auto" only: without it, the same frames give the same choice
    live: the frames come at their own pace, so waiting for one is no work
    origin: seconds, the time of the film's first frame, where these begin later: with one that was
        looked at before, so that the choice goes on as it would have
    behind: while this is so a look is put off, LONGEST_GAP at most: of what takes time, looking is
        given up before frames are lost
    The network's image of a chosen frame is made here, in the thread that reads the frames.
    """
    choose = chooser(config, origin)
    iterator = iter(frames)
    looked: Fraction | None = None  # when, of the film
    owed = False
    while True:
        asked = clock()
        try:
            frame = next(iterator)
        except StopIteration:
            return
        now = clock()
        owed |= choose(frame, now, now - asked if live else 0.0)
        overdue = looked is None or frame.time - looked >= LONGEST_GAP
        look = owed and (overdue or not behind())
        if look:
            owed, looked = False, frame.time
            _ = frame.image
        yield frame, look


def chooser(
    config: SampleConfig, origin: Fraction | None = None
) -> Callable[[Frame, float, float], bool]:
    """The rule of a configuration: (frame, clock, seconds that it was waited for) → look at it."""
    if config.rate is not None:
        return PerSecond(config.rate, origin)
    if config.every == "auto":
        return Adaptive(config.speed)
    return EveryNth(config.every)


class EveryNth:
    """Every Nth of the film, and the first that comes: a run may go on in between."""

    def __init__(self, every: int) -> None:
        self._every = every
        self._count: int | None = None  # of the last frame, from the film's first on

    def __call__(self, frame: Frame, now: float = 0.0, waited: float = 0.0) -> bool:
        first = self._count is None
        self._count = frame.index if self._count is None else self._count + 1
        return first or self._count % self._every == 0


class PerSecond:
    """The first frame in every 1 / rate seconds of film, counted from the first one.

    origin: seconds, the time of the first one, if it is not the first that comes
    """

    def __init__(self, rate: float, origin: Fraction | None = None) -> None:
        self._rate = Fraction(rate).limit_denominator(1_000_000)
        self._first = origin
        self._last = -1  # which of the slots was looked at last

    def __call__(self, frame: Frame, now: float = 0.0, waited: float = 0.0) -> bool:
        if self._first is None:
            self._first = frame.time
        slot = math.floor((frame.time - self._first) * self._rate)
        look, self._last = slot > self._last, max(slot, self._last)
        return look


class Adaptive:
    """As often as a speed allows, and at once after a cut, a large motion or an exposure jump.

    The gap between two looks, in seconds of film, follows what the work took: twice too slow, and
    it doubles; with time to spare, it shrinks until every frame is looked at. It never exceeds
    LONGEST_GAP: a machine that is too slow even so falls behind, and says so by its speed.
    """

    def __init__(self, speed: float) -> None:
        self.gap = _FIRST_GAP
        self._speed = speed
        self._looked: Fraction | None = None  # when, of the film
        self._seen: NDArray[np.float32] | None = None  # the picture that was looked at
        self._before: NDArray[np.float32] | None = None  # the last picture
        self._stirred = False  # the picture has changed and was not looked at yet
        self._began = self._lag = 0.0
        self._waited = 0.0
        self._from: Fraction | None = None  # the film's time at the window's beginning

    def __call__(self, frame: Frame, now: float, waited: float) -> bool:
        self._keep_pace(frame, now, waited)
        picture = thumbnail(frame.picture)
        if self._seen is not None and self._before is not None:
            self._stirred |= changed(self._seen, picture) or changed(self._before, picture)
        self._before = picture
        if self._looked is not None:
            since = float(frame.time - self._looked) + float(frame.duration) / 2
            if since < self.gap * (_AT_ONCE if self._stirred else 1.0):
                return False
        self._looked, self._seen, self._stirred = frame.time, picture, False
        return True

    def _keep_pace(self, frame: Frame, now: float, waited: float) -> None:
        """Correct the gap, once in a while, by what the film's last part has taken."""
        if self._from is None:
            self._from, self._began = frame.time, now
            return
        self._waited += waited
        spent, film = now - self._began, float(frame.time - self._from)
        if (spent < _WINDOW and film < LONGEST_GAP) or film <= 0:
            return
        allowed = film / self._speed
        worked = spent - self._waited
        self._lag = min(max(0.0, self._lag + worked - allowed), _PATIENCE)
        slowness = (worked + min(1.0, spent / _PATIENCE) * self._lag) / allowed
        shortest = max(float(frame.duration), 1e-3)
        self.gap = max(self.gap, shortest) * min(max(slowness, 1 / _STEP), _STEP)
        self.gap = min(max(self.gap, shortest / 2), LONGEST_GAP)
        self._from, self._began, self._waited = frame.time, now, 0.0
