"""How much later than usual something came, by two clocks that do not run alike."""

from __future__ import annotations

_DRIFT = 2e-4  # of one clock against the other, at most: two crystals of 100 ppm each


class LeastDelay:
    """The least time from a stamp to its arrival: what was held up least tells the clocks apart.

    The clocks drift, so that a least one of long ago is none of today: it grows by as much as they
    may have drifted since. Pure: it is told the time.
    """

    def __init__(self) -> None:
        self._least: float | None = None
        self._last = 0.0  # stamp of the one before

    def seen(self, stamp: float, arrival: float, *, restart: bool = False) -> float:
        """The least one, this one counted; seconds, like both clocks. restart: another clock"""
        delay = arrival - stamp
        if self._least is None or restart:
            self._least = delay
        else:
            self._least = min(delay, self._least + _DRIFT * (stamp - self._last))
        self._last = stamp
        return self._least
