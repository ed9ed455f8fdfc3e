"""Which frames are looked at: fixed choices are the same every time, auto keeps to the time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from rustvid.config import Config, SampleConfig, apply
from rustvid.errors import ConfigError, UsageError
from rustvid.frames import Frame, Picture
from rustvid.preflight import preflight
from rustvid.sampling import LONGEST_GAP, sampled

Array = NDArray[Any]


def scene(seed: int, shift: int = 0, light: int = 0) -> Array:
    """A rough wall, (90, 160) uint8, seen from `shift` pixels further right."""
    grain = np.random.default_rng(seed).normal(size=(90, 800)).astype(np.float32)
    grain = cv2.GaussianBlur(grain, (0, 0), 12)[:, shift : shift + 160]
    return np.clip(110 + light + 500 * grain, 0, 255).astype(np.uint8)


def film(lumas: list[Array], rate: Fraction | int = 25) -> Iterator[Frame]:
    """Frames of these lumas; nobody may ask for the image of one that is not looked at."""
    for index, luma in enumerate(lumas):
        picture = Picture((luma,), "gray", 8, 0, 0, "bt601", True)
        step = 1 / Fraction(rate)
        yield Frame(index, index * step, step, picture, lambda: np.zeros((8, 8, 3), np.uint8))


def looked_at(frames: Iterator[Frame], *assignments: str, clock: Any = lambda: 0.0) -> list[int]:
    config = Config()
    for assignment in assignments:
        config = apply(config, assignment)
    return [frame.index for frame, look in sampled(frames, config.sample, clock) if look]


class Machine:
    """Time that passes with the work: so many seconds a frame, and more for one looked at."""

    def __init__(self, frame: float, look: float) -> None:
        self.now, self._frame, self._look = 0.0, frame, look

    def run(self, frames: Iterator[Frame], speed: float = 1.0, live: bool = False) -> list[int]:
        config = apply(apply(Config(), "sample.every=auto"), f"sample.speed={speed}")
        looks = []
        for frame, look in sampled(frames, config.sample, lambda: self.now, live):
            self.now += self._frame + look * self._look
            if look:
                looks.append(frame.index)
        return looks


def test_a_look_is_put_off_while_frames_wait_but_not_for_long() -> None:
    now = 0

    def passing() -> Iterator[Frame]:
        nonlocal now
        for frame in film([scene(1)] * 75):
            now = frame.index
            yield frame

    config = apply(Config(), "sample.every=2").sample
    chosen = sampled(passing(), config, lambda: 0.0, live=True, behind=lambda: 5 <= now < 65)
    looks = [frame.index for frame, look in chosen if look]
    assert looks == [0, 2, 4, 29, 54, 65, 66, 68, 70, 72, 74]
    assert LONGEST_GAP == 1.0


def test_every_nth_frame_begins_with_the_first() -> None:
    still = [scene(1)] * 10
    assert looked_at(film(still), "sample.every=4") == [0, 4, 8]
    assert looked_at(film(still), "sample.every=1") == list(range(10))
    assert looked_at(film(still), "sample.every=1000") == [0]


def test_every_nth_frame_is_of_the_whole_film_wherever_a_run_goes_on() -> None:
    rest = list(film([scene(1)] * 20))[5:]
    assert looked_at(iter(rest), "sample.every=4") == [5, 8, 12, 16]


@pytest.mark.parametrize(
    ("film_rate", "rate", "count"), [(25, 5, 10), (25, 3, 6), (Fraction(30000, 1001), 5, 9)]
)
def test_a_rate_is_counted_in_seconds_of_film(film_rate: Fraction, rate: int, count: int) -> None:
    frames = list(film([scene(1)] * 50, film_rate))
    looks = looked_at(iter(frames), f"sample.rate={rate}")
    assert looks[0] == 0 and len(looks) == count
    for slot, index in enumerate(looks):  # the first frame of every 1 / rate seconds
        assert slot <= frames[index].time * rate < slot + 1
        assert index == 0 or frames[index - 1].time * rate < slot


def test_a_rate_above_the_film_s_own_looks_at_every_frame() -> None:
    assert looked_at(film([scene(1)] * 5, 1), "sample.rate=30") == [0, 1, 2, 3, 4]


def test_a_pause_in_the_film_is_not_made_up_for() -> None:
    frames = [frame for frame in film([scene(1)] * 100) if not 10 < frame.index < 60]
    looks = looked_at(iter(frames), "sample.rate=5")
    assert looks == [0, 5, 10, 60, 65, 70, 75, 80, 85, 90, 95]


@pytest.mark.parametrize("choice", ["sample.every=7", "sample.rate=3.3"])
def test_a_fixed_choice_does_not_depend_on_the_clock(choice: str) -> None:
    ticks = iter(np.random.default_rng(0).uniform(0, 9, 1000).cumsum())
    lumas = [scene(index // 10) for index in range(60)]
    hurried = looked_at(film(lumas), choice, clock=lambda: next(ticks))
    assert hurried == looked_at(film(lumas), choice)


def test_the_network_s_picture_is_made_for_chosen_frames_only() -> None:
    made: list[int] = []

    def image(index: int) -> Array:
        made.append(index)
        return np.zeros((8, 8, 3), np.uint8)

    frames = []
    for frame in film([scene(1)] * 9):
        lazy = Frame(
            frame.index, frame.time, frame.duration, frame.picture, lambda i=frame.index: image(i)
        )
        frames.append(lazy)
    assert looked_at(iter(frames), "sample.every=3") == [0, 3, 6]
    assert made == [0, 3, 6]
    assert frames[3].image is frames[3].image and made == [0, 3, 6]  # kept once it is made


# --- auto


def test_a_slow_machine_looks_as_often_as_real_time_allows() -> None:
    """A frame costs 10 ms of its 40, a look 90: a third of the frames can be looked at."""
    machine, seconds = Machine(0.010, 0.090), 40
    looks = machine.run(film([scene(1)] * (25 * seconds)))
    late = [index for index in looks if index >= 250]  # the pace has been found by then
    assert 0.2 < len(late) / 750 < 0.36
    assert machine.now < 1.05 * seconds


def test_a_fast_machine_looks_at_every_frame() -> None:
    looks = Machine(0.005, 0.020).run(film([scene(1)] * 500))
    assert looks[-200:] == list(range(300, 500))


def test_half_the_speed_leaves_time_for_more_looks() -> None:
    full = Machine(0.010, 0.090).run(film([scene(1)] * 1000))
    half = Machine(0.010, 0.090).run(film([scene(1)] * 1000), speed=0.5)
    assert 1.8 * len(full) < len(half)


def test_a_machine_that_is_too_slow_still_looks_once_a_second() -> None:
    looks = Machine(0.100, 1.0).run(film([scene(1)] * 500))
    assert max(np.diff(looks)) <= 25 * LONGEST_GAP + 1


def test_a_delay_is_made_up_for() -> None:
    """The first frames take two seconds, as where a network is compiled."""
    machine = Machine(0.010, 0.090)
    machine.now = 0.0
    frames = list(film([scene(1)] * 1000))

    def late() -> Iterator[Frame]:
        for frame in frames:
            if frame.index == 5:
                machine.now += 2.0
            yield frame

    machine.run(late())
    assert machine.now < 41.0  # of 40 seconds of film


@pytest.mark.parametrize("rate", [1, 5, 60, 240])
def test_any_frame_rate_keeps_to_the_time(rate: int) -> None:
    seconds = max(10, 20 // rate)
    machine = Machine(0.3 / rate, 0.2)
    looks = machine.run(film([scene(1)] * (rate * seconds), rate))
    assert looks[0] == 0 and len(looks) >= seconds * 0.9
    assert machine.now < 1.15 * seconds


@pytest.mark.parametrize(
    ("event", "lumas"),
    [
        ("cut", [scene(1)] * 20 + [scene(2)] * 20),
        ("large motion", [scene(1, shift=10 * max(0, i - 16)) for i in range(40)]),
        ("exposure", [scene(1)] * 20 + [scene(1, light=60)] * 20),
    ],
)
def test_a_change_is_looked_at_at_once(event: str, lumas: list[Array]) -> None:
    clock = iter(np.arange(0, 1e6, 0.04))  # each reading 40 ms later: twice too slow
    looks = looked_at(film(lumas, 100), "sample.every=auto", clock=lambda: next(clock))
    still = looked_at(film([scene(1)] * 40, 100), "sample.every=auto", clock=iter_clock())
    assert any(20 <= index <= 23 for index in looks), event
    assert not any(20 <= index <= 23 for index in still)


def iter_clock() -> Any:
    clock = iter(np.arange(0, 1e6, 0.04))
    return lambda: next(clock)


def test_noise_in_the_dark_is_no_change() -> None:
    random = np.random.default_rng(5)
    dark = [random.integers(8, 14, (90, 160)).astype(np.uint8) for _ in range(100)]
    quiet = Machine(0.010, 0.090).run(film(dark))
    still = Machine(0.010, 0.090).run(film([scene(1)] * 100))
    assert len(quiet) == len(still)


def test_cuts_every_few_frames_do_not_stop_the_film() -> None:
    machine = Machine(0.010, 0.090)
    looks = machine.run(film([scene(index // 3) for index in range(1000)]))
    assert len(looks) > 100
    assert machine.now < 50  # of 40 seconds of film


def test_waiting_for_a_camera_is_no_work() -> None:
    """A live film at its own pace: the machine idles most of the time, so every frame is seen."""
    machine = Machine(0.002, 0.020)

    def camera() -> Iterator[Frame]:
        for frame in film([scene(1)] * 200):
            machine.now = max(machine.now, float(frame.time))
            yield frame

    looks = machine.run(camera(), live=True)
    assert looks[-50:] == list(range(150, 200))


# --- the configuration


def test_rate_and_every_in_one_breath_exclude_each_other(clip: Any) -> None:
    config = replace(Config(), sample=SampleConfig(every=3, rate=5.0))
    with pytest.raises(UsageError, match=r"sample\.rate 5\.0 and sample\.every 3"):
        preflight(apply(config, f"input={clip}"))


@pytest.mark.parametrize("value", ["0", "often", "1.5"])
def test_every_is_a_whole_number_or_auto(value: str) -> None:
    with pytest.raises(ConfigError, match=r"sample\.every must be"):
        apply(Config(), f"sample.every={value}")
