"""How a connection to a camera is doing."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class State(Enum):
    """Of the connection to a camera.

    connecting ─► playing ◄─► stalled
        ▲   │        │           │
        │   └────────┴─────┬─────┘
        └──── waiting ◄────┘
    From each of them it may fail (given up for good) or be stopped (as asked).
    """

    CONNECTING = "connecting"
    PLAYING = "playing"
    STALLED = "stalled"
    WAITING = "waiting"
    FAILED = "failed"
    STOPPED = "stopped"


_ENDS = {State.FAILED, State.STOPPED}
NEXT = {
    State.CONNECTING: {State.PLAYING, State.WAITING} | _ENDS,
    State.PLAYING: {State.STALLED, State.WAITING} | _ENDS,
    State.STALLED: {State.PLAYING, State.WAITING} | _ENDS,
    State.WAITING: {State.CONNECTING} | _ENDS,
    State.FAILED: set(),
    State.STOPPED: set(),
}


@dataclass
class Health:
    """The state, why, and counts since the start, but of `abandoned` now.

    read: frames decoded; lost: frames that the camera should have sent and that did not come
    dropped: frames that came too fast for what follows; damaged: packets that do not decode
    abandoned: connections that hang in FFmpeg and were left alone
    """

    state: State | None = None
    reason: str = ""
    read: int = 0
    lost: int = 0
    dropped: int = 0
    damaged: int = 0
    reconnects: int = 0
    abandoned: int = 0

    def enter(self, state: State, reason: str = "") -> bool:
        """Change the state; False if it is that already. A way that NEXT lacks is a bug."""
        if state is self.state:
            return False
        if self.state is not None and state not in NEXT[self.state]:
            raise RuntimeError(f"a connection cannot go from {self.state} to {state}")
        self.state, self.reason = state, reason
        return True
