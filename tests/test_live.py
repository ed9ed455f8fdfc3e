"""A camera as a source: whatever the connection does, frames come on one clock, or it says why."""

from __future__ import annotations

import itertools
import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import media
import pytest
from cameras import COUNT, Camera, Playlist, Stills
from garbage import collected

from rustvid.config import SourceConfig
from rustvid.errors import SourceError, UsageError
from rustvid.frames import Frame
from rustvid.redact import hide_arguments, redacted, secrets_in
from rustvid.threads import Newest
from rustvid.video import connection, open_source
from rustvid.video.address import address_of, is_live
from rustvid.video.arrivals import Arrivals
from rustvid.video.connection import Connection, Lag, Listener, Opened
from rustvid.video.health import NEXT, Health, State
from rustvid.video.live import LiveSource
from rustvid.video.planes import rgb_of
from rustvid.video.timeline import Timeline

pytestmark = pytest.mark.usefixtures("no_leftovers")

PATIENCE = 240.0  # seconds for what takes a few, on a busy machine
QUICK: dict[str, Any] = {"retry_first": 0.05, "retry_longest": 0.2, "open_timeout": 20.0}
RATE = Fraction(25)


@contextmanager
def watched(url: str, **wanted: Any) -> Iterator[LiveSource]:
    with open_source(url, (80, 60), SourceConfig(**{**QUICK, **wanted})) as source:
        assert isinstance(source, LiveSource)
        yield source


def until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, f"not in {PATIENCE} s: {what}"
        time.sleep(0.02)  # polling


def forwards(frames: list[Frame]) -> bool:
    return all(a.time < b.time for a, b in itertools.pairwise(frames)) and [
        frame.index for frame in frames
    ] == list(range(len(frames)))


def sockets() -> int:
    """How many this process has open."""
    found = []
    for entry in Path("/proc/self/fd").iterdir():
        with suppress(OSError):  # the one that lists them
            found.append(str(entry.readlink()))
    return sum(name.startswith("socket:") for name in found)


def number(frame: Frame) -> int:
    return media.frame_number(rgb_of(frame.picture))


# --- what is live


@pytest.mark.parametrize(
    "name",
    [
        "rtsp://camera/stream",
        "RTSPS://camera/stream",
        "rtmp://camera/app",
        "http://camera/video.mjpg",
        "https://camera/live.m3u8?x=1",
        "udp://239.0.0.1:1234",
        "srt://camera:9000",
        "/dev/video0",
        "v4l2:/dev/video1",
    ],
)
def test_a_camera_is_known_by_its_address(name: str) -> None:
    assert is_live(name, SourceConfig())
    assert not is_live(name, SourceConfig(live=False))
    assert address_of(name, SourceConfig()).name == name


@pytest.mark.parametrize("name", ["film.mp4", "/data/video0.mp4", "http://host/film.mp4", "C:/x"])
def test_a_film_is_no_camera_unless_it_is_said(name: str) -> None:
    assert not is_live(name, SourceConfig())
    assert is_live(name, SourceConfig(live=True))


@pytest.mark.parametrize("name", ["ftp://host/film.ts", "gopher://host/x", "file:///etc/passwd"])
def test_a_protocol_that_is_not_allowed_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match="is not allowed"):
        address_of(name, SourceConfig())


def test_no_playlist_may_reach_for_files() -> None:
    for url in ("http://camera/live.m3u8", "rtsp://camera/x"):
        assert "file" not in address_of(url, SourceConfig()).whitelist.split(",")
    allowed = SourceConfig(protocols="http, file")
    assert "file" in address_of("http://camera/live.m3u8", allowed).whitelist.split(",")
    with pytest.raises(UsageError, match="rtsp is not allowed"):
        address_of("rtsp://camera/x", allowed)


def test_an_address_without_a_host_is_refused() -> None:
    with pytest.raises(UsageError, match="names no host"):
        address_of("rtsp:///live", SourceConfig())


def test_a_password_may_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    url = "rtsp://me:${CAMERA_WORD}@camera/x"
    with pytest.raises(UsageError, match="CAMERA_WORD"):
        address_of(url, SourceConfig())
    monkeypatch.setenv("CAMERA_WORD", "s3cret")
    address = address_of(url, SourceConfig())
    assert address.url == "rtsp://me:s3cret@camera/x"
    assert "s3cret" not in repr(address) + str(address) + address.name


# --- passwords


@pytest.mark.parametrize(
    "text",
    [
        "rtsp://me:s3cret@camera/x: refused",
        "see 'http://s3cret@camera' or",
        "rtsp://me:p@s3cret@camera:554/x",
        "rtsp://me:a/s3cret#?@camera/x",
        "http://camera/v.cgi?user=s3cret&Pwd=s3cret&size=2",
        "http://camera/v?access_token=s3cret",
        "[Errno 111] Connection refused: 'rtsp://me:s3cret@127.0.0.1:9/x'",
        "rtsp://me:it's-s3cret@camera/x",
        'rtsp://me:"s3cret"@camera/x: refused',
        "rtsp://camera/user=s3cret_password=s3cret_channel=1_stream=0.sdp",
        "rtsp://camera/user=s3cret&password=s3cret&channel=1&stream=0.sdp?",
        "http://camera/videostream.cgi?loginuse=admin&loginpas=s3cret",
        "http://camera/v?usr=s3cret&psw=s3cret&pw=s3cret",
    ],
)
def test_no_secret_of_an_address_is_shown(text: str) -> None:
    assert "s3cret" not in redacted(text)
    assert "s3cret" not in str(SourceError(text))
    assert any("s3cret" in secret for secret in secrets_in(text)) or "'http://s3" in text


def test_what_is_no_secret_is_shown() -> None:
    for plain in (
        "rtsp://camera:554/x?size=2 at me@home, 3 % rust: film.mp4",
        "wrote data/key=5/user=me/film.mp4: must be key=value",
        "rtsp://camera/live/channel=1_stream=0.sdp",
    ):
        assert redacted(plain) == plain


def test_a_secret_is_taken_from_the_command_line_that_the_system_shows() -> None:
    import subprocess
    import sys

    code = (
        "import sys; from pathlib import Path; from rustvid.redact import hide_arguments\n"
        "hide_arguments(['s3cret']); print(Path('/proc/self/cmdline').read_bytes())"
    )
    told = subprocess.run(
        [sys.executable, "-c", code, "rtsp://me:s3cret@camera"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "rtsp://me:******@camera" in told.stdout
    hide_arguments(["not in this command line"])


# --- the clock


def placed(line: Timeline, stamps: list[float | None], arrivals: list[float]) -> list[Any]:
    return [
        line.place(None if stamp is None else Fraction(stamp).limit_denominator(1000), at, 1e9 + at)
        for stamp, at in zip(stamps, arrivals, strict=True)
    ]


def test_a_first_frame_without_a_stamp_is_just_before_the_second() -> None:
    moments = placed(Timeline(RATE), [None, 7.04, 7.08], [0.0, 0.04, 0.08])
    assert [moment.time for moment in moments] == [0, Fraction(1, 25), Fraction(2, 25)]


def test_a_new_connection_goes_on_at_our_own_time_and_its_gap_is_lost() -> None:
    line = Timeline(RATE)
    placed(line, [n / 25 for n in range(30)], [n / 25 for n in range(30)])
    line.connect()
    after = placed(line, [500.0, 500.04], [5.0, 5.04])
    assert [float(moment.time) for moment in after] == pytest.approx([5.0, 5.04], abs=1e-4)
    assert [moment.lost for moment in after] == [round((5.0 - 29 / 25) * 25) - 1, 0]
    assert line.moved(Fraction(500)) == after[0].time


def test_a_camera_that_restarts_its_clock_does_not_turn_ours_back() -> None:
    line = Timeline(RATE)
    times = [n / 25 for n in range(40)]
    moments = placed(line, [*times[:20], *times[:20]], times)
    assert all(a.time < b.time for a, b in itertools.pairwise(moments))
    assert [n for n, moment in enumerate(moments) if moment.jumped] == [20]
    assert float(moments[-1].time) == pytest.approx(times[-1], abs=1e-3)
    assert sum(moment.lost for moment in moments) == 0


def test_a_stamp_that_comes_twice_is_no_other_clock() -> None:
    times = [n / 25 for n in range(1000)]
    stamps = [(n - (n % 25 == 24)) / 25 for n in range(1000)]  # once a second
    moments = placed(Timeline(RATE), stamps, times)
    assert all(a.time < b.time for a, b in itertools.pairwise(moments))
    assert float(moments[-2].time) == pytest.approx(times[-2], abs=1e-3)
    assert sum(moment.lost + moment.jumped for moment in moments) == 0


def test_a_jump_of_a_camera_s_clock_far_ahead_is_not_believed() -> None:
    times = [n / 25 for n in range(20)]
    moments = placed(Timeline(RATE), [*times[:10], *[t + 86400 for t in times[10:]]], times)
    assert float(moments[-1].time) == pytest.approx(times[-1], abs=1e-3)


def test_missing_frames_are_counted_whatever_rate_was_promised() -> None:
    numbers = [n for n in range(60) if n not in (30, 31, 45)]
    times = [n / 5 for n in numbers]  # five a second, though 25 are promised
    moments = placed(Timeline(RATE), times, times)
    assert [(n, m.lost) for n, m in zip(numbers, moments, strict=True) if m.lost] == [
        (32, 2),
        (46, 1),
    ]


def test_frames_that_come_in_a_heap_were_taken_one_after_another() -> None:
    line = Timeline(RATE)
    placed(line, [n / 25 for n in range(25)], [1.0] * 25)  # as after opening
    late = placed(line, [1.0, 1.04, 1.08], [1.0, 1.04, 2.0])
    assert [moment.utc - 1e9 for moment in late] == pytest.approx([1.0, 1.04, 1.08], abs=0.01)


@pytest.mark.parametrize("step", [3600.0, -3600.0])
def test_a_clock_of_ours_that_is_set_in_the_middle_is_followed(step: float) -> None:
    """As by NTP, some time after a machine without a battery has started."""
    line = Timeline(RATE)
    placed(line, [n / 25 for n in range(50)], [n / 25 for n in range(50)])
    moment = line.place(Fraction(2), 2.0, 1e9 + 2.0 + step)
    assert moment.utc - 1e9 == pytest.approx(2.0 + step) and moment.time == 2


class Stamped:
    """A packet, as far as `Lag` looks at it: 25 a second, every tenth a key frame."""

    time_base = Fraction(1, 25)

    def __init__(self, number: int) -> None:
        self.dts, self.is_keyframe = number, number % 10 == 0


def test_who_cannot_decode_in_time_skips_to_a_key_frame_that_is_on_time() -> None:
    lag, now, decoded = Lag(), 0.0, []
    for packet in map(Stamped, range(250)):
        now = max(now, packet.dts / 25)  # it has come
        if not lag.skips(packet, now):
            decoded.append(packet.dts)
            now += 0.1 if packet.dts < 200 else 0.0  # two and a half times too slow
    gaps = [(a, b) for a, b in itertools.pairwise(decoded) if b - a > 1]
    assert gaps and all(b % 10 == 0 for _, b in gaps)
    assert decoded[-1] == 249
    on_time = Lag()
    assert not any(on_time.skips(Stamped(n), n / 25 + 0.5 * (n % 3)) for n in range(100))


@pytest.mark.parametrize("back", [1.5, 60.0, 3600.0])
def test_a_camera_that_restarts_its_clock_is_not_taken_to_be_late(back: float) -> None:
    """Whether it was connected for seconds or for hours: its stamps begin again, on time."""
    lag, jump = Lag(), round(back * 25)
    stamps = [*range(jump + 1), *range(200)]
    skipped = [lag.skips(Stamped(stamp), number / 25) for number, stamp in enumerate(stamps)]
    assert not any(skipped)


@pytest.mark.parametrize("ppm", [-100, 0, 100])
def test_a_clock_that_drifts_is_not_taken_for_delay(ppm: int) -> None:
    """A day at what two crystals may differ: seconds, all of which came on time."""
    lag, line = Lag(), Timeline(Fraction(1, 10))
    skipped, late = [], []
    for number in range(0, 24 * 3600, 10):
        stamp = round(25 * number * (1 - ppm * 1e-6))
        skipped.append(lag.skips(Stamped(stamp), float(number)))
        utc = line.place(Fraction(stamp, 25), float(number), 1e9 + number).utc
        late.append(1e9 + number - utc)
    assert not any(skipped)
    assert max(map(abs, late)) < 0.05, "nor is a frame said to be older than it is"


@pytest.mark.parametrize("ppm", [-100, 0, 100])
def test_real_delay_is_noticed_after_a_day_too(ppm: int) -> None:
    lag, day = Lag(), 24 * 3600
    for second in [*range(0, day, 10), *range(day, day + 60)]:
        held_up = 3.0 if second > day else 0.0
        packet = Stamped(round(25 * second * (1 - ppm * 1e-6)))
        assert lag.skips(packet, second + held_up) is (second > day), second


# --- the buffer


def test_the_oldest_frames_go_and_leave_their_sound() -> None:
    buffer: Newest[list[int]] = Newest(2, merge=lambda gone, following: gone + following)
    for item in range(5):
        assert buffer.put([item], lambda: True)
    assert buffer.dropped == 3
    assert [buffer.get(0.0), buffer.get(0.0), buffer.get(0.0)] == [[0, 1, 2, 3], [4], None]


def test_a_writer_waits_if_all_are_to_be_kept() -> None:
    buffer: Newest[int] = Newest(1, keep_all=True)
    assert buffer.put(1, lambda: True)
    assert not buffer.put(2, lambda: False)  # nobody wants it any more
    writer = threading.Thread(target=buffer.put, args=(3, lambda: True))
    writer.start()
    assert [buffer.get(PATIENCE), buffer.get(PATIENCE)] == [1, 3]
    writer.join()
    assert buffer.dropped == 0


# --- the states


@pytest.mark.parametrize("state", State)
def test_a_state_is_left_only_by_its_ways(state: State) -> None:
    for other in set(State) - {state}:
        health = Health(state)
        if other in NEXT[state]:
            assert health.enter(other) and health.state is other
        else:
            with pytest.raises(RuntimeError, match="cannot go"):
                health.enter(other)
    assert not Health(state).enter(state)


# --- a camera


@pytest.mark.parametrize("transport", ["tcp", "udp"])
def test_frames_come_in_order_on_one_clock(transport: str) -> None:
    with Camera() as camera, watched(camera.url, transport=transport) as source:
        frames = list(itertools.islice(source.frames(), 40))
        assert (source.info.width, source.info.height, source.info.live) == (160, 120, True)
    assert forwards(frames)
    for a, b in itertools.pairwise(frames):
        steps = (number(b) - number(a)) % COUNT
        assert float(b.time - a.time) == pytest.approx(steps / 25, abs=0.002)
    assert all(frame.utc and abs(frame.utc - time.time()) < PATIENCE for frame in frames)
    assert source.health.state is State.STOPPED


def test_a_camera_that_is_killed_again_and_again_is_taken_up_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "rustvid")
    before = sockets()
    frames: list[Frame] = []
    with Camera() as camera, watched(camera.url) as source:
        incoming = source.frames()
        for _ in range(5):
            connections = camera.connections
            while camera.connections == connections or len(frames) < 5 * connections:
                frames.append(next(incoming))
            camera.kill()
            camera.start()
        while camera.connections < 6 or frames[-1].status != "reconnected":
            frames.append(next(incoming))
    assert forwards(frames)
    assert source.health.reconnects >= 5 and source.health.lost > 0
    assert sum(frame.status == "reconnected" for frame in frames) >= 5
    said = caplog.text
    assert "connecting" in said and "playing" in said and "waiting: the stream ended" in said
    until(lambda: not any("rustvid" in t.name for t in threading.enumerate()), "all threads gone")
    until(lambda: sockets() <= before, "all sockets gone")


def test_no_picture_of_a_camera_waits_for_the_garbage_collector() -> None:
    with Camera() as camera, collected() as found, watched(camera.url) as source:
        for frame in itertools.islice(source.frames(), 60):
            assert frame.image.any()
        del frame
    assert found["VideoFrame"] <= 4


def test_a_camera_that_is_not_there_yet_is_waited_for() -> None:
    camera = Camera()
    with watched(camera.url) as source:
        until(lambda: "refused" in source.health.reason, "the first refusal")
        with camera:
            assert next(source.frames()).index == 0
    assert source.health.reconnects == 0


def test_a_camera_that_never_comes_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    with (
        watched(Camera().url, retry_for=0.3) as source,
        pytest.raises(SourceError, match=r"given up after 0\.3 s .*refused"),
    ):
        next(source.frames())
    assert source.health.state is State.FAILED


@pytest.mark.parametrize(("answer", "words"), [(401, "user or pass"), (403, "403"), (404, "404")])
def test_a_camera_that_refuses_us_is_not_asked_again(answer: int, words: str) -> None:
    with Camera(user="me:right" if answer == 401 else "") as camera:
        camera.answer = answer
        url = camera.url.replace("//", "//me:s3cret@")
        with watched(url) as source, pytest.raises(SourceError, match=words) as told:
            next(source.frames())
    assert "s3cret" not in str(told.value)
    assert source.health.state is State.FAILED and source.health.reconnects == 0


def test_a_picture_that_is_too_large_is_not_asked_for_again() -> None:
    refused = pytest.raises(SourceError, match=r"160×120 pixels .* source\.max_pixels 100")
    with Camera() as camera, watched(camera.url, max_pixels=100) as source, refused:
        next(source.frames())
    assert camera.connections <= 1


def test_the_right_password_opens() -> None:
    camera = Camera(user="me:s3cret")
    with camera, watched(camera.url.replace("//", "//me:s3cret@")) as source:
        assert next(source.frames()).index == 0
        assert "s3cret" not in repr(source.info)


def test_a_gateway_that_says_404_while_it_starts_may_be_asked_again() -> None:
    with Camera() as camera:
        camera.answer = 404
        with watched(camera.url, retry_refused=True) as source:
            until(lambda: "404" in source.health.reason, "the first refusal")
            camera.answer = 200
            assert next(source.frames()).index == 0


def test_a_picture_of_another_size_is_brought_to_the_first_one(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "rustvid")
    with Camera() as camera, watched(camera.url) as source:
        incoming = source.frames()
        first = next(incoming)
        camera.kill()
        camera.size = (320, 240)
        camera.start()
        later = next(frame for frame in incoming if frame.status == "resized")
    assert later.picture.shape == first.picture.shape == (120, 160)
    assert 0 <= number(later) < COUNT and later.time > first.time
    assert "320×240" in caplog.text and "160×120" in caplog.text


def test_a_camera_that_falls_silent_has_stalled_and_is_connected_anew() -> None:
    states = set()
    with Camera() as camera, watched(camera.url, read_timeout=1.0) as source:
        incoming = source.frames()
        before = next(incoming)
        camera.frozen.set()

        def passed() -> bool:
            states.add(source.health.state)
            return State.WAITING in states or source.health.reconnects > 0

        until(passed, "the drop")
        camera.frozen.clear()
        after = next(frame for frame in incoming if frame.status == "reconnected")
    assert State.STALLED in states
    assert after.time - before.time >= 1 and source.health.lost > 20


class Held:
    """A film that falls silent: FFmpeg's timeout strikes, and a held back packet comes out."""

    def __init__(self, film: Path) -> None:
        self.now, self.asked = 0.0, 0
        self._film = av.open(str(film))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._film, name)

    def monotonic(self) -> float:
        return self.now

    def demux(self, *streams: Any) -> Iterator[Any]:
        for packet in self._film.demux(*streams):
            self.asked += 1
            self.now += 5.01 if self.asked >= 10 else 0.04
            yield packet


def test_a_packet_that_was_held_back_is_no_sign_of_life(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Seen of FFmpeg: a camera that was stopped was dropped after twice the timeout."""
    held, changed = Held(media.clip(tmp_path / "film.ts", frames=30)), threading.Event()
    monkeypatch.setattr(connection, "_open", lambda address, config: held)
    monkeypatch.setattr(connection, "time", held)
    config = SourceConfig(read_timeout=5.0)
    call = Connection(address_of("rtsp://camera/x", config), config, Listener(), changed)
    until(lambda: call.ending is not None, "the end")
    call.abandon(PATIENCE)
    assert call.ending and call.ending.reason == "no data in time" and not call.ending.final
    assert held.asked == 10


class Blinded(Held):
    """A film with sound whose picture dies."""

    def demux(self, *streams: Any) -> Iterator[Any]:
        for packet in self._film.demux(*streams):
            self.asked += 1
            self.now += 0.5
            if self.asked < 10 or packet.stream.type == "audio":
                yield packet


def test_sound_is_no_sign_of_life_of_the_picture(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    blinded = Blinded(media.clip(tmp_path / "film.ts", frames=60))
    monkeypatch.setattr(connection, "_open", lambda address, config: blinded)
    monkeypatch.setattr(connection, "time", blinded)
    config = SourceConfig(read_timeout=5.0)
    changed = threading.Event()
    call = Connection(address_of("rtsp://camera/x", config), config, Listener(), changed)
    until(lambda: call.ending is not None, "the end")
    call.abandon(PATIENCE)
    assert call.ending and "no picture in time" in call.ending.reason and not call.ending.final
    assert blinded.now - call.heard == pytest.approx(5.0, abs=2.0)


def test_a_short_silence_is_no_drop() -> None:
    with Camera() as camera, watched(camera.url, read_timeout=8.0) as source:
        incoming = source.frames()
        next(incoming)
        camera.frozen.set()
        until(lambda: source.health.state is State.STALLED, "the stall")
        camera.frozen.clear()
        until(lambda: source.health.state is State.PLAYING, "pictures again")
        assert next(incoming).time > 0
    assert source.health.reconnects == 0


def test_a_camera_that_restarts_its_clock_goes_on() -> None:
    with Camera() as camera, watched(camera.url) as source:
        frames = list(itertools.islice(source.frames(), 15))
        camera.restart_clock = True
        frames = list(frames)
        for frame in source.frames():
            frames.append(frame)
            if frame.status == "time repaired":
                break
    assert all(a.time < b.time for a, b in itertools.pairwise(frames))
    assert source.health.reconnects == 0


def test_stills_without_times_get_those_of_their_arrival() -> None:
    with Stills(rate=8.0) as stills, watched(stills.url) as source:
        began = time.monotonic()
        frames = list(itertools.islice(source.frames(), 20))
        passed = time.monotonic() - began
    assert forwards(frames)
    assert 19 / 8 - 0.5 < frames[-1].time <= passed  # made-up times would be 19 / 25
    assert source.health.lost == 0


def test_what_comes_in_pieces_is_not_dropped() -> None:
    address = address_of("https://camera/a/LIVE.m3u8?x=1", SourceConfig())
    assert address.in_pieces
    source = LiveSource(address, (80, 60), SourceConfig(), lambda: False)
    assert source._config.keep_all and source._config.read_timeout >= 30
    assert not address_of("https://camera/live.ts", SourceConfig()).in_pieces


def test_a_playlist_that_is_complete_ends_the_run(tmp_path: Path) -> None:
    with Playlist(tmp_path, complete=True) as web, watched(web.url) as source:
        indices = [frame.index for frame in source.frames()]
    assert indices == list(range(90)) and source.health.reconnects == 0


def test_of_a_camera_in_several_qualities_the_best_is_watched_with_its_own_sound(
    tmp_path: Path,
) -> None:
    qualities = ["#EXTM3U"]
    for rate, size in ((200_000, (160, 120)), (900_000, (320, 240)), (400_000, (200, 160))):
        film = media.clip(tmp_path / f"{rate}.ts", frames=30, size=size, audio=1)
        film.with_suffix(".m3u8").write_text(
            f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1.0,\n{film.name}\n#EXT-X-ENDLIST\n"
        )
        qualities += [f"#EXT-X-STREAM-INF:BANDWIDTH={rate}", f"{rate}.m3u8"]
    with Playlist(tmp_path, complete=True) as web:
        web.playlist.write_text("\n".join(qualities))
        with watched(web.url) as source:
            frames = list(source.frames())
            assert (source.info.width, source.info.height) == (320, 240)
            assert len(source.companions) == 1
    assert [number(frame) for frame in frames] == list(range(30))
    assert sum(len(frame.companions) for frame in frames) > 20


def test_a_playlist_whose_server_goes_is_a_drop(tmp_path: Path) -> None:
    """FFmpeg ends it without an error, as one that is complete; it is connected again, in vain."""
    with Playlist(tmp_path, complete=False) as web, watched(web.url) as source:
        frames = source.frames()
        assert next(frames).index == 0
        web.playlist.unlink()
        with pytest.raises(SourceError, match="404: there is no such stream"):
            list(frames)


def test_what_udp_loses_is_counted() -> None:
    with Camera(loss=0.3) as camera, watched(camera.url, transport="udp") as source:
        frames = []
        for frame in source.frames():
            frames.append(frame)
            if source.health.lost > 2:
                break
    assert forwards(frames)


def test_who_is_slow_gets_the_newest_frame() -> None:
    with Camera() as camera, watched(camera.url) as source:
        incoming = source.frames()
        first = next(incoming)
        until(lambda: source.health.read > 40, "forty frames, none of them taken")
        later = next(incoming)
        assert later.time - first.time > 1
        assert later.index == 1 and source.health.dropped >= 30


def test_who_wants_all_gets_all() -> None:
    with Camera() as camera, watched(camera.url, keep_all=True) as source:
        incoming = source.frames()
        numbers = [number(next(incoming))]
        until(lambda: source.waiting == 5, "a full buffer")
        numbers += [number(frame) for frame in itertools.islice(incoming, 30)]
        assert source.health.dropped == 0
    assert all((b - a) % COUNT == 1 for a, b in itertools.pairwise(numbers))


def test_sound_that_cannot_be_copied_is_said_after_the_camera_s_name(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """G.722, as some cameras have it: neither .mkv nor .mov holds it."""
    with av.open(str(tmp_path / "sound.nut"), "w") as container:
        stream = container.add_stream("g722", rate=16000, layout="mono")
        frame = av.AudioFrame(format="s16", layout="mono", samples=320)
        frame.sample_rate, frame.pts = 16000, 0
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    arrivals = Arrivals(Health(), keep_all=False, mark="gate: ")
    with av.open(str(tmp_path / "sound.nut")) as camera:
        arrivals.opened(Opened("h264", RATE, Fraction(1), tuple(camera.streams.audio)))
    assert arrivals.sounds == []
    assert caplog.messages == ["gate: sound (adpcm_g722) is left out: it cannot be copied"]


# --- stopping


def playing(camera: Camera, source: LiveSource) -> None:
    until(lambda: source.health.state is State.PLAYING, "pictures")


def stalled(camera: Camera, source: LiveSource) -> None:
    playing(camera, source)
    camera.frozen.set()
    until(lambda: source.health.state is State.STALLED, "the stall")


def waiting(camera: Camera, source: LiveSource) -> None:
    playing(camera, source)
    camera.kill()
    until(lambda: source.health.state is State.WAITING, "the drop")


@pytest.mark.parametrize("bring_about", [playing, stalled, waiting])
def test_every_state_can_be_stopped(bring_about: Callable[[Camera, LiveSource], None]) -> None:
    patient = {"read_timeout": 4.0, "retry_first": 600.0, "retry_longest": 600.0}
    with Camera() as camera:
        with watched(camera.url, **patient) as source:
            bring_about(camera, source)
            began = time.monotonic()
            source.stop()
            until(lambda: source.health.state is State.STOPPED, "the stop")
        assert time.monotonic() - began < 600  # it did not wait its time out
        assert list(source.frames()) == []


def test_a_camera_that_takes_the_call_and_says_nothing_can_be_stopped() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"rtsp://127.0.0.1:{silent.getsockname()[1]}/live"
        stop = threading.Event()
        config = SourceConfig(open_timeout=3.0)
        with open_source(url, (80, 60), config, stop.is_set) as source:
            silent.accept()[0].close()
            assert isinstance(source, LiveSource)
            stop.set()
            assert list(source.frames()) == []
    assert source.health.state is State.STOPPED


def test_a_camera_that_takes_the_call_and_says_nothing_is_given_up() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"rtsp://127.0.0.1:{silent.getsockname()[1]}/live"
        given_up = pytest.raises(SourceError, match="no data in time")
        with watched(url, open_timeout=0.5, retry_for=0.1) as source, given_up:
            next(source.frames())
