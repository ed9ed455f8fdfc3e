"""What is known of a live run at this moment: written by the run, read by those who watch it."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from rustvid.frames import Measured, Picture

_HOUR = 3600  # seconds of history
_RECENT = 10.0  # seconds that frames per second and latency are of
_UNKNOWN = 0.5  # share of a frame of which nothing is known, that says nothing of its area
_FRESH = 30.0  # seconds since the last frame that are still healthy: HLS comes ten at a time
_SET_BACK = 60  # seconds back in time that are no jitter: the clock was set


@dataclass(frozen=True)
class Snapshot:
    """The state of a run. Times in seconds, area in per cent of the frame.

    state: of the connection; reason: why it is so; queues: frames that wait, by where
    area: of the last frame of which enough is known
    """

    camera: str
    state: str
    reason: str
    uptime: float
    frames_per_second: float
    latency: float | None
    area: float
    counts: dict[str, int]
    queues: dict[str, int]
    healthy: bool
    history: list[tuple[float, float]] = field(default_factory=list)  # UTC, largest area


class Board:
    """Thread-safe. `facts` is asked for state, reason, counts and queues when somebody looks."""

    def __init__(self, camera: str) -> None:
        self.camera = camera
        self.facts: Callable[[], tuple[str, str, dict[str, int], dict[str, int]]] = _nothing_yet
        self._started = time.monotonic()
        self._changed = threading.Condition()
        self._number = 0
        self._picture: Picture | None = None
        self._recent: deque[tuple[float, float]] = deque(maxlen=2000)  # when written, latency
        self._latencies: deque[float] = deque(maxlen=20_000)
        self._area = 0.0
        self._history: deque[tuple[float, float]] = deque(maxlen=_HOUR)
        self._written = self._analysed = 0

    def written(self, result: Measured, drawn: Picture, now: float) -> None:
        """One frame is in the files. now: UTC, seconds since 1970"""
        utc = result.frame.utc or now
        area = 100 * result.area.share
        with self._changed:
            self._number += 1
            self._picture = drawn
            self._written += 1
            self._analysed += result.analysed
            self._recent.append((time.monotonic(), now - utc))
            self._latencies.append(now - utc)
            if result.refined.unknown_share < _UNKNOWN:
                self._note_area(float(int(utc)), area)
            self._changed.notify_all()

    def _note_area(self, second: float, area: float) -> None:
        self._area = area
        while self._history and self._history[-1][0] > second + _SET_BACK:
            self._history.pop()  # of a time that has yet to come; what is now would hide in it
        if self._history and self._history[-1][0] >= second:
            last, largest = self._history[-1]
            self._history[-1] = (last, max(largest, area))
        else:
            self._history.append((second, area))

    def picture(self, after: int, timeout: float) -> tuple[int, Picture] | None:
        """The newest annotated picture and its number, if it comes `after` that one in time."""
        with self._changed:
            self._changed.wait_for(lambda: self._number > after, timeout)
            if self._picture is None or self._number <= after:
                return None
            return self._number, self._picture

    def latencies(self) -> list[float]:
        """Seconds from the camera to the file, of the last 20,000 frames, sorted."""
        with self._changed:
            return sorted(self._latencies)

    def snapshot(self, *, history: bool = False) -> Snapshot:
        """What is known now."""
        state, reason, counts, queues = self.facts()
        with self._changed:
            now = time.monotonic()
            recent = [entry for entry in self._recent if entry[0] > now - _RECENT]
            uptime = now - self._started
            fresh = bool(self._recent) and now - self._recent[-1][0] < _FRESH
            return Snapshot(
                camera=self.camera,
                state=state,
                reason=reason,
                uptime=uptime,
                frames_per_second=len(recent) / min(_RECENT, max(uptime, 0.1)),
                latency=median(delay for _, delay in recent) if recent else None,
                area=self._area,
                counts={"written": self._written, "analysed": self._analysed, **counts},
                queues=queues,
                healthy=state == "playing" and fresh,
                history=list(self._history) if history else [],
            )

    def as_dict(self) -> dict[str, Any]:
        """The snapshot with the history, for JSON."""
        return vars(self.snapshot(history=True))


def _nothing_yet() -> tuple[str, str, dict[str, int], dict[str, int]]:
    return "starting", "", {}, {}
