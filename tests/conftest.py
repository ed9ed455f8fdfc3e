"""Fixtures for every test: clips made once a session, and a guard against anything left behind."""

from __future__ import annotations

import os
import signal
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import media
import pytest

GRACE = 5.0  # seconds an ending process has to be gone
SHARED_MEMORY = Path("/dev/shm")


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Networks that tests compile are kept for the session, not in the user's home."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session", autouse=True)
def hears_signals() -> Iterator[None]:
    """What a test starts hears SIGINT and SIGHUP, also where we were started to ignore them.

    `pytest &` in a script and `nohup pytest` are: and what is ignored is so by all that is started.
    """
    ignored = [n for n in (signal.SIGINT, signal.SIGHUP) if signal.getsignal(n) is signal.SIG_IGN]
    for number in ignored:
        signal.signal(number, lambda *_: None)  # of ours: it does not outlast an exec
    yield
    for number in ignored:
        signal.signal(number, signal.SIG_IGN)


@pytest.fixture(scope="session")
def shared() -> Path:
    """The team's data beside the repository; a test that asks for it is skipped without it."""
    folder = Path(__file__).resolve().parents[2] / "shared"
    if not folder.is_dir():
        pytest.skip(f"{folder}: not there, and this test needs its real footage")
    return folder


@pytest.fixture(scope="session")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the session's clips. They are shared: read them, never write to them."""
    return tmp_path_factory.mktemp("clips")


@pytest.fixture(scope="session")
def clip(clips: Path) -> Path:
    """30 frames of 160×120 H.264 at 30 frames a second with an AAC tone, in mp4."""
    return media.clip(clips / "clip.mp4")


@pytest.fixture(scope="session")
def tall_clip(clips: Path) -> Path:
    """120 wide and 160 high as seen, stored lying: 12 frames with rotation 90."""
    return media.clip(clips / "tall.mp4", frames=12, size=(120, 160), rotation=90)


@pytest.fixture(scope="session")
def uneven_clip(clips: Path) -> Path:
    """30 frames with irregular steps of time between them, in mp4."""
    return media.clip(clips / "uneven.mp4", vfr=True)


@pytest.fixture(scope="session")
def many_tracks(clips: Path) -> Path:
    """An mkv with two tones, subtitles, chapters and a title."""
    return media.clip(
        clips / "tracks.mkv", audio=2, subtitle=True, chapters=True, metadata={"title": "a bridge"}
    )


# --- nothing may be left behind


@pytest.fixture
def no_leftovers(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """After the test: no process it started lives, no segment in /dev/shm, no thread blocks exit.

    Processes are known by an environment variable that every descendant inherits, so orphans of
    a killed child are found too.
    """
    token = uuid.uuid4().hex
    monkeypatch.setenv("RUSTVID_TEST", token)
    segments = _segments()
    before = _presence(token, segments)
    yield
    deadline = time.monotonic() + GRACE
    while (left := _presence(token, segments) - before) and time.monotonic() < deadline:
        time.sleep(0.05)  # polling, until what is ending has ended
    assert not left, f"left behind by the test: {', '.join(sorted(left))}"


def _presence(token: str, known: set[Path]) -> set[str]:
    """Our processes and threads, and shared memory that is new and nobody else's, in words."""
    commands = {pid: _read(pid, "cmdline").replace(b"\0", b" ")[:80] for pid in children(token)}
    return (
        {f"process {pid}: {command.decode()}" for pid, command in commands.items()}
        | {f"shared memory {p.name}" for p in _segments() - known if not _used_by_others(p)}
        | {f"thread {t.name}" for t in threading.enumerate() if not t.daemon}
    )


def children(token: str | None = None) -> list[int]:
    """Direct children of this process, and all processes that carry the token of a test.

    A zombie counts: nobody has waited for it. Python's resource tracker does not: by design it
    lives as long as its parent.
    """
    found = []
    for pid in (int(p.name) for p in Path("/proc").iterdir() if p.name.isdigit()):
        if pid == os.getpid() or b"resource_tracker" in _read(pid, "cmdline"):
            continue
        ours = _read(pid, "stat").rpartition(b")")[2].split()[1:2] == [b"%d" % os.getpid()]
        marked = token is not None and f"RUSTVID_TEST={token}".encode() in _read(pid, "environ")
        if ours or marked:
            found.append(pid)
    return found


def _segments() -> set[Path]:
    return set(SHARED_MEMORY.iterdir()) if SHARED_MEMORY.is_dir() else set()


def _used_by_others(segment: Path) -> bool:
    """Is it mapped by a process that is not ours, so that another program owns it?"""
    ours = {os.getpid(), *children(os.environ.get("RUSTVID_TEST"))}
    return any(
        bytes(segment) in _read(int(p.name), "maps")
        for p in Path("/proc").iterdir()
        if p.name.isdigit() and int(p.name) not in ours
    )


def _read(pid: int, name: str) -> bytes:
    """A file of /proc, or nothing where the process has gone or is another user's."""
    try:
        return Path(f"/proc/{pid}/{name}").read_bytes()
    except OSError:
        return b""
