"""Passing events on, to a program or to a web address, without holding up the run."""

from __future__ import annotations

import base64
import http.client
import logging
import queue
import shlex
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from typing import Any
from urllib.parse import unquote, urlsplit

from rustvid.redact import redacted
from rustvid.video.address import expanded

_MOST = 100  # events that wait; beyond that the oldest is given up
_TRIES = 10
_FIRST, _LONGEST = 1.0, 60.0  # seconds between tries
_ANSWER = 10.0  # seconds that a web server has
_PROGRAM = 60.0  # seconds that a program has
_LAST = 2.0  # seconds at the end for what still waits
_TICK = 0.1
_AGAIN = (408, 425, 429)  # HTTP: not now; 5xx too
_MOVED = (301, 302, 303, 307, 308)


class NotDelivered(Exception):
    """An event did not get through; `again` says whether another try may help."""

    def __init__(self, message: str, *, again: bool) -> None:
        super().__init__(message)
        self.again = again


class Courier:
    """Delivers texts one by one from a thread of its own; a context manager.

    deliver(text, stopped): one try, raises NotDelivered; a failed one is repeated with growing
    pauses. What does not get through is said in the log, after `mark`, and counted in `lost`.
    """

    def __init__(
        self,
        name: str,
        deliver: Callable[[str, Callable[[], bool]], None],
        first: float = _FIRST,
        mark: str = "",
    ) -> None:
        self.delivered = self.lost = 0
        self._name, self._deliver, self._first = redacted(name), deliver, first
        self._mark = mark
        self._queue: queue.Queue[str] = queue.Queue(_MOST)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, name="rustvid-courier", daemon=True)

    def __enter__(self) -> Courier:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        self._thread.join(_LAST)
        if self._thread.is_alive():
            self._give_up("the run ended meanwhile")
        for _ in range(self._queue.qsize()):
            self._give_up("the run ended before")

    def send(self, text: str) -> None:
        """Let it be delivered; returns at once."""
        while True:
            try:
                return self._queue.put_nowait(text)
            except queue.Full:
                with suppress(queue.Empty):
                    self._queue.get_nowait()
                    self._give_up("too many wait")

    def _work(self) -> None:
        while not (self._stop.is_set() and self._queue.empty()):
            try:
                text = self._queue.get(timeout=_TICK)
            except queue.Empty:
                continue
            self._insist(text)

    def _insist(self, text: str) -> None:
        pause = self._first
        for number in range(1, _TRIES + 1):
            try:
                self._deliver(text, self._stop.is_set)
                self.delivered += 1
                return
            except NotDelivered as exc:
                if not exc.again or number == _TRIES or self._stop.wait(pause):
                    self._give_up(str(exc))
                    return
                pause = min(2 * pause, _LONGEST)
            except Exception as exc:  # a bug: it is shown whole, and the next ones are delivered
                log = logging.getLogger("rustvid.live")
                log.error("%s%s: a bug", self._mark, self._name, exc_info=exc)
                self._give_up(type(exc).__name__)
                return

    def _give_up(self, why: str) -> None:
        self.lost += 1
        logging.getLogger("rustvid.live").warning(
            "%san event was not delivered to %s: %s", self._mark, self._name, redacted(why)
        )


def program(command: str) -> Callable[[str, Callable[[], bool]], None]:
    """Starts the program for each event, with the event on its stdin; no shell is involved."""
    words = shlex.split(command)

    def deliver(text: str, stopped: Callable[[], bool]) -> None:
        try:
            child = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
        except OSError as exc:
            raise NotDelivered(f"cannot be started ({exc.strerror})", again=False) from exc
        deadline = time.monotonic() + _PROGRAM
        ended_at: float | None = None
        waiting: bytes | None = text.encode() + b"\n"
        while True:
            try:
                child.communicate(waiting, timeout=_TICK)
                break
            except subprocess.TimeoutExpired:
                waiting = None
            now = time.monotonic()
            ended_at = ended_at or (now if stopped() else None)
            if now > deadline or (ended_at and now > ended_at + _LAST / 2):
                child.kill()
                child.communicate()
                raise NotDelivered("did not end in time and was killed", again=False)
        if child.returncode:
            raise NotDelivered(f"ended with code {child.returncode}", again=False)

    return deliver


class _StayHere(urllib.request.HTTPRedirectHandler):
    """Follows no redirect: urllib would ask the other place with a GET that has no event in it, and
    show it our password."""

    def redirect_request(self, *asked: Any) -> None:
        return None


def webhook(url: str) -> Callable[[str, Callable[[], bool]], None]:
    """Posts each event as JSON; user and password of the address go into a header.

    Raises UsageError for a ${NAME} in the address that is not set in the environment.
    """
    parts = urlsplit(expanded(url))
    headers = {"Content-Type": "application/json", "User-Agent": "rustvid"}
    if parts.username is not None:
        word = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        headers["Authorization"] = "Basic " + base64.b64encode(word.encode()).decode()
    plain = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
    opener = urllib.request.build_opener(_StayHere)

    def deliver(text: str, stopped: Callable[[], bool]) -> None:
        request = urllib.request.Request(plain, text.encode(), headers)
        try:
            with opener.open(request, timeout=_ANSWER):
                return
        except urllib.error.HTTPError as exc:
            with exc:
                again = exc.code >= 500 or exc.code in _AGAIN
                moved = ": it has moved; name its new address" if exc.code in _MOVED else ""
                raise NotDelivered(f"HTTP {exc.code}{moved}", again=again) from exc
        except (OSError, ValueError, http.client.HTTPException) as exc:
            why = str(exc).strip() or type(exc).__name__
            raise NotDelivered(why, again=True) from exc

    return deliver
