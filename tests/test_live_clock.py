"""How soon a camera's return is noticed: on a clock that goes on only where somebody waits.

The states, the watchdog and the pauses are the real ones; the connection is a model of what FFmpeg
does with a camera that refuses, or that is stopped (SIGSTOP) and says nothing. So ten minutes of an
outage take none, and what is measured does not depend on the machine.
"""

from __future__ import annotations

import itertools
import math
import random
import re
import threading
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from test_live import until

from rustvid.config import SourceConfig
from rustvid.video import live
from rustvid.video.address import address_of
from rustvid.video.connection import Ending
from rustvid.video.health import Health, State
from rustvid.video.live import LiveSource

URL = "rtsp://camera/stream"
ANSWER = 0.3  # seconds from the call to the first picture
NOTICE = 2.0  # seconds that may pass beside the pause; what the project promises
SPREAD = (0.8, 1.2)  # of a pause


class World:
    """A clock, and a camera that is away between two moments.

    stopped: it is there, and silent; else it refuses connections and its old ones break
    hangs: FFmpeg does not keep its own timeouts: only the watchdog is left
    closes: seconds that a connection takes to close
    """

    def __init__(
        self, away: float, back: float, *, stopped: bool, hangs: bool = False, closes: float = 0.0
    ) -> None:
        self.now = 0.0
        self.away, self.back, self.stopped, self.hangs = away, back, stopped, hangs
        self.closes = closes
        self.states: list[tuple[float, State, str]] = []

    @property
    def is_away(self) -> bool:
        return self.away <= self.now < self.back

    def monotonic(self) -> float:
        return self.now


class Event:
    """As threading.Event, but that waiting lets the world's clock go on."""

    def __init__(self, world: World) -> None:
        self._world, self._set = world, False

    def set(self) -> None:
        self._set = True

    def clear(self) -> None:
        self._set = False

    def is_set(self) -> bool:
        return self._set

    def wait(self, timeout: float) -> bool:
        self._world.now += 0.0 if self._set else timeout
        return self._set


class Modelled:
    """A connection as `live` sees one (see connection.Connection)."""

    busy = False

    def __init__(self, world: World, config: SourceConfig) -> None:
        self._world, self._config = world, config
        self._closed = math.inf
        self.started, self._refused = world.now, world.is_away and not world.stopped

    @property
    def playing(self) -> bool:
        held = self._world.stopped and self._world.away <= self.started < self._world.back
        begins = (self._world.back if held else self.started) + ANSWER
        return not self._refused and self._world.now >= begins

    @property
    def heard(self) -> float:
        world = self._world
        return world.away if world.is_away and self.playing else world.now

    @property
    def ending(self) -> Ending | None:
        world = self._world
        if self._refused:
            return Ending("Connection refused")
        if world.is_away and not world.stopped:
            return Ending("the stream ended")
        if world.hangs:
            return None
        if not self.playing and world.now - self.started > self._config.open_timeout:
            return Ending("no data in time")
        if self.playing and world.now - self.heard > self._config.read_timeout:
            return Ending("no data in time")
        return None

    @property
    def alive(self) -> bool:
        return self._world.now < self._closed

    def abandon(self, wait: float) -> None:
        self._closed = self._world.now + self._world.closes


@pytest.fixture
def lived(monkeypatch: pytest.MonkeyPatch) -> Callable[..., LiveSource]:
    """Let a world go by, to some minutes after the camera is back."""

    def through(world: World, seed: int = 1, **wanted: Any) -> LiveSource:
        config = SourceConfig(**wanted)

        def entered(health: Health, state: State, reason: str = "") -> bool:
            health.read += state is State.PLAYING
            if changed := enter(health, state, reason):
                world.states.append((world.now, state, reason))
            return changed

        enter = Health.enter
        with monkeypatch.context() as patch:
            patch.setattr(Health, "enter", entered)
            patch.setattr(live, "time", world)
            patch.setattr(live, "random", random.Random(seed))
            patch.setattr(live, "Connection", lambda a, config, *_: Modelled(world, config))
            fake = SimpleNamespace(Event=lambda: Event(world), Thread=threading.Thread)
            patch.setattr(live, "threading", fake)
            enough = world.back + 3 * config.retry_longest
            address = address_of(URL, config)
            with LiveSource(address, (80, 60), config, lambda: world.now > enough) as source:
                until(lambda: source.health.state in (State.STOPPED, State.FAILED), "the end")
        return source

    return through


def recovered(world: World) -> tuple[float, float]:
    """Seconds from its return to the first picture: in a pause, and beside it."""
    pictures = next(
        at for at, state, _ in world.states if state is State.PLAYING and at > world.back
    )
    paused = 0.0
    for (begin, state, reason), (end, _, _) in itertools.pairwise(world.states):
        if state is State.WAITING and world.back < end <= pictures:
            drawn = float(re.findall(r"again in ([\d.]+) s", reason)[0])
            assert end - begin <= drawn + 0.2, "longer than it said"
            paused += end - max(begin, world.back)
    return paused, pictures - world.back - paused


def pauses(world: World) -> list[float]:
    return [
        end - begin
        for (begin, state, _), (end, _, _) in itertools.pairwise(world.states)
        if state is State.WAITING
    ]


def test_a_camera_that_refuses_for_30_seconds_is_back_after_the_pause_it_was_in(
    lived: Callable[..., LiveSource],
) -> None:
    world = World(20.0, 50.0, stopped=False)
    source = lived(world)
    _, beside = recovered(world)
    assert beside <= NOTICE
    names = [state for _, state, _ in world.states]
    tries = len(pauses(world))
    assert names == [
        State.CONNECTING, State.PLAYING,
        *[State.WAITING, State.CONNECTING] * tries,
        State.PLAYING, State.STOPPED,
    ]  # fmt: skip
    assert 5 <= tries <= 8, "0.5 + 1 + 2 + 4 + 8 + 16 seconds, each a fifth more or less"
    assert source.health.reconnects == tries


@pytest.mark.parametrize("hangs", [False, True], ids=["times out", "hangs in FFmpeg"])
def test_a_camera_that_is_stopped_for_10_seconds_has_stalled_and_is_called_anew(
    hangs: bool, lived: Callable[..., LiveSource]
) -> None:
    world = World(20.0, 30.0, stopped=True, hangs=hangs)
    source = lived(world)
    names = [state for _, state, _ in world.states]
    assert names == [
        State.CONNECTING, State.PLAYING, State.STALLED, State.WAITING,
        State.CONNECTING, State.PLAYING, State.STOPPED,
    ]  # fmt: skip
    assert source.health.reconnects == 1
    assert recovered(world) == (0.0, pytest.approx(ANSWER, abs=0.2)), "it was being called"
    at = dict(zip(names, (at for at, _, _ in world.states), strict=True))
    patience = SourceConfig().read_timeout
    assert at[State.STALLED] - world.away == pytest.approx(patience / 2, abs=0.3)
    assert at[State.WAITING] - world.away == pytest.approx(patience + hangs, abs=0.3)


def test_a_camera_that_is_stopped_for_less_than_the_patience_is_not_called_anew(
    lived: Callable[..., LiveSource],
) -> None:
    world = World(20.0, 24.0, stopped=True)
    assert lived(world).health.reconnects == 0
    assert [state for _, state, _ in world.states][1:4] == [
        State.PLAYING, State.STALLED, State.PLAYING,
    ]  # fmt: skip
    assert recovered(world)[1] <= NOTICE


@pytest.mark.parametrize("stopped", [False, True], ids=["refused", "stopped"])
@pytest.mark.parametrize("hangs", [False, True], ids=["times out", "hangs in FFmpeg"])
def test_whenever_it_comes_back_it_is_seen_within_two_seconds_beside_the_pause(
    stopped: bool, hangs: bool, lived: Callable[..., LiveSource]
) -> None:
    longest = SourceConfig().retry_longest
    for seed, away in enumerate([0.05, 0.4, 1.0, 3.0, 7.0, 11.0, 29.0, 61.7, 100.0, 333.3, 600.0]):
        world = World(20.0, 20.0 + away, stopped=stopped, hangs=hangs)
        lived(world, seed)
        if not stopped or away > SourceConfig().read_timeout:
            paused, beside = recovered(world)
            assert beside <= NOTICE, (away, world.states)
            assert paused <= SPREAD[1] * longest + 0.2
        delay = SourceConfig().retry_first
        for pause in pauses(world):
            assert SPREAD[0] * delay - 0.01 <= pause <= SPREAD[1] * delay + 0.2, pauses(world)
            delay = min(2 * delay, longest)


def test_a_camera_that_stays_away_is_given_up_when_the_patience_ends(
    lived: Callable[..., LiveSource],
) -> None:
    world = World(20.0, 1000.0, stopped=False)
    source = lived(world, retry_for=60.0)
    ended, state, reason = world.states[-1]
    assert state is State.FAILED and "given up after 60 s without a picture" in reason
    assert ended - world.away == pytest.approx(60.0, abs=0.5)
    assert source.health.reconnects == len(pauses(world))


def test_connections_that_are_slow_to_close_are_none_that_hang(
    lived: Callable[..., LiveSource],
) -> None:
    """However often, over weeks: only those count that still hold something."""
    world = World(20.0, 1000.0, stopped=False, closes=0.6)
    source = lived(world)
    assert len(pauses(world)) > 30
    assert source.health.state is State.STOPPED and source.health.abandoned <= 1


def test_a_camera_whose_connections_all_hang_is_given_up_and_it_says_why(
    lived: Callable[..., LiveSource],
) -> None:
    world = World(20.0, 1000.0, stopped=False, closes=math.inf)
    source = lived(world)
    assert source.health.state is State.FAILED and source.health.abandoned == 17
    assert "17 connections hang in FFmpeg" in source.health.reason
    assert "Connection refused" in source.health.reason
