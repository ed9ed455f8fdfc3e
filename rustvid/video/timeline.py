"""The times of a live source: one clock that only goes forward, whatever the cameras' clocks do."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from fractions import Fraction
from statistics import median

from rustvid.video.delay import LeastDelay

TICK = Fraction(1, 90_000)  # of the times given out
_JUMP = 10  # seconds between a camera's clock and ours that are no delay but another clock
_STEPS = 25  # frames whose median step says what the rate really is
_FEW = 8  # steps that say nothing yet
_LOSS = 1.6  # steps between two frames: more than jitter, so that frames are missing


@dataclass(frozen=True)
class Moment:
    """When a frame was.

    time: seconds since the first frame of the run; utc: seconds since 1970
    lost: frames that should have come before it and did not; jumped: its clock was restarted
    """

    time: Fraction
    utc: float
    lost: int = 0
    jumped: bool = False


class Timeline:
    """Places the frames of one connection after another on one clock.

    Within a connection a frame's time is its own stamp, moved by one offset. A new connection, or a
    camera that restarts its clock, begins where our own clock is. Pure: it is told the time.
    """

    def __init__(self, rate: Fraction) -> None:
        self._promised = 1 / rate
        self._steps: deque[Fraction] = deque(maxlen=_STEPS)
        self._began: float | None = None  # monotonic seconds, of time 0
        self._last: Fraction | None = None
        self._last_arrival = 0.0
        self._offset: Fraction | None = None  # time − stamp
        self._fresh = True  # no frame yet of this connection
        self._lead = LeastDelay()  # monotonic − time

    @property
    def step(self) -> Fraction:
        """Seconds from frame to frame, as of late."""
        return median(self._steps) if len(self._steps) > _FEW else self._promised

    def connect(self) -> None:
        """A new connection: its stamps have nothing to do with those before."""
        self._offset, self._fresh = None, True

    def place(self, stamp: Fraction | None, arrival: float, utc: float) -> Moment:
        """The moment of the next frame.

        stamp: its time by the camera, None where it has none; arrival, utc: now, by the monotonic
        and by the wall clock
        """
        if self._last is None or self._began is None:
            self._began = arrival
            time, lost, jumped = Fraction(0), 0, False
        elif self._fresh:
            time, jumped = self._resumed(arrival), False
            lost = self._missing(time - self._last)
        else:
            time, lost, jumped = self._followed(self._last, stamp, arrival)
        time = round(time / TICK) * TICK
        if stamp is not None and (self._offset is None or jumped):
            self._offset = time - stamp
        taken = self._taken(time, arrival, restart=self._fresh or jumped)
        moment = Moment(time, taken + (utc - arrival), lost, jumped)
        self._last, self._last_arrival, self._fresh = time, arrival, False
        return moment

    def moved(self, stamp: Fraction) -> Fraction | None:
        """The time of another stream's stamp; None before the first picture of a connection."""
        return None if self._offset is None else stamp + self._offset

    def _resumed(self, arrival: float) -> Fraction:
        """Where a clock begins again: now, but after the last frame."""
        assert self._began is not None and self._last is not None
        return max(self._last + self.step, Fraction(arrival - self._began))

    def _followed(
        self, last: Fraction, stamp: Fraction | None, arrival: float
    ) -> tuple[Fraction, int, bool]:
        if stamp is None or self._offset is None:
            return last + self.step, 0, False
        time = stamp + self._offset
        if last - self.step < time <= last:  # the same stamp twice: it is no other clock
            return last + self.step / 2, 0, False
        passed = arrival - self._last_arrival
        if time <= last or float(time - last) > passed + _JUMP:
            resumed = self._resumed(arrival)
            return resumed, self._missing(resumed - last), True
        lost = self._missing(time - last) if len(self._steps) > _FEW else 0
        self._steps.append(time - last)
        return time, lost, False

    def _missing(self, gap: Fraction) -> int:
        return round(gap / self.step) - 1 if gap > Fraction(_LOSS) * self.step else 0

    def _taken(self, time: Fraction, arrival: float, *, restart: bool) -> float:
        """When, by our monotonic clock: the wall clock may be set in the middle (NTP).

        A frame that waited on its way was taken earlier: as early as the quickest one says.
        """
        return float(time) + self._lead.seen(float(time), arrival, restart=restart)
